//! What others left on a device, so that `create-md` does not write over it unasked.
//!
//! Recognised by the magic numbers that `file` and `blkid` use. Everything read here is untrusted:
//! nothing is indexed or computed without a check.

mod probes;

use std::fmt;

/// Bytes from either end of the device that [`detect`] wants to see.
pub const PROBE_BYTES: usize = 128 << 10;

/// What lies on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignKind {
    /// Metadata of this program.
    Blkrep,
    /// Metadata of DRBD 8.0 to 8.4.
    Drbd84 {
        /// True when DRBD did not leave them cleanly: its activity log was not applied.
        is_unclean: bool,
    },
    /// Metadata of DRBD 9.
    Drbd9,
    /// A member of a Linux software RAID.
    MdRaid,
    /// A LUKS container.
    Luks,
    /// A physical volume of LVM2.
    Lvm2,
    /// The XFS file system.
    Xfs,
    /// The ext2, ext3 or ext4 file system.
    Ext {
        /// 2, 3 or 4.
        generation: u8,
    },
    /// The btrfs file system.
    Btrfs,
    /// Linux swap space.
    Swap,
    /// The NTFS file system.
    Ntfs,
    /// A FAT or exFAT file system.
    Fat,
    /// A GUID partition table.
    Gpt,
    /// A DOS partition table.
    DosPartitions,
}

impl fmt::Display for ForeignKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blkrep => formatter.write_str("blkrep metadata"),
            Self::Drbd84 { is_unclean: false } => formatter.write_str("DRBD 8.4 metadata"),
            Self::Drbd84 { is_unclean: true } => formatter.write_str("unclean DRBD 8.4 metadata"),
            Self::Drbd9 => formatter.write_str("DRBD 9 metadata"),
            Self::MdRaid => formatter.write_str("a Linux software RAID member"),
            Self::Luks => formatter.write_str("a LUKS container"),
            Self::Lvm2 => formatter.write_str("an LVM2 physical volume"),
            Self::Xfs => formatter.write_str("an XFS file system"),
            Self::Ext { generation } => write!(formatter, "an ext{generation} file system"),
            Self::Btrfs => formatter.write_str("a btrfs file system"),
            Self::Swap => formatter.write_str("swap space"),
            Self::Ntfs => formatter.write_str("an NTFS file system"),
            Self::Fat => formatter.write_str("a FAT file system"),
            Self::Gpt => formatter.write_str("a GPT partition table"),
            Self::DosPartitions => formatter.write_str("a DOS partition table"),
        }
    }
}

/// Something on a device that is not free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// What it is.
    pub kind: ForeignKind,
    /// Bytes from the start of the device that it occupies, when it says so. Nothing: it may reach
    /// to the end.
    pub used_bytes: Option<u64>,
}

impl Foreign {
    /// True when a data area of `data_bytes` would be too short for it. What does not tell its size
    /// counts as cut: it may reach to the end of the device.
    #[must_use]
    pub fn is_cut_by(&self, data_bytes: u64) -> bool {
        self.used_bytes.is_none_or(|used_bytes| used_bytes > data_bytes)
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.used_bytes {
            Some(used_bytes) => write!(formatter, "{} of {used_bytes} bytes", self.kind),
            None => self.kind.fmt(formatter),
        }
    }
}

/// The most telling thing that lies on a device: see [`detect_all`].
#[must_use]
pub fn detect(first: &[u8], last: &[u8], device_bytes: u64) -> Option<Foreign> {
    detect_all(first, last, device_bytes).into_iter().next()
}

/// All that lies on a device of `device_bytes`, replication metadata first, then containers, file
/// systems and partition tables: a file system below DRBD metadata is named beside them.
///
/// `first` are the first [`PROBE_BYTES`] of the device and `last` the last ones; a smaller device
/// gives what it has, and bytes that are not given are not looked at.
#[must_use]
pub fn detect_all(first: &[u8], last: &[u8], device_bytes: u64) -> Vec<Foreign> {
    let device = Ends { first, last, device_bytes };
    probes::ALL.iter().filter_map(|probe| probe(&device)).collect()
}

/// Both ends of a device. Reading anywhere is safe: what is not there is nothing.
struct Ends<'a> {
    first: &'a [u8],
    last: &'a [u8],
    device_bytes: u64,
}

impl Ends<'_> {
    /// The `N` bytes at offset `at` of the device, when they are in one of the ends.
    fn get<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let slice = |bytes: &[u8], from: u64| -> Option<[u8; N]> {
            let start = usize::try_from(at.checked_sub(from)?).ok()?;
            bytes.get(start..start.checked_add(N)?)?.try_into().ok()
        };
        let last_from = self.device_bytes.checked_sub(self.last.len() as u64)?;
        slice(self.first, 0).or_else(|| slice(self.last, last_from))
    }

    fn has<const N: usize>(&self, at: u64, magic: &[u8; N]) -> bool {
        self.get(at).as_ref() == Some(magic)
    }

    fn u16_le(&self, at: u64) -> Option<u16> {
        self.get(at).map(u16::from_le_bytes)
    }

    fn u32_le(&self, at: u64) -> Option<u32> {
        self.get(at).map(u32::from_le_bytes)
    }

    fn u32_be(&self, at: u64) -> Option<u32> {
        self.get(at).map(u32::from_be_bytes)
    }

    fn u64_le(&self, at: u64) -> Option<u64> {
        self.get(at).map(u64::from_le_bytes)
    }

    fn u64_be(&self, at: u64) -> Option<u64> {
        self.get(at).map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
