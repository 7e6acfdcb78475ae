//! The impure room: everything of blkrep that touches the kernel, the clock or a person.

mod bounded_run;
pub mod cli;
pub mod config;
pub mod control;
pub mod create_md;
pub mod daemon;
pub mod dataplane;
pub mod demo;
pub mod disk_ends;
pub mod fence;
pub mod frontend;
pub mod handlers;
pub mod import;
mod ocf;
pub mod outdate_md;
pub mod read_md;
pub mod render;
pub mod ring;
mod shell_run;
