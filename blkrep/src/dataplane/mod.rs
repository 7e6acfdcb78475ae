//! The data plane: one thread per resource that owns ring, buffers, sockets, disk and the engine.
//!
//! | to read about | open |
//! |---|---|
//! | the loop and the order of its turn | `io_thread` |
//! | NBD clients | `nbd_port`, `nbd_session`, `nbd_intake`, `nbd_request` |
//! | the peer | `peer_port`, `peer_link` |
//! | disks | `disk`, `disk_io`, `metadata_writer` |
//! | sockets in general | `listener`, `inbox`, `send_queue` |
//! | commands from the control room | `handle` |

mod disk_io;
mod inbox;
mod metadata_writer;
mod nbd_intake;
mod nbd_request;
mod nbd_session;
mod peer_link;
mod send_queue;
mod token;
