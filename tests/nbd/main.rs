//! NBD conformance: other people's clients, and clients that break the rules, against a replicated
//! pair. After each test both replicas are equal.
//!
//! The table of what is served and refused is docs/nbd.md. A missing program skips its tests.

mod allocation;
mod device;
mod fio;
mod hostile;
mod multi_conn;
mod nbd_crate;
mod nbdcopy;
mod nbdfuse;
mod nbdinfo;
mod nbdkit;
mod nbdsh;
mod noise;
mod pace;
mod qemu_img;
mod qemu_io;
mod refusals;
mod secondary;
mod tools;
mod vanishing;
mod wire;
