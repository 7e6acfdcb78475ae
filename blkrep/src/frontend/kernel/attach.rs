//! Attaching the kernel's device to the export. Everything here may wait for the kernel: it runs
//! beside the I/O thread and the control room, never in them.

use super::cookie::{Cookie, Owner};
use super::device::{Connection, Device, Roots};
use super::faults::AttachError;
use super::holders::holders;
use super::netlink::{Connect, Nbd, NetlinkError};
use super::release::told;
use crate::daemon::KernelDevicePlan;
use crate::frontend::links::Link;
use crate::frontend::probe::probe;
use nbd_server::{Export, Negotiated, proto};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A device that is still being left, by its predecessor or by whoever looks at new devices, is
/// waited for so long.
pub(super) const FREE_MAX: Duration = Duration::from_secs(5);
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Requests that the predecessor left unanswered are sent again after so long at most, once the
/// device has a socket again: the kernel looks at its old requests in this rhythm only.
const RESEND_MS: &str = "5000";
/// Smallest block of the kernel's block layer.
const BLOCK_BYTES_MIN: u32 = 512;

/// What a device was before it was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nobody's.
    Free,
    /// Of this promotion, and waiting for its daemon.
    Waiting,
}

/// The device of a resource on this node.
#[derive(Debug, Clone)]
pub(crate) struct KernelDevice {
    pub(super) device: Device,
    pub(super) link: Link,
    pub(super) owner: Owner,
    dead_connection: Duration,
}

impl KernelDevice {
    /// The device of a resource on a node of this machine.
    pub(crate) fn of(resource: &str, node: &str, plan: KernelDevicePlan) -> Self {
        let KernelDevicePlan { index, dead_connection } = plan;
        let owner = Owner { resource: resource.to_owned(), node: node.to_owned() };
        let device = Device { roots: Roots::of_this_machine(), index };
        let link = Link::new(&device.roots.dev, &owner.resource, &device.path());
        Self { device, link, owner, dead_connection }
    }

    /// Its file, for people.
    pub(crate) fn name(&self) -> String {
        self.device.path().display().to_string()
    }

    /// How long requests wait for a daemon that is gone.
    pub(crate) const fn dead_connection(&self) -> Duration {
        self.dead_connection
    }

    /// Connects the device, or reconnects it when it is of the same promotion, and gives `adopt`
    /// the server's end of its socket. Returns when the device is usable and linked.
    ///
    /// # Errors
    /// It is not attached; nothing is left half done, and others' devices are not touched.
    pub(crate) fn attach(
        &self,
        export: &Export,
        promotion: &str,
        adopt: impl FnOnce(OwnedFd) -> Result<(), String>,
    ) -> Result<(), AttachError> {
        let cookie = self.cookie(promotion)?;
        let mut nbd = Nbd::open().map_err(|source| self.netlink(source))?;
        let connect = self.wanted(export, &cookie);
        let (server, found) = self.connect(&mut nbd, &connect, &cookie)?;
        let adopted = adopt(server).map_err(|reason| self.not_taken(reason));
        let result = adopted.and_then(|()| self.make_usable(export.size_bytes, found));
        if result.is_err() && found == Found::Free {
            // Nobody uses what was connected only now. One that was taken over has users: for them
            // a late answer is better than an error.
            nbd.disconnect(self.device.index).map_err(|source| self.netlink(source))?;
        }
        result
    }

