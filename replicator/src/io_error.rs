//! What a failed I/O of a disk says to the operator: the number that the system gave, and what it
//! means where that is known.

/// An error number in words. The numbers are those of Linux on every machine that blkrep runs on.
pub(crate) fn describe(errno: i32) -> String {
    let meaning = match errno {
        5 => "the disk reports an I/O error",
        6 | 19 => "the disk is gone",
        28 => "no space left on the device",
        30 => "the disk is read-only",
        61 => "the disk cannot read these data",
        110 => "the disk did not answer in time",
        122 => "the quota is used up",
        _ => return format!("error {errno}"),
    };
    format!("error {errno}: {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_full_and_what_is_not_known_keeps_its_number() {
        assert_eq!(describe(28), "error 28: no space left on the device");
        assert_eq!(describe(99), "error 99");
    }
}
