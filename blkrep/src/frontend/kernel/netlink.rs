//! The kernel's NBD client by generic netlink (linux/nbd-netlink.h): connect a device, give it a
//! new socket, disconnect it.
//!
//! The kernel carries a request out inside the call that sends it; whoever calls here may be held
//! as long as the device is, and must not be the I/O thread.

use super::genetlink::{Reply, Request, attribute, replies};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The reply is there when the request was sent; this is for a kernel that breaks the rule.
const REPLY_MAX: Duration = Duration::from_secs(10);
/// Datagrams that are looked at for the end of a reply.
const DATAGRAMS_MAX: usize = 16;
const DATAGRAM_BYTES_MAX: usize = 32 << 10;

/// The family that knows the others, `GENL_ID_CTRL`.
const CONTROL_FAMILY: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_ATTR_FAMILY_ID: u16 = 1;
const CONTROL_ATTR_FAMILY_NAME: u16 = 2;
const CONTROL_VERSION: u8 = 1;

const NBD_VERSION: u8 = 1;
const CMD_CONNECT: u8 = 1;
const CMD_DISCONNECT: u8 = 2;
const CMD_RECONFIGURE: u8 = 3;
const CMD_STATUS: u8 = 5;
const ATTR_INDEX: u16 = 1;
const ATTR_SIZE_BYTES: u16 = 2;
const ATTR_BLOCK_SIZE_BYTES: u16 = 3;
const ATTR_TIMEOUT: u16 = 4;
const ATTR_SERVER_FLAGS: u16 = 5;
const ATTR_CLIENT_FLAGS: u16 = 6;
const ATTR_SOCKETS: u16 = 7;
const ATTR_DEAD_CONN_TIMEOUT: u16 = 8;
const ATTR_DEVICE_LIST: u16 = 9;
const ATTR_BACKEND_IDENTIFIER: u16 = 10;
const DEVICE_ITEM: u16 = 1;
const DEVICE_CONNECTED: u16 = 2;
const SOCKET_ITEM: u16 = 1;
const SOCKET_FD: u16 = 1;

/// Why the kernel did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetlinkError {
    /// There is no NBD client in this kernel, or it is not loaded.
    #[error("the kernel's NBD client is not loaded; run 'modprobe nbd'")]
    NoModule,
    /// Only the administrator may.
    #[error("the kernel permits it only to root (CAP_SYS_ADMIN); run the daemon as root")]
    NoPermission,
    /// It said no.
    #[error("the kernel refuses to {what} it: {errno}; the kernel's log (dmesg) says more")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its reason.
        errno: Errno,
    },
    /// Netlink itself.
    #[error("netlink cannot be used: {0}")]
    Socket(Errno),
    /// The request has no end.
    #[error("the kernel did not answer a netlink request")]
    NoAnswer,
}

/// What a device is connected with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connect<'a> {
    /// N of /dev/nbdN.
    pub(crate) index: u32,
    /// Of the device.
    pub(crate) size_bytes: u64,
    /// Smallest request, in bytes.
    pub(crate) block_bytes: u32,
    /// Transmission flags of the NBD protocol.
    pub(crate) flags: u16,
    /// Requests wait so long for a new socket when theirs is dead; whole seconds.
    pub(crate) dead_connection: Duration,
    /// Who connected it; a kernel before 5.14 forgets it.
    pub(crate) cookie: &'a str,
}

