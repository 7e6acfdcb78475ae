//! A client that writes down what was acknowledged, and later asks for all of it.
//!
//! Every block carries the number of the write that put it there. Of each block at most one write
//! is open, so after a failure a block may hold the last acknowledged write or the one that was
//! open, and nothing else (rule D2).

use crate::nbd_client::{Command, NbdClient, NbdError};
use crate::seeded::Seeded;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one block of the ledger.
pub const LEDGER_BLOCK_BYTES: usize = 4096;
/// Writes that are open at once.
const DEPTH: usize = 16;
/// Cookie of a flush; those of writes are the block's number.
const FLUSH_COOKIE: u64 = u64::MAX;
/// A client that flushes makes one of so many writes durable by itself (FUA).
const WRITES_PER_FUA: u64 = 16;
/// `LEDGER_BLOCK_BYTES` as the protocol counts.
const BLOCK_BYTES: u32 = LEDGER_BLOCK_BYTES as u32;

/// What is known about one block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    /// Number of the last write that was acknowledged; 0: none.
    acknowledged: u64,
    /// Number of the last write that was sent.
    sent: u64,
}

/// What was written and what of it was acknowledged.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    area: Option<Range<u64>>,
    flush_every: Option<u64>,
    writes_acknowledged: u64,
    flushes_acknowledged: u64,
    longest_silence: Duration,
}

impl Ledger {
    /// The same, writing only these blocks: others of the device belong to another client.
    #[must_use]
    pub fn within(self, blocks: Range<u64>) -> Self {
        Self { area: Some(blocks), ..self }
    }

    /// The same, sending a flush after so many answers, one at a time, and some writes with FUA.
    #[must_use]
    pub fn flushing_every(self, writes: u64) -> Self {
        Self { flush_every: Some(writes), ..self }
    }

