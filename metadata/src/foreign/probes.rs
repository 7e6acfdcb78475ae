//! One function per kind of foreign data: where its magic number lies and where its size.

use super::{Ends, Foreign, ForeignKind};
use crate::layout::{Layout, Placement};
use crate::page::PageKind;

type Probe = fn(&Ends<'_>) -> Option<Foreign>;

/// In the order of their weight for `create-md`.
pub(super) const ALL: [Probe; 13] =
    [blkrep, drbd, md_raid, luks, lvm2, xfs, ext, btrfs, swap, ntfs, fat, gpt, dos_partitions];

const DRBD_MAGIC_08: u32 = 0x8374_026b;
const DRBD_MAGIC_84_UNCLEAN: u32 = 0x8374_026c;
const DRBD_MAGIC_09: u32 = 0x8374_026d;
const MD_RAID_MAGIC: u32 = 0xa92b_4efc;

/// Offset of the superblock of btrfs.
const BTRFS_AT: u64 = 64 << 10;
const EXT_AT: u64 = 1024;

fn found(kind: ForeignKind, used_bytes: Option<u64>) -> Option<Foreign> {
    Some(Foreign { kind, used_bytes })
}

/// A product of untrusted numbers; nothing when one is missing, zero or too large.
fn product(count: Option<u64>, unit: Option<u64>) -> Option<u64> {
    count?.checked_mul(unit?).filter(|&bytes| bytes > 0)
}

fn blkrep(device: &Ends<'_>) -> Option<Foreign> {
    let magic = PageKind::Superblock.magic();
    let [internal, external] = [Placement::Internal, Placement::External]
        .map(|placement| Layout::superblock_offsets(placement, device.device_bytes));
    let places = internal.into_iter().chain(external);
    let is_there = places.into_iter().any(|at| device.has(at, &magic));
    is_there.then_some(Foreign { kind: ForeignKind::Blkrep, used_bytes: None })
}

/// The superblock of DRBD 8 and 9 is big endian with its magic at byte 60, in the last whole 4 KiB
/// of the device or, as external metadata, at its start.
fn drbd(device: &Ends<'_>) -> Option<Foreign> {
    const MAGIC_AT: u64 = 60;
    let internal = (device.device_bytes / 4096).saturating_sub(1) * 4096;
    [internal, 0].into_iter().find_map(|at| {
        let kind = match device.u32_be(at + MAGIC_AT)? {
            DRBD_MAGIC_08 => ForeignKind::Drbd84 { is_unclean: false },
            DRBD_MAGIC_84_UNCLEAN => ForeignKind::Drbd84 { is_unclean: true },
            DRBD_MAGIC_09 => ForeignKind::Drbd9,
            _ => return None,
        };
        found(kind, None)
    })
}

/// Formats 1.1 and 1.2 lie near the start, 1.0 and 0.90 near the end of the device.
fn md_raid(device: &Ends<'_>) -> Option<Foreign> {
    let sectors = device.device_bytes / 512;
    let format_1_0 = (sectors.saturating_sub(16) & !7) * 512;
    let format_0_90 = (device.device_bytes & !0xffff).saturating_sub(64 << 10);
    let places = [0, 4096, format_1_0, format_0_90];
    // Format 0.90 is written in the byte order of the machine.
    let is_magic = |at: u64| {
        device.u32_le(at) == Some(MD_RAID_MAGIC) || device.u32_be(at) == Some(MD_RAID_MAGIC)
    };
    places
        .into_iter()
        .any(is_magic)
        .then_some(Foreign { kind: ForeignKind::MdRaid, used_bytes: None })
}

fn luks(device: &Ends<'_>) -> Option<Foreign> {
    device.has(0, b"LUKS\xba\xbe").then(|| found(ForeignKind::Luks, None))?
}

/// The label may be in any of the first four sectors.
fn lvm2(device: &Ends<'_>) -> Option<Foreign> {
    let is_label = |at: u64| device.has(at, b"LABELONE") && device.has(at + 24, b"LVM2 001");
    [0, 512, 1024, 1536].into_iter().any(is_label).then(|| found(ForeignKind::Lvm2, None))?
}

fn xfs(device: &Ends<'_>) -> Option<Foreign> {
    if !device.has(0, b"XFSB") {
        return None;
    }
    found(ForeignKind::Xfs, product(device.u64_be(8), device.u32_be(4).map(u64::from)))
}

fn ext(device: &Ends<'_>) -> Option<Foreign> {
    const HAS_JOURNAL: u32 = 0x4;
    const EXTENTS: u32 = 0x40;
    const SIXTY_FOUR_BIT: u32 = 0x80;
    if device.u16_le(EXT_AT + 0x38)? != 0xef53 {
        return None;
    }
    let (compatible, incompatible) = (device.u32_le(EXT_AT + 0x5c)?, device.u32_le(EXT_AT + 0x60)?);
    let generation = if incompatible & (EXTENTS | SIXTY_FOUR_BIT) != 0 {
        4
    } else if compatible & HAS_JOURNAL != 0 {
        3
    } else {
        2
    };
    let has_high = incompatible & SIXTY_FOUR_BIT != 0;
    let high = if has_high { device.u32_le(EXT_AT + 0x150)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(device.u32_le(EXT_AT + 4)?);
    let block_bytes =
        1024_u64.checked_shl(device.u32_le(EXT_AT + 0x18)?).filter(|&bytes| bytes <= 65536);
    found(ForeignKind::Ext { generation }, product(Some(blocks), block_bytes))
}

/// The size is that of this device in the file system, which may span several.
fn btrfs(device: &Ends<'_>) -> Option<Foreign> {
    const DEVICE_BYTES_AT: u64 = 0xc9 + 8;
    if !device.has(BTRFS_AT + 0x40, b"_BHRfS_M") {
        return None;
    }
    let used_bytes = device.u64_le(BTRFS_AT + DEVICE_BYTES_AT).filter(|&bytes| bytes > 0);
    found(ForeignKind::Btrfs, used_bytes)
}

/// The magic ends the first page of the machine that made it: 4 KiB to 64 KiB.
fn swap(device: &Ends<'_>) -> Option<Foreign> {
    let page_bytes = (12..=16).map(|shift| 1_u64 << shift).find(|page_bytes| {
        let at = page_bytes - 10;
        device.has(at, b"SWAPSPACE2") || device.has(at, b"SWAP-SPACE")
    })?;
    let last_page = device.u32_le(1028).filter(|&last_page| last_page > 0);
    let pages = last_page.map(|last_page| u64::from(last_page) + 1);
    found(ForeignKind::Swap, product(pages, Some(page_bytes)))
}

/// The last sector, which is not counted, holds a copy of the first.
fn ntfs(device: &Ends<'_>) -> Option<Foreign> {
    if !device.has(3, b"NTFS    ") {
        return None;
    }
    let sectors = device.u64_le(0x28).and_then(|sectors| sectors.checked_add(1));
    found(ForeignKind::Ntfs, product(sectors, device.u16_le(0x0b).map(u64::from)))
}

fn fat(device: &Ends<'_>) -> Option<Foreign> {
    let is_fat = device.has(510, &[0x55, 0xaa])
        && (device.has(54, b"FAT") || device.has(82, b"FAT32") || device.has(3, b"EXFAT   "));
    is_fat.then(|| found(ForeignKind::Fat, None))?
}

fn gpt(device: &Ends<'_>) -> Option<Foreign> {
    let is_gpt = device.has(512, b"EFI PART") || device.has(4096, b"EFI PART");
    is_gpt.then(|| found(ForeignKind::Gpt, None))?
}

/// Four entries of 16 bytes from byte 446 on, each active or not; one at least is in use. The entry
/// that protects a GPT is none of these.
fn dos_partitions(device: &Ends<'_>) -> Option<Foreign> {
    const PROTECTIVE: u8 = 0xee;
    if !device.has(510, &[0x55, 0xaa]) || fat(device).is_some() || ntfs(device).is_some() {
        return None;
    }
    let mut is_used = false;
    for entry in 0..4 {
        let [status, _, _, _, kind] = device.get(446 + entry * 16)?;
        if status & 0x7f != 0 {
            return None;
        }
        is_used |= kind != 0 && kind != PROTECTIVE;
    }
    is_used.then(|| found(ForeignKind::DosPartitions, None))?
}
