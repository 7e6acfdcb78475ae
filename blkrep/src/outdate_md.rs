//! Marks this node's replica as Outdated on the disk while no daemon has it (drbd-facts 2.7).

use crate::config::NodeConfig;
use crate::disk_ends::DiskEnds;
use crate::read_md::{Access, Holder, ReadMdError};
use replicator::ids::NodeIndex;

/// How the replica was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It is marked now, or was before.
    Outdated,
    /// It is Inconsistent, which is worse; nothing was written.
    WorseAlready,
}

/// Takes the mark "was UpToDate" away, durably: at its next start the replica is Outdated, and is
/// not promoted unless forced.
///
/// # Errors
/// As for reading the superblock, or it could not be written.
pub fn outdate(
    resource: &str,
    index: NodeIndex,
    node: &NodeConfig,
    ends: &DiskEnds,
) -> Result<Marked, ReadMdError> {
    let holder = Holder::open(node, Access::Change)?;
    let (found, _) = holder.find(resource, index, ends)?;
    let mut superblock = found.superblock;
    if !superblock.flags.consistent {
        return Ok(Marked::WorseAlready);
    }
    if superblock.flags.was_up_to_date {
        superblock.flags.was_up_to_date = false;
        superblock.sequence += 1;
        holder.write_superblock(&superblock, found.device_bytes)?;
    }
    Ok(Marked::Outdated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MetaDisk;
    use crate::create_md::create_md;
    use crate::demo::scratch_dir::ScratchDir;
    use crate::read_md::read_superblock;
    use rustix::fs::{FlockOperation, flock};
    use std::fs::File;

    const ME: NodeIndex = NodeIndex::First;
    const DISK_BYTES: u64 = 16 << 20;

    fn ends(node: &NodeConfig) -> DiskEnds {
        DiskEnds::at(node.disk.with_extension("ends"))
    }

    fn node(dir: &ScratchDir) -> NodeConfig {
        let disk = dir.path().join("disk");
        File::create(&disk).unwrap().set_len(DISK_BYTES).unwrap();
        let node = NodeConfig {
            name: "alice".to_owned(),
            disk,
            meta_disk: MetaDisk::Internal,
            address: "127.0.0.1:7791".parse().unwrap(),
            device: None,
            attach_helper: None,
            nbd_listen: None,
        };
        create_md("r0", ME, &node, metadata::LogGeometry::default(), false).unwrap();
        node
    }

    #[test]
    fn a_good_replica_is_outdated_in_both_copies_and_once() {
        let dir = ScratchDir::new("outdate");
        let node = node(&dir);
        let holder = Holder::open(&node, Access::Change).unwrap();
        let mut good = holder.find("r0", ME, &ends(&node)).unwrap().0.superblock;
        (good.flags.consistent, good.flags.was_up_to_date) = (true, true);
        good.sequence += 1;
        holder.write_superblock(&good, DISK_BYTES).unwrap();
        drop(holder);
        assert_eq!(outdate("r0", ME, &node, &ends(&node)).unwrap(), Marked::Outdated);
        let marked = read_superblock("r0", ME, &node, &ends(&node)).unwrap();
        assert!(marked.flags.consistent && !marked.flags.was_up_to_date);
        assert_eq!(marked.sequence, good.sequence + 1);
        let holder = Holder::open(&node, Access::Read).unwrap();
        let (_, pages) = holder.find("r0", ME, &ends(&node)).unwrap();
        drop(holder);
        for (copy, page) in [0, 1].into_iter().zip(&pages) {
            assert_eq!(metadata::Superblock::decode_copy(page, copy).unwrap(), marked);
        }
        assert_eq!(outdate("r0", ME, &node, &ends(&node)).unwrap(), Marked::Outdated);
        assert_eq!(
            read_superblock("r0", ME, &node, &ends(&node)).unwrap().sequence,
            marked.sequence
        );
    }

    #[test]
    fn a_fresh_replica_is_worse_already_and_a_disk_in_use_is_left_alone() {
        let dir = ScratchDir::new("outdate-not");
        let node = node(&dir);
        assert_eq!(outdate("r0", ME, &node, &ends(&node)).unwrap(), Marked::WorseAlready);
        let daemon = File::open(&node.disk).unwrap();
        flock(&daemon, FlockOperation::NonBlockingLockExclusive).unwrap();
        let error = outdate("r0", ME, &node, &ends(&node)).unwrap_err();
        assert!(matches!(error, ReadMdError::Locked { path: _, holder: _ }), "{error}");
    }
}
