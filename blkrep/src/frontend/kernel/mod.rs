//! The kernel's block device: `/dev/nbdN` attached to the export by netlink, and looked after by
//! the control room. The I/O thread only takes over the server's end of its socket
//! (`docs/decisions/0015-the-kernels-device.md`).
//!
//! | to read about | open |
//! |---|---|
//! | when it is attached and when it is let go | `keeper` |
//! | how | `attach`, `release`, `netlink`, `genetlink` |
//! | whose it is (rule D16) | `cookie`, `news` |
//! | what the kernel shows of it, who holds it, its name | `device`, `holders`, `links` |

pub(crate) mod attach;
pub(crate) mod cookie;
mod device;
mod faults;
mod genetlink;
mod holders;
pub(crate) mod keeper;
mod links;
mod netlink;
pub(crate) mod news;
mod release;
