//! The data plane: one thread per resource that owns ring, buffers, sockets, disk and the engine.
//!
//! | to read about | open |
//! |---|---|
//! | how it is started | `start`, `arena_plan` |
//! | the loop and the order of its turn | `io_thread` |
//! | clients | the room `frontend` |
//! | the peer | `peer_port`, `peer_link` |
//! | opening disks | `disk`, `disk_lock`, `disk_image`, `disk_source` |
//! | using and leaving them | `disk_slot`, `disk_io`, `disk_map`, `metadata_writer` |
//! | sockets in general | `listener`, `inbox`, `send_queue` |
//! | commands from the control room | `handle` |
//! | the log | `report` |

mod arena_plan;
pub mod disk;
mod disk_image;
mod disk_io;
pub mod disk_lock;
pub(crate) mod disk_map;
mod disk_slot;
mod disk_source;
pub mod handle;
pub(crate) mod inbox;
mod io_thread;
pub mod listener;
mod metadata_writer;
mod peer_link;
mod peer_port;
mod report;
pub mod resume_mark;
pub(crate) mod send_queue;
pub mod start;
pub(crate) mod token;
