//! The one socket option that no safe crate sets: TCP_NOTSENT_LOWAT.

use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// `IPPROTO_TCP` of tcp(7).
const LEVEL_TCP: i32 = 6;
/// `TCP_NOTSENT_LOWAT` of linux/tcp.h.
const NOTSENT_LOWAT: i32 = 25;

unsafe extern "C" {
    fn setsockopt(socket: i32, level: i32, name: i32, value: *const u32, value_bytes: u32) -> i32;
}

/// Keeps the kernel from queueing more than about `bytes` bytes that TCP has not yet sent, so that
/// an acknowledgement or a ping never waits behind bulk data (rule F17).
///
/// # Errors
/// When the descriptor is no TCP socket.
pub fn limit_unsent<Fd: AsFd>(socket: Fd, bytes: u32) -> Result<(), Errno> {
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads four bytes of a
    // local value.
    let result = unsafe { setsockopt(raw, LEVEL_TCP, NOTSENT_LOWAT, &raw const bytes, 4) };
    if result == 0 { Ok(()) } else { Err(Errno::INVAL) }
}
