//! Tests of the superblock's byte layout.

use super::*;

pub(super) fn sample() -> Superblock {
    Superblock {
        sequence: 0x0102_0304_0506_0708,
        resource_name: ResourceName::new("postgres").expect("a legal name"),
        resource_tag: 0x1112_1314_1516_1718,
        instance_id: 0x2122_2324_2526_2728,
        node_id: 1,
        attach_number: 0x3132_3334_3536_3738,
        promotion_number: 0x4142_4344_4546_4748,
        boot_id: *b"0123456789abcdef",
        device_bytes: 0x5152_5354_5556_5758,
        proposed_bytes: 0xb1b2_b3b4_b5b6_b7b8,
        capacity_bytes: 0x6162_6364_6566_6768,
        logical_block_bytes: 4096,
        log: LogGeometry::default(),
        generations: Generations { current: 0x71, bitmap: 0x72, history: [0x73, 0x74] },
        flags: Flags { consistent: true, lost_power: true, ..Flags::default() },
        bitmap_digest: 0x8182_8384,
        session: Session { id: 0x91, number: 0x92 },
        peer_minimum: PeerMinimum {
            instance_id: 0xa1,
            superblock_sequence: 0xa2,
            log_sequence: 0xa3,
        },
        met: Sequences { superblock: 0xb1, log: 0xb2 },
    }
}

#[test]
fn a_superblock_survives_the_round_trip_in_both_copies() {
    assert_eq!(Superblock::decode_copy(&sample().encode(0), 0), Ok(sample()));
    assert_eq!(Superblock::decode_copy(&sample().encode(1), 1), Ok(sample()));
}

#[test]
fn fresh_metadata_know_nothing() {
    let fresh = Superblock::new_created(Creation {
        resource_name: ResourceName::new("r0").expect("a legal name"),
        instance_id: 5,
        node_id: 0,
        capacity_bytes: 1 << 30,
        logical_block_bytes: 512,
        log: LogGeometry::default(),
    });
    assert!(fresh.generations.is_just_created());
    assert_eq!(fresh.flags.to_bits(), 0);
    assert_eq!((fresh.sequence, fresh.device_bytes, fresh.attach_number), (1, 0, 0));
    assert_eq!(Superblock::decode(&fresh.encode(0)), Ok(fresh));
}

/// Changes a copy and seals it again, as a program with other ideas would.
fn resealed(change: fn(&mut Page)) -> Result<Superblock, SuperblockError> {
    let mut page = sample().encode(0);
    change(&mut page);
    seal(&mut page, PageKind::Superblock, 0, &sample().identity());
    Superblock::decode(&page)
}

#[test]
fn values_that_are_never_written_are_refused_by_name() {
    let field = |field, value| Err(SuperblockError::Field { field, value });
    assert_eq!(resealed(|page| put_u16(page, AT_LOG_SLOTS, 3)), field("log slots", 3));
    assert_eq!(resealed(|page| put_u16(page, AT_RING_PAGES, 9)), field("ring pages", 9));
    assert_eq!(resealed(|page| put_u32(page, AT_FLAGS, 1 << 30)), field("flags", 1 << 30));
    let long = Err(SuperblockError::Name(NameError::Length { bytes: 64 }));
    assert_eq!(resealed(|page| page[AT_NAME_BYTES] = 64), long);
    let node = PageIdentity { node_id: 2, ..sample().identity() };
    let mut page = sample().encode(0);
    seal(&mut page, PageKind::Superblock, 0, &node);
    assert_eq!(Superblock::decode(&page), field("node", 2));
    seal(&mut page, PageKind::Superblock, 2, &sample().identity());
    assert_eq!(Superblock::decode(&page), field("copy number", 2));
}
