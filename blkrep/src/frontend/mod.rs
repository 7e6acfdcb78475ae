//! The front end: how programs reach the device. The rest of the house knows one type of it.
//!
//! [`FrontEnd`] is the door: the I/O thread opens and closes the export, hands in what its ring
//! completed (accept, received, sent) and what the engine answered (reply), and lets it go on
//! (resume, kick, expire). Out of the door come the engine's inputs, requests and how many clients
//! there are, and questions for the disk alone: where it has holes (`next_map`, `mapped`). The
//! engine knows no front end, and another one (ublk) that keeps to these calls can stand beside
//! this one without touching it.
//!
//! | to read about | open |
//! |---|---|
//! | the door, the listening sockets, who is let in | `door` |
//! | one NBD connection | `session`, `intake`, `request`, `map` |
//! | the block device of a Primary: when | `keeper`, `news` |
//! | the kernel's /dev/nbdN | `kernel` |
//! | one that the administrator's program makes | `helper` |
//! | its name, its first read, getting rid of a dead daemon's | `links`, `probe`, `dead` |

mod dead;
mod door;
mod helper;
mod intake;
pub(crate) mod keeper;
pub(crate) mod kernel;
mod links;
mod map;
pub(crate) mod news;
mod probe;
mod request;
mod session;

pub(crate) use dead::release_unused;
pub use dead::{Dead, ReleaseError, release_dead};
pub(crate) use door::{FrontEnd, PLACES};
pub(crate) use map::MapWish;