    /// Writes random blocks, 16 at a time, until `enough` says so (asked after each answer, with
    /// the number of acknowledged writes) or the connection fails; gives the failure.
    ///
    /// # Errors
    /// The connection failed or a write was refused. What was acknowledged before is kept.
    pub fn write(
        &mut self,
        client: &mut NbdClient,
        random: &mut Seeded,
        mut enough: impl FnMut(u64) -> bool,
    ) -> Result<(), NbdError> {
        let area = self.area.clone().unwrap_or(0..client.size_bytes() / LEDGER_BLOCK_BYTES as u64);
        let mut open = BTreeSet::new();
        let mut ending = false;
        let mut unflushed = 0;
        let mut answered = Instant::now();
        loop {
            while !ending && open.len() < DEPTH {
                let block = area.start + random.below(area.end - area.start);
                if open.insert(block) {
                    self.send(client, block, random)?;
                }
            }
            if !ending && self.flush_every.is_some_and(|every| unflushed >= every) {
                unflushed = 0;
                if open.insert(FLUSH_COOKIE) {
                    client.send(Command::Flush, FLUSH_COOKIE, 0, 0, &[])?;
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            let cookie = client.receive()?;
            self.longest_silence = self.longest_silence.max(answered.elapsed());
            if !open.remove(&cookie) {
                return Err(NbdError::Protocol { what: format!("cookie {cookie} twice") });
            }
            if cookie == FLUSH_COOKIE {
                self.flushes_acknowledged += 1;
            } else {
                let entry = self.entries.entry(cookie).or_default();
                entry.acknowledged = entry.sent;
                self.writes_acknowledged += 1;
                unflushed += 1;
            }
            ending = ending || enough(self.writes_acknowledged);
            answered = Instant::now();
        }
    }

    fn send(
        &mut self,
        client: &mut NbdClient,
        block: u64,
        random: &mut Seeded,
    ) -> Result<(), NbdError> {
        let entry = self.entries.entry(block).or_default();
        entry.sent += 1;
        let data = content(block, entry.sent);
        let fua = self.flush_every.is_some() && random.below(WRITES_PER_FUA) == 0;
        client.send(Command::Write { fua }, block, offset(block), BLOCK_BYTES, &data)
    }

    /// Number of flushes that were acknowledged.
    #[must_use]
    pub const fn flushes_acknowledged(&self) -> u64 {
        self.flushes_acknowledged
    }

    /// The longest time in which requests were open and none was answered.
    #[must_use]
    pub const fn longest_silence(&self) -> Duration {
        self.longest_silence
    }

    /// Number of writes that were acknowledged.
    #[must_use]
    pub const fn writes_acknowledged(&self) -> u64 {
        self.writes_acknowledged
    }

    /// Number of different blocks that were touched.
    #[must_use]
    pub fn blocks_touched(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Blocks that hold neither what was acknowledged last nor what was open, each with what is
    /// wrong. Takes what it finds as the truth from now on, as a client does that read it.
    ///
    /// # Errors
    /// The device cannot be read.
    pub fn check(&mut self, client: &mut NbdClient) -> Result<Vec<String>, NbdError> {
        let mut faults = Vec::new();
        let mut data = vec![0; LEDGER_BLOCK_BYTES];
        for (&block, entry) in &mut self.entries {
            client.read(offset(block), &mut data)?;
            let found = (entry.acknowledged..=entry.sent).find(|&n| data == content(block, n));
            match found {
                Some(number) => entry.acknowledged = number,
                None => faults.push(format!(
                    "block {block}: write {} was acknowledged and {} sent, the block begins with {:02x?}",
                    entry.acknowledged,
                    entry.sent,
                    &data[..16]
                )),
            }
            entry.sent = entry.acknowledged;
        }
        Ok(faults)
    }

    /// Checks the device behind a socket.
    ///
    /// # Panics
    /// When something acknowledged is not there, or the device cannot be read.
    pub fn expect_all_there(&mut self, socket: &Path, export: &str) {
        let mut client = NbdClient::open(socket, export).expect("the export is served");
        let faults = self.check(&mut client).expect("the device can be read");
        assert!(
            faults.is_empty(),
            "{} of {} blocks lost acknowledged writes:\n{}",
            faults.len(),
            self.entries.len(),
            faults[..faults.len().min(10)].join("\n")
        );
    }
}

const fn offset(block: u64) -> u64 {
    block * LEDGER_BLOCK_BYTES as u64
}

/// What the write `number` puts into `block`; before the first one there are zeroes.
fn content(block: u64, number: u64) -> Vec<u8> {
    if number == 0 {
        return vec![0; LEDGER_BLOCK_BYTES];
    }
    let pattern: Vec<u8> = [block, number].iter().flat_map(|n| n.to_le_bytes()).collect();
    pattern.repeat(LEDGER_BLOCK_BYTES / pattern.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Server, tied};
    use crate::scratch::Scratch;
    use crate::skips::require_tool;
    use crate::wait::wait_until;
    use std::time::Duration;

    #[test]
    fn a_lost_write_is_found_and_an_open_one_may_be_there_or_not() {
        let Some(nbdkit) = require_tool("nbdkit") else { return };
        let scratch = Scratch::new();
        let socket = scratch.path().join("socket");
        let mut command = tied(nbdkit);
        command.args(["-f", "-U"]).arg(&socket).args(["memory", "1M"]);
        let _server = Server::start(command, &scratch.path().join("log"));
        let limit = Duration::from_secs(10);
        wait_until("nbdkit serves", limit, || NbdClient::open(&socket, "").is_ok());
        let mut client = NbdClient::open(&socket, "").unwrap();
        let mut ledger = Ledger::default();
        ledger.write(&mut client, &mut Seeded::new(1), |count| count >= 500).unwrap();
        assert!(ledger.writes_acknowledged() >= 500);
        assert_eq!(ledger.check(&mut client).unwrap(), Vec::<String>::new());
        let (&block, &entry) = ledger.entries.iter().next().unwrap();
        // A write that was sent, not acknowledged, and did not arrive.
        ledger.entries.get_mut(&block).unwrap().sent += 1;
        assert_eq!(ledger.check(&mut client).unwrap(), Vec::<String>::new());
        // One that was not acknowledged and did arrive.
        ledger.entries.get_mut(&block).unwrap().sent += 1;
        client.write(offset(block), &content(block, entry.sent + 1), false).unwrap();
        assert_eq!(ledger.check(&mut client).unwrap(), Vec::<String>::new());
        // And the loss of an acknowledged one.
        client.write(offset(block), &content(block, entry.sent), false).unwrap();
        assert_eq!(ledger.check(&mut client).unwrap().len(), 1);
    }
}
