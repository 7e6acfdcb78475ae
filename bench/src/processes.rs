//! What the servers cost: processor time and system calls of their processes, all threads.

use crate::error::BenchError;
use std::path::Path;

/// Ticks per second of the times in /proc/PID/stat; fixed for user space on Linux (proc(5)).
const TICKS_PER_S: f64 = 100.0;
/// Fields of /proc/PID/stat behind the command's name that come before `utime` (proc(5): field 14).
const FIELDS_BEFORE_UTIME: usize = 11;

/// Processor time, user and system, that the processes have used so far, in microseconds.
///
/// # Errors
/// [`BenchError::ProcessGone`].
pub(crate) fn cpu_us(pids: &[i32]) -> Result<f64, BenchError> {
    let mut ticks = 0;
    for &pid in pids {
        let gone = |source| BenchError::ProcessGone { pid, source };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(gone)?;
        ticks += ticks_of(&stat).ok_or_else(|| gone(std::io::ErrorKind::InvalidData.into()))?;
    }
    Ok(ticks as f64 / TICKS_PER_S * 1e6)
}

/// `utime` + `stime`: the whole process, its threads that have ended included.
fn ticks_of(stat: &str) -> Option<u64> {
    // The name may hold blanks and brackets; the last bracket ends it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(FIELDS_BEFORE_UTIME);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// perf's arguments that count the system calls of `pids` while another program runs; that
/// program's own command line follows.
pub(crate) fn perf_arguments(pids: &[i32], report: &Path) -> Vec<String> {
    let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
    let fixed = ["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"].map(str::to_owned);
    let mut arguments = fixed.to_vec();
    arguments.push(pids.join(","));
    arguments.extend(["-o".to_owned(), report.display().to_string(), "--".to_owned()]);
    arguments
}

/// The count in perf's report; none when perf could not count.
pub(crate) fn counted_calls(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4 10 0 0 0 41 12 0 0 20 0 3 0 99";
        assert_eq!(ticks_of(stat), Some(53));
        assert_eq!(ticks_of("7 (a) S 1 7"), None);
    }

    #[test]
    fn the_own_process_has_a_time_and_one_that_cannot_exist_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(cpu_us(&[own]).is_ok());
        assert!(matches!(cpu_us(&[own, i32::MAX]), Err(BenchError::ProcessGone { .. })));
    }

    #[test]
    fn a_count_is_read_and_what_was_not_counted_is_none() {
        let counted = "# started\n\n1234,,raw_syscalls:sys_enter,99,100.00,,\n";
        assert_eq!(counted_calls(counted), Some(1234));
        assert_eq!(counted_calls("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        assert_eq!(counted_calls(""), None);
    }
}
