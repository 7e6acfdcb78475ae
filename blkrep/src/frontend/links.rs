//! The name of the device that does not change with its number:
//! `/dev/blkrep/by-res/RESOURCE/0` (`docs/decisions/0015-the-kernels-device.md`).

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The one volume of a resource.
const VOLUME: &str = "0";

/// The link of one resource.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    path: PathBuf,
    target: PathBuf,
}

impl Link {
    /// The link of `resource` below the directory `dev`, to a device there.
    pub(crate) fn new(dev: &Path, resource: &str, device: &Path) -> Self {
        let path = dev.join("blkrep/by-res").join(resource).join(VOLUME);
        Self { path, target: device.to_owned() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where that of `resource` leads; none when there is none.
    pub(crate) fn target(dev: &Path, resource: &str) -> Option<PathBuf> {
        fs::read_link(Self::new(dev, resource, Path::new("")).path).ok()
    }

    /// Makes it. What a predecessor left there is replaced, and at no moment is there nothing.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn make(&self) -> io::Result<()> {
        let directory = self.path.parent().expect("invariant: it is inside a directory");
        fs::create_dir_all(directory)?;
        let fresh = self.path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        symlink(&self.target, &fresh)?;
        fs::rename(&fresh, &self.path)
    }

    /// Removes it, and the directory that it leaves empty; one that leads to another device stays.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::read_link(&self.path) {
            Ok(target) if target == self.target => fs::remove_file(&self.path)?,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(directory) = self.path.parent() {
            // Somebody else may have something in it.
            fs::remove_dir(directory).ok();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn a_link_is_made_over_an_old_one_and_removed_with_its_directory() {
        let dir = ScratchDir::new("links");
        let dev = dir.path();
        let old = Link::new(dev, "r0", &dev.join("nbd7"));
        old.make().unwrap();
        let link = Link::new(dev, "r0", &dev.join("nbd0"));
        link.make().unwrap();
        link.make().unwrap();
        let path = dev.join("blkrep/by-res/r0/0");
        assert_eq!(fs::read_link(&path).unwrap(), dev.join("nbd0"));
        assert_eq!(Link::target(dev, "r0"), Some(dev.join("nbd0")));
        assert_eq!(Link::target(dev, "r1"), None);
        // The predecessor's is gone, and what is there is not its to remove.
        old.remove().unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), dev.join("nbd0"));
        link.remove().unwrap();
        link.remove().unwrap();
        assert!(!path.parent().unwrap().exists());
        assert!(dev.join("blkrep/by-res").exists());
    }
}