/// The door to the kernel's NBD client.
#[derive(Debug)]
pub(crate) struct Nbd {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

impl Nbd {
    /// Finds the client.
    ///
    /// # Errors
    /// It is not loaded, or netlink cannot be used.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )
        .map_err(NetlinkError::Socket)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(REPLY_MAX))
            .map_err(NetlinkError::Socket)?;
        let mut nbd = Self { socket, family: CONTROL_FAMILY, sequence: 0 };
        let request =
            nbd.request(CONTROL_GET_FAMILY, CONTROL_VERSION).text(CONTROL_ATTR_FAMILY_NAME, "nbd");
        let answer = match nbd.ask("find", request) {
            Err(NetlinkError::Refused { errno: Errno::NOENT, .. }) => {
                return Err(NetlinkError::NoModule);
            }
            answer => answer?,
        };
        let id = attribute(&answer, CONTROL_ATTR_FAMILY_ID).and_then(|id| id.first_chunk());
        nbd.family = u16::from_ne_bytes(*id.ok_or(NetlinkError::NoAnswer)?);
        Ok(nbd)
    }

    /// Connects a free device to one socket. Its requests have no timeout of their own (D16), and
    /// the device stays when it is disconnected.
    ///
    /// # Errors
    /// The kernel refuses; [`Errno::BUSY`] when the device is connected, or open somewhere.
    pub(crate) fn connect(
        &mut self,
        connect: &Connect<'_>,
        socket: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let request = self
            .request(CMD_CONNECT, NBD_VERSION)
            .u32(ATTR_INDEX, connect.index)
            .u64(ATTR_SIZE_BYTES, connect.size_bytes)
            .u64(ATTR_BLOCK_SIZE_BYTES, u64::from(connect.block_bytes))
            .u64(ATTR_TIMEOUT, 0)
            .u64(ATTR_SERVER_FLAGS, u64::from(connect.flags))
            .u64(ATTR_CLIENT_FLAGS, 0)
            .u64(ATTR_DEAD_CONN_TIMEOUT, connect.dead_connection.as_secs())
            .text(ATTR_BACKEND_IDENTIFIER, connect.cookie);
        self.ask("connect", with_socket(request, socket)).map(drop)
    }

    /// Gives a connected device that lost its socket a new one. A device whose socket lives keeps
    /// it, and the kernel drops the new one without a word: look at the other end.
    ///
    /// # Errors
    /// The kernel refuses; among others when its cookie is another one.
    pub(crate) fn reconnect(
        &mut self,
        connect: &Connect<'_>,
        socket: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let request = self.reconfigure(connect);
        self.ask("reconnect", with_socket(request, socket)).map(drop)
    }

    /// Tells a connected device its new size.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn resize(&mut self, connect: &Connect<'_>) -> Result<(), NetlinkError> {
        let request = self.reconfigure(connect);
        self.ask("resize", request).map(drop)
    }

    /// Disconnects a device: what waits in it ends with errors.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn disconnect(&mut self, index: u32) -> Result<(), NetlinkError> {
        let request = self.request(CMD_DISCONNECT, NBD_VERSION).u32(ATTR_INDEX, index);
        self.ask("disconnect", request).map(drop)
    }

    /// True when the device is connected, or open somewhere.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn is_in_use(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let request = self.request(CMD_STATUS, NBD_VERSION).u32(ATTR_INDEX, index);
        let answer = self.ask("look at", request)?;
        let device = attribute(&answer, ATTR_DEVICE_LIST)
            .and_then(|list| attribute(list, DEVICE_ITEM))
            .and_then(|item| attribute(item, DEVICE_CONNECTED));
        Ok(device.and_then(|value| value.first()).is_some_and(|connected| *connected != 0))
    }

    fn reconfigure(&mut self, connect: &Connect<'_>) -> Request {
        self.request(CMD_RECONFIGURE, NBD_VERSION)
            .u32(ATTR_INDEX, connect.index)
            .u64(ATTR_SIZE_BYTES, connect.size_bytes)
            .u64(ATTR_BLOCK_SIZE_BYTES, u64::from(connect.block_bytes))
            .u64(ATTR_DEAD_CONN_TIMEOUT, connect.dead_connection.as_secs())
            .text(ATTR_BACKEND_IDENTIFIER, connect.cookie)
    }

    fn request(&mut self, command: u8, version: u8) -> Request {
        self.sequence += 1;
        Request::new(self.family, command, version, self.sequence)
    }

    /// Sends a request and waits for its end. The attributes of the answer; empty when there is
    /// none.
    fn ask(&mut self, what: &'static str, request: Request) -> Result<Vec<u8>, NetlinkError> {
        send(&self.socket, &request.finish(), SendFlags::empty()).map_err(NetlinkError::Socket)?;
        let mut answer = Vec::new();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        for _ in 0..DATAGRAMS_MAX {
            let bytes = match recv(&self.socket, &mut datagram[..], RecvFlags::empty()) {
                Ok((bytes, _)) => bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(NetlinkError::NoAnswer),
                Err(errno) => return Err(NetlinkError::Socket(errno)),
            };
            for reply in replies(&datagram[..bytes], self.sequence) {
                match reply {
                    Reply::Acknowledged => return Ok(answer),
                    Reply::Refused(Errno::PERM) => return Err(NetlinkError::NoPermission),
                    Reply::Refused(errno) => return Err(NetlinkError::Refused { what, errno }),
                    Reply::Answer(attributes) => answer = attributes,
                }
            }
        }
        Err(NetlinkError::NoAnswer)
    }
}

fn with_socket(request: Request, socket: BorrowedFd<'_>) -> Request {
    // The kernel takes the number of the descriptor and makes a reference of its own.
    let number = socket.as_raw_fd().cast_unsigned();
    request.nested(ATTR_SOCKETS, |sockets| {
        sockets.nested(SOCKET_ITEM, |socket| socket.u32(SOCKET_FD, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_the_client_is_told_from_one_with_it() {
        let is_loaded = std::path::Path::new("/sys/module/nbd").exists();
        match Nbd::open() {
            Ok(_) => assert!(is_loaded),
            Err(NetlinkError::NoModule) => assert!(!is_loaded),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_refusal_of_the_kernel_comes_back_as_its_errno() {
        // The family of families exists in every kernel and knows no such command.
        let mut nbd = match Nbd::open() {
            Ok(nbd) => nbd,
            Err(NetlinkError::NoModule) => {
                let socket = socket_with(
                    AddressFamily::NETLINK,
                    SocketType::RAW,
                    SocketFlags::CLOEXEC,
                    Some(netlink::GENERIC),
                )
                .unwrap();
                Nbd { socket, family: CONTROL_FAMILY, sequence: 9 }
            }
            Err(error) => panic!("{error}"),
        };
        nbd.family = CONTROL_FAMILY;
        let request = nbd.request(99, CONTROL_VERSION);
        let error = nbd.ask("do", request).unwrap_err();
        assert!(matches!(error, NetlinkError::Refused { what: "do", .. }), "{error:?}");
    }
}
