//! Two real daemons, real disks, real clients, and what happens to machines and links.
//!
//! One file for each behaviour. Every test makes its own pair (`testbed`), so they run side by
//! side.

mod bed;

mod commands;
mod connections;
mod demo;
mod disk_fails;
mod file_system;
mod flush_reaches_disks;
mod garbage;
mod generation_identifiers;
mod initial_sync;
mod link_cut;
mod primary_killed;
mod promotion_race;
mod random_failures;
mod refusals;
mod secondary_killed;
mod secondary_stopped;
mod split_brain;
mod verified_load;
mod wrong_peer;
