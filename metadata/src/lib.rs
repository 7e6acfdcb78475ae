//! What blkrep keeps on a disk besides user data: layout, superblock, activity log, bitmap.
//! Pure: bytes in, bytes out; `docs/format.md` is the specification.
//!
//! ```text
//! internal   | user data ...          | bitmap | log ring | superblock 0 | superblock 1 | (tail)
//! external   | superblock 0 | superblock 1 | log ring | bitmap | (room to grow)
//! ```
//!
//! [`layout`] says where the parts lie, [`page`] is the header that every page of them carries, and
//! [`superblock`] (with [`generations`]), [`activity_log`] and [`bitmap`] are the parts. [`runs`]
//! is the form in which a bitmap travels to the peer, [`foreign`] recognises what others left on a
//! disk, and [`units`] has the bytes, blocks and extents that all of them count in.

pub mod activity_log;
pub mod bitmap;
pub mod foreign;
pub mod generations;
pub mod growth;
pub mod hot_extents;
pub mod layout;
pub mod page;
pub mod runs;
pub mod superblock;
pub mod units;

#[cfg(test)]
mod seeded;

pub use activity_log::{Replay, SlotUpdate, Transaction};
pub use bitmap::Bitmap;
pub use foreign::{Foreign, ForeignKind};
pub use generations::{Generations, JUST_CREATED, PRIMARY_BIT, same_generation};
pub use layout::{Layout, LayoutError, LogGeometry, Placement};
pub use page::{Page, PageError, PageIdentity, PageKind};
pub use superblock::{Creation, Flags, PeerMinimum, ResourceName, Sequences, Session, Superblock};
pub use units::{BlockRange, ByteRange};
