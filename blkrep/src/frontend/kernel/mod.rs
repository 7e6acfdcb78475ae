//! The kernel's block device: `/dev/nbdN` attached to the export by netlink, and looked after by
//! the control room. The I/O thread only takes over the server's end of its socket
//! (`docs/decisions/0015-the-kernels-device.md`).
//!
//! | to read about | open |
//! |---|---|
//! | when it is attached and when it is let go | `kept` |
//! | how | `attach`, `release`, `netlink`, `genetlink` |
//! | whose it is (rule D16) | `cookie` |
//! | what the kernel shows of it, who holds it | `device`, `holders` |

pub(crate) mod attach;
pub(crate) mod cookie;
mod device;
mod faults;
mod genetlink;
mod holders;
mod kept;
mod netlink;
mod release;

pub(crate) use kept::Kept;
