//! Sockets: listening, accepting, dialling, and the options that each of them gets.

use crate::ring::socket::limit_unsent;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    connect, connect_unspec, listen, socket_with, sockopt,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 64;
/// Unsent bytes that the kernel may hold for a peer, beside what is in flight (rule F17).
const UNSENT_BYTES: u32 = 128 << 10;
/// A killed predecessor's port may stay taken for so long: the kernel closes its socket only after
/// it has cancelled the requests on it, and that is after the process is gone.
const PREDECESSOR_MAX: Duration = Duration::from_secs(3);
/// Pause between two attempts to take the port over.
const PREDECESSOR_PAUSE: Duration = Duration::from_millis(20);

/// A socket could not be opened for listening.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A TCP address.
    #[error(
        "cannot listen on {address}: {errno}; check that the address is this node's and the port is free"
    )]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The cause.
        errno: Errno,
    },
    /// A unix socket.
    #[error("cannot listen on {}: {errno}; check that the directory exists and is writable", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// The cause.
        errno: Errno,
    },
    /// Something else lies where the socket should be.
    #[error("{} exists and is no socket; move it away", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
}

/// Listens on a TCP address. Blocks for up to 3 s while a predecessor's socket goes away.
pub(crate) fn listen_tcp(address: SocketAddr) -> Result<OwnedFd, ListenError> {
    let open = || -> Result<OwnedFd, Errno> {
        let socket = stream_socket(address)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let began = Instant::now();
    loop {
        match open() {
            Ok(socket) => return Ok(socket),
            Err(Errno::ADDRINUSE) if began.elapsed() < PREDECESSOR_MAX => {
                std::thread::sleep(PREDECESSOR_PAUSE);
            }
            Err(errno) => return Err(ListenError::Tcp { address, errno }),
        }
    }
}

/// Listens on a unix socket that only its owner may use; a stale one of a predecessor is removed.
pub(crate) fn listen_unix(path: &Path) -> Result<OwnedFd, ListenError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NoSocket { path: path.to_owned() });
        }
        // The exclusive lock on the disk is ours by now, so nobody serves the old socket.
        Ok(_) => drop(std::fs::remove_file(path)),
        Err(_) => {}
    }
    let open = || -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    open().map_err(|errno| ListenError::Unix { path: path.to_owned(), errno })
}

/// The next connection that waits; none when there is none. The socket is in blocking mode, as the
/// ring wants it.
pub(crate) fn accept_one(listener: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    match accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Begins to connect to `to` from the address `from`; the socket becomes writable when it is
/// decided.
pub(crate) fn dial(from: IpAddr, to: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = stream_socket(to)?;
    if !from.is_unspecified() && from.is_ipv4() == to.is_ipv4() {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// How a connect ended.
pub(crate) fn dial_result(socket: &OwnedFd) -> Result<(), Errno> {
    sockopt::socket_error(socket)??;
    rustix::io::ioctl_fionbio(socket, false)
}

/// Options of a TCP socket to the peer: nothing waits for more (TCP_NODELAY), little waits in the
/// kernel.
pub(crate) fn prepare_peer(socket: &OwnedFd) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, true)?;
    limit_unsent(socket, UNSENT_BYTES)
}

/// Options of a client's socket; TCP_NODELAY fails on a unix socket, which needs none.
pub(crate) fn prepare_client(socket: &OwnedFd, is_tcp: bool) -> Result<(), Errno> {
    if is_tcp { sockopt::set_tcp_nodelay(socket, true) } else { Ok(()) }
}

/// Resets a TCP connection at once: what is queued is thrown away, and the peer gets a RST (rule
/// D15).
pub(crate) fn reset(socket: &OwnedFd) {
    // Either of the two is enough; both fail only on a socket that is closed already.
    let _ = sockopt::set_socket_linger(socket.as_fd(), Some(Duration::ZERO));
    let _ = connect_unspec(socket);
}

/// The address of the other end, for the log.
pub(crate) fn peer_name(socket: &OwnedFd) -> String {
    rustix::net::getpeername(socket)
        .ok()
        .flatten()
        .and_then(|any: SocketAddrAny| SocketAddr::try_from(any).ok())
        .map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
}

fn stream_socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_that_is_given_up_soon_is_waited_for_and_one_that_is_not_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen_tcp(address).unwrap_err();
        let in_use = ListenError::Tcp { address, errno: Errno::ADDRINUSE };
        assert_eq!(error.to_string(), in_use.to_string());
        let predecessor = std::thread::spawn(move || {
            std::thread::sleep(PREDECESSOR_PAUSE * 3);
            drop(taken);
        });
        assert!(listen_tcp(address).is_ok());
        predecessor.join().unwrap();
    }
}
