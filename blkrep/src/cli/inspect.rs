//! The verbs that show the metadata: `get-gi`, `show-gi`, `dump-md`.

use super::context::Context;
use super::failure::Failure;
use super::show::print;
use crate::config::NodeConfig;
use crate::control::client::ControlError;
use crate::disk_ends::DiskEnds;
use crate::read_md::{ReadMdError, read_metadata, read_superblock};
use crate::render::generation_identifiers::{get_gi_line, show_gi_text};
use crate::render::metadata_dump::write_dump;
use metadata::{Flags, Generations};
use replicator::ids::NodeIndex;
use replicator::state::DiskState;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;

pub(super) fn get_gi(context: &Context, name: &str) -> Result<(), Failure> {
    let (generations, flags) = identifiers(context, name)?;
    print(&get_gi_line(&generations, flags));
    Ok(())
}

pub(super) fn show_gi(context: &Context, name: &str) -> Result<(), Failure> {
    let (generations, flags) = identifiers(context, name)?;
    print(&show_gi_text(&generations, flags));
    Ok(())
}

pub(super) fn dump_md(context: &Context, name: &str) -> Result<(), Failure> {
    match context.status(name) {
        Ok(_) => return Err(Failure::IsUp { resource: name.to_owned() }),
        Err(Failure::Control(ControlError::NotUp { resource: _ })) => {}
        Err(failure) => return Err(failure),
    }
    let stored = from_disk(context, name, read_metadata)?;
    // A badly fragmented bitmap has millions of lines: they are not collected first.
    let mut out = BufWriter::new(io::stdout().lock());
    match write_dump(&mut out, &stored).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // A reader that has gone away (`| head`) is no error of this program.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(source) => {
            Err(Failure::Io { what: "write the dump to", path: PathBuf::from("stdout"), source })
        }
    }
}

/// From the daemon when there is one, else from the disk.
fn identifiers(context: &Context, name: &str) -> Result<(Generations, Flags), Failure> {
    match context.status(name) {
        Ok(status) if status.disk == DiskState::Diskless => {
            Err(Failure::Diskless { resource: name.to_owned() })
        }
        Ok(status) => Ok((status.generations, status.flags)),
        Err(Failure::Control(ControlError::NotUp { resource: _ })) => {
            let superblock = from_disk(context, name, read_superblock)?;
            Ok((superblock.generations, superblock.flags))
        }
        Err(failure) => Err(failure),
    }
}

fn from_disk<T>(
    context: &Context,
    name: &str,
    read: impl Fn(&str, NodeIndex, &NodeConfig, &DiskEnds) -> Result<T, ReadMdError>,
) -> Result<T, Failure> {
    let resource = context.load(name)?;
    let index = resource.node_index(&context.node)?;
    let ends = context.disk_ends(name, resource.node(index));
    Ok(read(name, index, resource.node(index), &ends)?)
}
