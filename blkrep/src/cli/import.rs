//! The verb `import-drbd`: prints or writes what a drbd.conf becomes, and says what is lost.

use super::args::ImportArgs;
use super::context::Context;
use super::failure::Failure;
use super::show::print;
use crate::import::{
    Choice, Converted, ImportError, Imported, Note, Severity, check_free, import, write,
};
use std::path::{Path, PathBuf};

pub(super) fn import_drbd(context: &Context, args: &ImportArgs) -> Result<(), Failure> {
    let directory = match &args.out {
        // The file of the secret is named in the configuration, which is read from anywhere.
        Some(out) => std::path::absolute(out).unwrap_or_else(|_| out.clone()),
        None => context.config_dir.clone(),
    };
    let choice = Choice {
        resource: args.resource.clone(),
        nodes: args.node.clone(),
        directory: directory.clone(),
    };
    let Imported { files, notes } = import(&args.file, &choice).inspect_err(|error| {
        if let ImportError::Refused { notes } = error {
            say(notes);
        }
    })?;
    say(&notes);
    match &args.out {
        Some(_) => put(&directory, &files, args.force),
        None => {
            show(&directory, &files);
            Ok(())
        }
    }
}

fn say(notes: &[Note]) {
    for note in notes {
        eprintln!("{note}");
    }
}

fn put(directory: &Path, files: &[Converted], force: bool) -> Result<(), Failure> {
    if !force {
        check_free(directory, files)?;
    }
    let written: Vec<PathBuf> = write(directory, files)?;
    for file in written {
        print(&format!("{}\n", file.display()));
    }
    eprintln!("copy these files to the same place on the other node");
    Ok(())
}

fn show(directory: &Path, files: &[Converted]) {
    for (at, one) in files.iter().enumerate() {
        print(&format!("{}{}", if at == 0 { "" } else { "\n" }, one.toml));
        if let Some((_, place)) = &one.secret {
            let file = directory.join(format!("{}.secret", one.name));
            let text = format!(
                "the value of 'shared-secret' belongs into {}, with mode 0600, on both nodes; \
                 --out DIR writes it",
                file.display()
            );
            say(&[Note { severity: Severity::Note, place: place.clone(), text }]);
        }
    }
    if files.len() > 1 {
        eprintln!("{} files were printed one after the other; --out DIR writes them", files.len());
    }
}
