//! The first read of a block device that was just attached: it goes all the way through the kernel,
//! the server and back.

use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::path::Path;
use std::time::Duration;

/// A device answers its first read within this time.
const PROBE_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read.
const PROBE_BYTES: usize = 4096;

/// Reads the first bytes of `device`. When it takes too long the read is left behind: it ends with
/// an error when the device is disconnected.
///
/// # Errors
/// It cannot be opened or read, is empty, or does not answer.
pub(super) fn probe(device: &Path) -> io::Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let device = device.to_owned();
    std::thread::spawn(move || drop(sender.send(read_first(&device))));
    receiver.recv_timeout(PROBE_MAX).unwrap_or_else(|_| {
        let text = format!(
            "no answer within {} s; look at 'blkrep status', is I/O suspended?",
            PROBE_MAX.as_secs()
        );
        Err(io::Error::other(text))
    })
}

fn read_first(device: &Path) -> io::Result<()> {
    let file = open(device, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Nothing is cached of a device that was just connected.
    let mut bytes = [0; PROBE_BYTES];
    match rustix::io::pread(&file, &mut bytes, 0)? {
        0 => Err(io::Error::other("it is empty")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn a_probe_needs_a_device_with_something_in_it() {
        let dir = ScratchDir::new("probe");
        let device = dir.path().join("device");
        assert_eq!(probe(&device).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&device, "").unwrap();
        assert!(probe(&device).unwrap_err().to_string().contains("empty"));
        std::fs::write(&device, "data").unwrap();
        probe(&device).unwrap();
    }
}
