//! A deterministic simulator: two unmodified nodes, disks that lose their caches, a network that
//! breaks, clients that know what was acknowledged, an operator who does what operators do, and
//! checkers that judge all of it (DESIGN 9).
//!
//! | to read about | open |
//! |---|---|
//! | the clock and the queue of happenings | `world`, `run` |
//! | what breaks | `geometry`, `growth`, `disk`, `metadata_disk`, `network`, `damage`, `operator` |
//! | what is promised, and who judges | `ledger`, `client`, `checkers`, `cover` |
//! | schedules by hand | `schedule`, `scenarios`, `schedule_table` |
//! | rules broken on purpose | `scenarios`, `verdicts` |

mod basic_scenarios;
mod batch;
mod buffers;
mod cache_scenarios;
mod checkers;
mod client;
mod copies;
mod cover;
mod coverage;
mod damage;
mod disk;
mod disk_faults;
mod disk_scenarios;
mod fencing_scenarios;
mod generation_list;
mod generation_scenarios;
mod geometry;
mod growth;
mod handlers;
mod host;
mod ledger;
mod links;
mod log_scenarios;
mod loss_list;
mod lost_cache_scenarios;
mod lost_peer_scenarios;
mod marks;
mod metadata_disk;
mod network;
mod operator;
mod policies;
mod profile;
mod random;
mod range_scenarios;
mod resends;
mod resize_scenarios;
mod restored_scenarios;
mod resync_scenarios;
mod rot;
mod rotations;
mod rule_scenarios;
mod run;
mod scenarios;
mod schedule;
mod schedule_list;
mod schedule_table;
mod sightings;
mod split_scenarios;
mod stall_scenarios;
mod suspension_scenarios;
mod verb_scenarios;
mod verdicts;
mod verify_scenarios;
mod waiting_scenarios;
mod wishes;
mod world;

pub use batch::{Batch, Outcome, cores, outlive_panic};
pub use coverage::Coverage;
pub use disk_faults::Broken;
pub use generation_list::GENERATION_SCENARIOS;
pub use geometry::Geometry;
pub(crate) use loss_list::LOSS_SCENARIOS;
pub use marks::{MARKS, never_taken, table};
pub use profile::Profile;
pub use random::Random;
pub use run::{Report, current_seed, run, run_broken};
pub use scenarios::{
    Ending, SCENARIOS, Scenario, Stage, all_scenarios, ensure, scenario_named, scenario_of, well,
};
pub(crate) use schedule_list::SCHEDULE_SCENARIOS;
pub use schedule_table::{COVERED_TWICE, SCHEDULES, Schedule, Shown, Twice, is_covered};
pub use verdicts::{Verdict, Verdicts};
pub(crate) use verify_scenarios::VERIFY_SCENARIOS;
pub use world::World;
