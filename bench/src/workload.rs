//! What is measured: the workloads, as options of fio.

/// Size of the device and of each backing file of a rival, in bytes. All extents of it stay in the
/// activity log, so a run measures writes to hot extents.
pub(crate) const DEVICE_BYTES: u64 = 256 << 20;

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Random reads.
    RandomRead,
    /// Random writes.
    RandomWrite,
    /// Random writes, each followed by a flush before the next.
    RandomWriteFlushed,
    /// Writes one after the other, from the start again at the end.
    SequentialWrite,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What the client does.
    pub(crate) pattern: Pattern,
    /// Bytes of each request.
    pub(crate) block_bytes: u32,
    /// Requests open at once.
    pub(crate) depth: u32,
}

/// The workloads of a run, in the order of the table.
pub(crate) const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "4k write depth 1",
        pattern: Pattern::RandomWrite,
        block_bytes: 4096,
        depth: 1,
    },
    Workload {
        name: "4k write depth 32",
        pattern: Pattern::RandomWrite,
        block_bytes: 4096,
        depth: 32,
    },
    Workload {
        name: "4k write+fsync depth 1",
        pattern: Pattern::RandomWriteFlushed,
        block_bytes: 4096,
        depth: 1,
    },
    Workload {
        name: "4k read depth 32",
        pattern: Pattern::RandomRead,
        block_bytes: 4096,
        depth: 32,
    },
    Workload {
        name: "1M write depth 8",
        pattern: Pattern::SequentialWrite,
        block_bytes: 1 << 20,
        depth: 8,
    },
];

/// Not measured: writes every block once, so that no run pays for the allocation of a file's space.
pub(crate) const FILL: Workload =
    Workload { name: "fill", pattern: Pattern::SequentialWrite, block_bytes: 1 << 20, depth: 8 };

impl Workload {
    /// The options of fio that describe it.
    pub(crate) fn fio_options(&self) -> Vec<String> {
        let rw = match self.pattern {
            Pattern::RandomRead => "randread",
            Pattern::RandomWrite | Pattern::RandomWriteFlushed => "randwrite",
            Pattern::SequentialWrite => "write",
        };
        let mut options = vec![
            format!("--rw={rw}"),
            format!("--bs={}", self.block_bytes),
            format!("--iodepth={}", self.depth),
            // Without a map of what was written: a block may be hit twice, as in life.
            "--norandommap".to_owned(),
        ];
        match self.pattern {
            Pattern::RandomWriteFlushed => options.push("--fsync=1".to_owned()),
            Pattern::RandomRead | Pattern::RandomWrite | Pattern::SequentialWrite => {}
        }
        options
    }

    /// Where fio's report has the numbers: `read` or `write`.
    pub(crate) const fn direction(&self) -> &'static str {
        match self.pattern {
            Pattern::RandomRead => "read",
            Pattern::RandomWrite | Pattern::RandomWriteFlushed | Pattern::SequentialWrite => {
                "write"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flushed_workload_asks_for_flushes() {
        let flushed: Vec<_> = WORKLOADS
            .iter()
            .filter(|workload| workload.fio_options().contains(&"--fsync=1".to_owned()))
            .map(|workload| workload.name)
            .collect();
        assert_eq!(flushed, ["4k write+fsync depth 1"]);
    }

    #[test]
    fn reads_are_looked_for_among_the_reads() {
        for workload in WORKLOADS {
            let is_read = workload.fio_options()[0].contains("read");
            assert_eq!(workload.direction() == "read", is_read, "{}", workload.name);
        }
    }
}
