//! Who is measured: a replicated pair, and other servers on files of the same file system.

use crate::error::BenchError;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testbed::program::{Server, tied};
use testbed::skips::find_tool;
use testbed::{Pair, PairOptions};

/// A server listens within this time from its start.
const START_MAX: Duration = Duration::from_secs(10);
/// What the metadata of a device of a few GiB take at most, in bytes.
const METADATA_BYTES_MAX: u64 = 8 << 20;

/// A server under load.
#[derive(Debug)]
pub(crate) enum Contender {
    /// Two daemons of blkrep; the first is Primary.
    Replicated(Box<Pair>),
    /// `qemu-nbd` on one file, without replication: the yardstick.
    QemuNbd {
        /// The process.
        server: Server,
        /// Where it listens.
        socket: PathBuf,
    },
}

impl Contender {
    /// Starts a pair of `binary` with a device of `bytes` and brings it into sync.
    ///
    /// # Errors
    /// [`BenchError::NoBinary`], [`BenchError::NoPair`].
    pub(crate) fn replicated(binary: &Path, bytes: u64) -> Result<Contender, BenchError> {
        if !binary.is_file() {
            return Err(BenchError::NoBinary { path: binary.to_owned() });
        }
        let options = PairOptions::new(binary).disk_bytes(bytes + METADATA_BYTES_MAX);
        let mut pair = Pair::new(&options).ok_or(BenchError::NoPair)?;
        pair.bring_into_sync();
        Ok(Contender::Replicated(Box::new(pair)))
    }

    /// Starts `qemu-nbd` on a new file of `bytes` in `directory`; none when it is not installed.
    ///
    /// # Errors
    /// [`BenchError::File`], [`BenchError::NotListening`].
    pub(crate) fn qemu_nbd(directory: &Path, bytes: u64) -> Result<Option<Contender>, BenchError> {
        if find_tool("qemu-nbd").is_none() {
            return Ok(None);
        }
        let (image, socket) = (directory.join("yardstick"), directory.join("yardstick.nbd"));
        File::create(&image)
            .and_then(|file| file.set_len(bytes))
            .map_err(|source| BenchError::File { path: image.clone(), source })?;
        let mut command = tied("qemu-nbd");
        command.args(["-f", "raw", "--cache=none", "--aio=io_uring", "-t", "-e", "8", "-k"]);
        command.arg(&socket).arg(&image);
        let server = Server::start(command, &directory.join("yardstick.log"));
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            if begun.elapsed() > START_MAX {
                let (contender, after) = ("qemu-nbd", START_MAX);
                return Err(BenchError::NotListening { contender, after });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(Contender::QemuNbd { server, socket }))
    }

    /// Its name in the table.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Contender::Replicated(_) => "blkrep",
            Contender::QemuNbd { .. } => "qemu-nbd",
        }
    }

    /// Its export, as fio writes it.
    pub(crate) fn uri(&self) -> String {
        match self {
            Contender::Replicated(pair) => pair.a.nbd_uri(),
            Contender::QemuNbd { socket, .. } => {
                format!("nbd+unix:///?socket={}", socket.display())
            }
        }
    }

    /// All processes that serve it, on both nodes.
    pub(crate) fn pids(&self) -> Vec<i32> {
        match self {
            Contender::Replicated(pair) => {
                [&pair.a, &pair.b].map(|node| node.pid().as_raw_pid()).to_vec()
            }
            Contender::QemuNbd { server, .. } => vec![server.pid().as_raw_pid()],
        }
    }

    /// What must hold after the run.
    ///
    /// # Errors
    /// [`BenchError::ReplicasDiffer`].
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        match self {
            Contender::Replicated(pair) => {
                pair.wait_in_sync();
                match pair.first_difference() {
                    None => Ok(()),
                    Some(offset) => Err(BenchError::ReplicasDiffer { offset }),
                }
            }
            Contender::QemuNbd { .. } => Ok(()),
        }
    }
}
