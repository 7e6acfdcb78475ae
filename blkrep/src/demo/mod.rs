//! `blkrep demo`: two nodes on this machine, to look at and to break.

pub mod scratch_dir;
