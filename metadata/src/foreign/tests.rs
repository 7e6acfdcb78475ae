//! Tests of the probes on small made-up devices.

use super::*;
use crate::layout::LogGeometry;
use crate::seeded::Seeded;
use crate::superblock::{Creation, ResourceName, Superblock};

const DEVICE_BYTES: usize = 1 << 20;

/// A zeroed device with some bytes written at given offsets.
fn device(writes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; DEVICE_BYTES];
    for (at, data) in writes {
        bytes[*at..at + data.len()].copy_from_slice(data);
    }
    bytes
}

fn all_on(bytes: &[u8]) -> Vec<Foreign> {
    let ends = PROBE_BYTES.min(bytes.len());
    detect_all(&bytes[..ends], &bytes[bytes.len() - ends..], bytes.len() as u64)
}

/// The one thing that lies on a device made of `writes`.
fn only(writes: &[(usize, &[u8])]) -> Foreign {
    let found = all_on(&device(writes));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

fn of_unknown_size(kind: ForeignKind) -> Foreign {
    Foreign { kind, used_bytes: None }
}

#[test]
fn an_empty_device_has_nothing_on_it() {
    assert_eq!(all_on(&device(&[])), []);
    assert_eq!(detect(&[], &[], 0), None);
    assert_eq!(detect(&[1], &[1, 2, 3], 1), None, "the ends contradict the size");
}

#[test]
fn xfs_tells_its_size() {
    let blocks = 200_u64.to_be_bytes();
    let xfs = only(&[(0, b"XFSB"), (4, &4096_u32.to_be_bytes()), (8, &blocks)]);
    assert_eq!(xfs, Foreign { kind: ForeignKind::Xfs, used_bytes: Some(200 * 4096) });
    assert!(xfs.is_cut_by(200 * 4096 - 1) && !xfs.is_cut_by(200 * 4096));
    assert_eq!(xfs.to_string(), "an XFS file system of 819200 bytes");
}

#[test]
fn the_three_generations_of_ext_are_told_apart_and_tell_their_size() {
    let ext = |compatible: u32, incompatible: u32| {
        only(&[
            (1024 + 4, &300_u32.to_le_bytes()),
            (1024 + 0x18, &2_u32.to_le_bytes()),
            (1024 + 0x38, &[0x53, 0xef]),
            (1024 + 0x5c, &compatible.to_le_bytes()),
            (1024 + 0x60, &incompatible.to_le_bytes()),
            (1024 + 0x150, &1_u32.to_le_bytes()),
        ])
    };
    let of = |generation, used_bytes| Foreign {
        kind: ForeignKind::Ext { generation },
        used_bytes: Some(used_bytes),
    };
    assert_eq!(ext(0, 2), of(2, 300 * 4096));
    assert_eq!(ext(4, 2), of(3, 300 * 4096));
    assert_eq!(ext(4, 0x42), of(4, 300 * 4096));
    assert_eq!(ext(4, 0xc2), of(4, ((1 << 32) + 300) * 4096));
}

#[test]
fn btrfs_tells_the_size_of_its_device() {
    let btrfs = only(&[
        (65536 + 0x40, b"_BHRfS_M"),
        (65536 + 0x70, &u64::MAX.to_le_bytes()),
        (65536 + 0xd1, &900_000_u64.to_le_bytes()),
    ]);
    assert_eq!(btrfs, Foreign { kind: ForeignKind::Btrfs, used_bytes: Some(900_000) });
}

#[test]
fn swap_of_small_and_large_pages_tells_its_size() {
    let swap = |page_bytes: usize| only(&[(page_bytes - 10, b"SWAPSPACE2"), (1028, &[9, 0, 0, 0])]);
    let of = |used_bytes| Foreign { kind: ForeignKind::Swap, used_bytes: Some(used_bytes) };
    assert_eq!(swap(4096), of(10 * 4096));
    assert_eq!(swap(65536), of(10 * 65536));
}

#[test]
fn containers_file_systems_and_partition_tables_are_named() {
    let luks = only(&[(0, b"LUKS\xba\xbe")]);
    assert_eq!(luks, of_unknown_size(ForeignKind::Luks));
    assert!(luks.is_cut_by(u64::MAX), "a size that is not known counts as all of the device");
    let lvm2 = only(&[(512, b"LABELONE"), (512 + 24, b"LVM2 001")]);
    assert_eq!(lvm2, of_unknown_size(ForeignKind::Lvm2));
    let ntfs = only(&[(3, b"NTFS    "), (0x0b, &[0, 2]), (0x28, &[99, 0]), (510, &[0x55, 0xaa])]);
    assert_eq!(ntfs, Foreign { kind: ForeignKind::Ntfs, used_bytes: Some(100 * 512) });
    let fat = only(&[(82, b"FAT32   "), (510, &[0x55, 0xaa])]);
    assert_eq!(fat, of_unknown_size(ForeignKind::Fat));
    let gpt = only(&[(450, &[0xee]), (510, &[0x55, 0xaa]), (512, b"EFI PART")]);
    assert_eq!(gpt, of_unknown_size(ForeignKind::Gpt));
    let dos = only(&[(446, &[0x80, 0, 0, 0, 0x83]), (510, &[0x55, 0xaa])]);
    assert_eq!(dos, of_unknown_size(ForeignKind::DosPartitions));
    let boot_code_only = all_on(&device(&[(0, &[0xeb]), (510, &[0x55, 0xaa])]));
    assert_eq!(boot_code_only, []);
}

#[test]
fn every_format_of_md_raid_is_found_at_its_place() {
    let magic = 0xa92b_4efc_u32.to_le_bytes();
    for at in [0, 4096, DEVICE_BYTES - 8192, DEVICE_BYTES - 65536] {
        assert_eq!(only(&[(at, &magic)]), of_unknown_size(ForeignKind::MdRaid), "at {at}");
    }
}

#[test]
fn drbd_metadata_are_found_and_the_file_system_above_them_too() {
    let drbd = |magic: u32, at: usize| only(&[(at + 60, &magic.to_be_bytes())]).kind;
    let internal = DEVICE_BYTES - 4096;
    assert_eq!(drbd(0x8374_026b, internal), ForeignKind::Drbd84 { is_unclean: false });
    assert_eq!(drbd(0x8374_026c, internal), ForeignKind::Drbd84 { is_unclean: true });
    assert_eq!(drbd(0x8374_026d, 0), ForeignKind::Drbd9);
    let both = all_on(&device(&[
        (internal + 60, &0x8374_026b_u32.to_be_bytes()),
        (0, b"XFSB"),
        (4, &4096_u32.to_be_bytes()),
        (8, &100_u64.to_be_bytes()),
    ]));
    let kinds: Vec<ForeignKind> = both.iter().map(|foreign| foreign.kind).collect();
    assert_eq!(kinds, [ForeignKind::Drbd84 { is_unclean: false }, ForeignKind::Xfs]);
    assert!(!both[1].is_cut_by(100 * 4096));
}

#[test]
fn our_own_superblock_is_found_in_all_four_places() {
    let superblock = Superblock::new_created(Creation {
        resource_name: ResourceName::new("r0").expect("a legal name"),
        instance_id: 5,
        node_id: 0,
        capacity_bytes: 1 << 19,
        logical_block_bytes: 512,
        log: LogGeometry::default(),
    });
    for at in [0, 4096, DEVICE_BYTES - 8192, DEVICE_BYTES - 4096] {
        let found = only(&[(at, &superblock.encode(0))]);
        assert_eq!(found, of_unknown_size(ForeignKind::Blkrep), "at {at}");
    }
}

#[test]
fn a_tail_shorter_than_a_page_moves_the_place_of_internal_metadata() {
    let mut bytes = device(&[(DEVICE_BYTES - 4096 + 60, &0x8374_026b_u32.to_be_bytes())]);
    bytes.extend_from_slice(&[0; 1536]);
    assert_eq!(all_on(&bytes), [of_unknown_size(ForeignKind::Drbd84 { is_unclean: false })]);
}

#[test]
fn sizes_that_make_no_sense_are_no_sizes() {
    let huge = only(&[(0, b"XFSB"), (4, &[0xff; 4]), (8, &[0xff; 8])]);
    assert_eq!(huge.used_bytes, None);
    let shift = only(&[(1024 + 4, &[9]), (1024 + 0x18, &[200]), (1024 + 0x38, &[0x53, 0xef])]);
    assert_eq!(shift.used_bytes, None);
}

#[test]
fn random_ends_of_any_length_are_read_without_a_panic_and_seldom_taken_for_something() {
    let seed = 9;
    let mut random = Seeded::new(seed);
    let mut taken = 0;
    for _ in 0..300 {
        let length = random.below(70_000) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let device_bytes = length as u64 + random.below(3) * random.below(1 << 40);
        taken += usize::from(detect(&bytes, &bytes, device_bytes).is_some());
    }
    assert!(taken < 3, "seed {seed}: {taken} of 300");
}
