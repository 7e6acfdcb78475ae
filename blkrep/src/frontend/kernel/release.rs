//! Letting the kernel's device go: taken so that nobody else can use it, everything written,
//! disconnected; or, when it is a mistake, disconnected under its users.

use super::attach::{FREE_MAX, KernelDevice, PAUSE};
use super::device::Connection;
use super::faults::{AttachError, Held};
use super::holders::{Holder, holders};
use super::netlink::Nbd;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::Instant;

impl KernelDevice {
    /// Takes the device so that nobody else can, and has everything written that waits in memory.
    /// `is_served` is false when nobody is there to write it.
    ///
    /// # Errors
    /// Who holds it.
    pub(crate) fn take(&self, is_served: bool) -> Result<OwnedFd, Held> {
        let deadline = Instant::now() + FREE_MAX;
        loop {
            let taken = self.device.open_exclusively();
            let found = holders(&self.device);
            match taken {
                Ok(device) if found.is_empty() => {
                    if is_served && let Err(errno) = rustix::fs::fsync(&device) {
                        return Err(
                            self.held(&format!("not everything could be written ({errno})"))
                        );
                    }
                    return Ok(device);
                }
                Ok(_) | Err(Errno::BUSY) => {}
                Err(errno) => return Err(self.held(&format!("it cannot be opened ({errno})"))),
            }
            // A look at a device that has just changed is over soon; a mount is not.
            let is_passing = |holder: &Holder| matches!(holder, Holder::Process { .. });
            if Instant::now() >= deadline || !found.iter().all(is_passing) {
                return Err(self.held(&told(&found)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Disconnects the device that [`KernelDevice::take`] has taken, and removes its link.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn disconnect(&self, taken: OwnedFd) -> Result<(), AttachError> {
        self.unlink();
        let mut nbd = Nbd::open().map_err(|source| self.netlink(source))?;
        nbd.disconnect(self.device.index).map_err(|source| self.netlink(source))?;
        drop(taken);
        let deadline = Instant::now() + FREE_MAX;
        while nbd.is_in_use(self.device.index).map_err(|source| self.netlink(source))? {
            if Instant::now() >= deadline {
                let held = told(&holders(&self.device));
                tracing::warn!("{} is disconnected and still open: {held}", self.name());
                break;
            }
            std::thread::sleep(PAUSE);
        }
        tracing::info!("{} is detached", self.name());
        Ok(())
    }

    /// True when the device is connected, and by this node for this resource.
    pub(crate) fn is_ours(&self) -> bool {
        self.our_cookie().is_some()
    }

    /// Disconnects a device of an earlier promotion: what waits in it ends with errors and can
    /// never be written over what came later (D16, F3). One of `promotion` is left alone. True when
    /// there was one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn drop_old(&self, promotion: Option<&str>) -> Result<bool, AttachError> {
        let Some(found) = self.our_cookie() else { return Ok(false) };
        if let Some(promotion) = promotion
            && self.cookie(promotion)?.as_str() == found
        {
            return Ok(false);
        }
        let mut nbd = Nbd::open().map_err(|source| self.netlink(source))?;
        self.abandon(&mut nbd, "it is left from an earlier promotion")?;
        Ok(true)
    }

    pub(super) fn abandon(&self, nbd: &mut Nbd, why: &str) -> Result<(), AttachError> {
        let name = self.name();
        tracing::warn!("{name} is disconnected, {why}; whoever still uses it gets errors");
        self.unlink();
        nbd.disconnect(self.device.index).map_err(|source| self.netlink(source))
    }

    fn unlink(&self) {
        if let Err(error) = self.link.remove() {
            tracing::warn!("{} was not removed: {error}", self.link.path().display());
        }
    }

    fn our_cookie(&self) -> Option<String> {
        match self.device.connection() {
            Ok(Connection::Connected { cookie: Some(found), .. }) if self.owner.made(&found) => {
                Some(found)
            }
            Ok(_) | Err(_) => None,
        }
    }

    fn held(&self, held: &str) -> Held {
        Held { device: self.name(), held: held.to_owned() }
    }
}

/// Holders in one line.
pub(super) fn told(found: &[Holder]) -> String {
    if found.is_empty() {
        return "by something that cannot be seen".to_owned();
    }
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
