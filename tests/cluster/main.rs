//! Two real daemons, real disks, real clients, and what happens to machines and links.
//!
//! One file for each behaviour. Every test makes its own pair (`testbed`), so they run side by
//! side.

mod bed;

mod attach;
mod attach_helper;
mod attach_helper_dead;
mod attach_helper_faults;
mod busy_resync;
mod checksum_resync;
mod commands;
mod configuration;
mod connections;
mod demo;
mod disk_fails;
mod disk_full;
mod fencing;
mod file_system;
mod flush_reaches_disks;
mod garbage;
mod generation_identifiers;
mod handlers;
mod hanging_peer;
mod initial_sync;
mod io_errors;
mod kernel_device;
mod large_device;
mod link_cut;
mod metadata_damage;
mod outdate;
mod postgresql;
mod primary_killed;
mod primary_lost;
mod promotion_race;
mod random_failures;
mod refusals;
mod resize;
mod resume_mark;
mod resync_interrupted;
mod revert_older_data;
mod secondary_killed;
mod secondary_stopped;
mod split_brain;
mod split_brain_rounds;
mod startup_waits;
mod stress_al;
mod switch_primaries;
mod sync_progress;
mod verified_load;
mod verify;
mod verify_speed;
mod wrong_peer;