    /// Tells a device that is attached its new size.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn resize(&self, export: &Export, promotion: &str) -> Result<(), AttachError> {
        let cookie = self.cookie(promotion)?;
        let mut nbd = Nbd::open().map_err(|source| self.netlink(source))?;
        let connect = self.wanted(export, &cookie);
        nbd.resize(&connect).map_err(|source| self.netlink(source))
    }

    /// What the kernel is told of the device.
    fn wanted<'a>(&self, export: &Export, cookie: &'a Cookie) -> Connect<'a> {
        Connect {
            index: self.device.index,
            size_bytes: export.size_bytes,
            block_bytes: export.block_bytes_min.max(BLOCK_BYTES_MIN),
            flags: flags(export),
            dead_connection: self.dead_connection,
            cookie: cookie.as_str(),
        }
    }

    fn connect(
        &self,
        nbd: &mut Nbd,
        connect: &Connect<'_>,
        cookie: &Cookie,
    ) -> Result<(OwnedFd, Found), AttachError> {
        let deadline = Instant::now() + FREE_MAX;
        let mut is_dropped = false;
        loop {
            let (kernel, server) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                    .map_err(|errno| self.io("make a socket", errno.into()))?;
            match self.connection()? {
                Connection::Absent | Connection::Free => {
                    match nbd.connect(connect, kernel.as_fd()) {
                        Ok(()) => return Ok((server, Found::Free)),
                        // Whoever looks at it at this moment keeps it from being connected.
                        Err(NetlinkError::Refused { errno: Errno::BUSY, .. })
                            if Instant::now() < deadline => {}
                        Err(source) => return Err(self.netlink(source)),
                    }
                }
                Connection::Connected { cookie: Some(found), .. } if self.owner.made(&found) => {
                    if Instant::now() >= deadline {
                        return Err(self.still_taken(is_dropped));
                    }
                    if found != cookie.as_str() && !is_dropped {
                        self.abandon(nbd, "it is left from an earlier promotion")?;
                        is_dropped = true;
                    } else if !is_dropped {
                        is_dropped = !self.reconnect(nbd, connect, kernel.as_fd())?;
                        drop(kernel);
                        if !is_dropped && is_kept(&server) {
                            tracing::info!("{}: taken over from before the restart", self.name());
                            return Ok((server, Found::Waiting));
                        }
                    }
                }
                Connection::Connected { pid, cookie } => return Err(self.foreign(pid, cookie)),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// False when the device has given up waiting and was disconnected: newer kernels do not revive
    /// it then. With success nothing is said about the socket, see [`Nbd::reconnect`].
    fn reconnect(
        &self,
        nbd: &mut Nbd,
        connect: &Connect<'_>,
        kernel: BorrowedFd<'_>,
    ) -> Result<bool, AttachError> {
        match nbd.reconnect(connect, kernel) {
            Ok(()) => Ok(true),
            Err(NetlinkError::Refused { errno: Errno::INVAL, .. }) => {
                self.abandon(nbd, "it has waited too long for this daemon")?;
                Ok(false)
            }
            Err(source) => Err(self.netlink(source)),
        }
    }

    /// Queue, size, a first answer, the link.
    fn make_usable(&self, size_bytes: u64, found: Found) -> Result<(), AttachError> {
        if !self.device.keeps_cookies() {
            tracing::warn!(
                "{}: this kernel (before 5.14) cannot tell whose a device is: after a restart of the \
                 daemon it is not taken over, and its users get errors",
                self.name()
            );
        }
        for (parameter, value) in [("scheduler", "none"), ("io_timeout", RESEND_MS)] {
            if let Err(error) = self.device.set_queue(parameter, value) {
                tracing::warn!("{}: {parameter} was not set to {value}: {error}", self.name());
            }
        }
        let size = self.device.size_bytes().map_err(|error| self.io("read its size", error))?;
        if size != size_bytes {
            let reason = format!("it has {size} bytes, {size_bytes} were expected");
            return Err(self.not_taken(reason));
        }
        if found == Found::Free {
            probe(&self.device.path()).map_err(|error| self.io("read from it", error))?;
        }
        self.link.make().map_err(|error| self.io("link it", error))?;
        tracing::info!("{} is attached, {}", self.name(), self.link.path().display());
        Ok(())
    }

    pub(super) fn cookie(&self, promotion: &str) -> Result<Cookie, AttachError> {
        let cookie = self.owner.cookie(&self.device.roots.proc, promotion);
        cookie.map_err(|error| self.io("read the boot identifier", error))
    }

    fn connection(&self) -> Result<Connection, AttachError> {
        self.device.connection().map_err(|error| self.io("see who has it", error))
    }

    fn foreign(&self, pid: Option<u32>, cookie: Option<String>) -> AttachError {
        let program = pid.map(|pid| {
            let comm = self.device.roots.proc.join(pid.to_string()).join("comm");
            let program = std::fs::read_to_string(comm).unwrap_or_default();
            format!("process {pid} ({})", program.trim())
        });
        let by = cookie.or(program).unwrap_or_else(|| "another program".to_owned());
        AttachError::Foreign { device: self.name(), by }
    }

    fn still_taken(&self, is_dropped: bool) -> AttachError {
        if !is_dropped {
            return self.not_taken("its old socket is still in use".to_owned());
        }
        AttachError::Held { device: self.name(), held: told(&holders(&self.device)) }
    }

    pub(super) fn netlink(&self, source: NetlinkError) -> AttachError {
        AttachError::Netlink { device: self.name(), source }
    }

    pub(super) fn io(&self, what: &'static str, source: io::Error) -> AttachError {
        AttachError::Io { device: self.name(), what, source }
    }

    fn not_taken(&self, reason: String) -> AttachError {
        AttachError::NotTaken { device: self.name(), reason }
    }
}

/// What the kernel is told of the export. One connection only, so that a request has one place
/// where it can be (D16).
fn flags(export: &Export) -> u16 {
    let simple = Negotiated::Simple;
    export.transmission_flags(simple) & !proto::FLAG_CAN_MULTI_CONN
}

/// False when the kernel has dropped the other end of the socket.
fn is_kept(server: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(server, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => !fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
        Err(_) => false,
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
