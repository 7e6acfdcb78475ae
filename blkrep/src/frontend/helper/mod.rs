//! The attach helper: the administrator's program makes a block device of the export where the
//! kernel has no NBD client, and gets rid of it again (`docs/attach-helper.md`).
//!
//! | to read about | open |
//! |---|---|
//! | when it is attached and when it is let go | `kept` |
//! | how the program is run | `program` |
//! | what the kernel shows of the device | `device` |

mod device;
mod kept;
mod program;

pub(crate) use kept::Kept;
pub(crate) use program::{Helper, HelperError};
