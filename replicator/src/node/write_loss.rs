//! What becomes of clients' writes when a disk or the peer is lost under them (D2, D4, D10, D12).

use super::Node;
use super::write::Part;
use crate::mutation::Mutation;
use metadata::units::BlockRange;

impl Node {
    /// The peer is gone: what it has not acknowledged goes on alone, its bits set (D4).
    pub(super) fn writes_lose_peer(&mut self) {
        self.writes.sent.clear();
        let waiting = std::mem::take(&mut self.writes.for_window);
        let mut on_their_way = Vec::new();
        for key in self.writes.open.0.keys() {
            let Some(write) = self.writes.open.0.get_mut(key) else { continue };
            match write.peer {
                // Done: the peer has it in a cache that may be lost with it, and the local disk is
                // still busy. What is in flight at the loss counts as acknowledged alone (G2).
                Part::UnderWay | Part::Done => {
                    write.peer = Part::Missing;
                    on_their_way.push((key, write.range.blocks_touched()));
                }
                Part::NotBegun | Part::Missing => {}
            }
        }
        for (_, blocks) in &on_their_way {
            if self.breaks(Mutation::InFlightNotMarked) {
                continue;
            }
            self.mark_out_of_sync(*blocks);
        }
        // Parked for whoever decides next: the caller resumes them when the session is really over.
        self.writes.parked.extend(waiting);
        for (key, _) in on_their_way {
            self.write_check(key);
        }
    }

    /// Blocks of every write that is open: the lost disk may have them or not (D10).
    pub(super) fn writes_under_way(&mut self) -> bool {
        let open = &mut self.writes.open.0;
        open.keys().into_iter().any(|key| {
            open.get_mut(key)
                .is_some_and(|write| write.local == Part::UnderWay || write.peer == Part::UnderWay)
        })
    }

    pub(super) fn open_write_blocks(&mut self) -> Vec<BlockRange> {
        let open = &mut self.writes.open.0;
        let keys = open.keys().into_iter();
        keys.filter_map(|key| open.get_mut(key).map(|write| write.range.blocks_touched())).collect()
    }

    /// The own disk is gone, and its log with it. What is under way there counts for nothing.
    pub(super) fn writes_lose_disk(&mut self) {
        let waiting = std::mem::take(&mut self.writes.for_window);
        let mut done = Vec::new();
        for key in self.writes.open.0.keys() {
            let Some(write) = self.writes.open.0.get_mut(key) else { continue };
            write.logged = false;
            match write.local {
                Part::UnderWay | Part::Done => {
                    write.local = Part::Missing;
                    done.push(key);
                }
                Part::NotBegun | Part::Missing => {}
            }
        }
        self.writes.parked.extend(waiting);
        for key in std::mem::take(&mut self.writes.for_generation).into_iter().chain(done) {
            self.write_check(key);
        }
    }

    /// Neither disk that counts has it: from the start, wherever writing is possible now.
    pub(super) fn write_restart(&mut self, key: u64) {
        if let Some(write) = self.writes.open.0.get_mut(key) {
            (write.local, write.peer) = (Part::NotBegun, Part::NotBegun);
            self.write_start(key);
        }
    }

    /// There are no good data: the client gets its error now; the range stays taken until the I/O
    /// of it has returned.
    pub(super) fn write_abort(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        for part in [&mut write.local, &mut write.peer] {
            if *part == Part::NotBegun {
                *part = Part::Missing;
            }
        }
        if !write.failed {
            write.failed = true;
            let request = write.request;
            self.fail_request(request);
        }
        self.write_check(key);
    }
}
