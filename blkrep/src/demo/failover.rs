//! `demo --failover`: kills the Primary while it is written to, and checks that no acknowledged
//! write is lost.

use super::interrupt::Interrupt;
use super::nbd_client::{NbdClient, NbdError};
use super::nodes::{NodeId, Pair, RESOURCE};
use super::pattern::{Expectation, block};
use super::{DemoError, step, watch};
use crate::control::protocol::Request;
use metadata::units::BLOCK_BYTES;
use replicator::state::ConnectionState;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Writes under way at a time.
const WRITES_OPEN_MAX: usize = 16;
/// Only this part of the device is written, so that the resync has something to leave out.
const WRITTEN_PART: u64 = 4;
/// The Primary is killed after so many acknowledged writes (of a small device: after half of those
/// that will be made), or after this time.
const KILL_AFTER_WRITES: u64 = 5000;
const KILL_AFTER: Duration = Duration::from_secs(3);
/// Blocks that are read back with one request.
const READ_BLOCKS: u64 = 256;
/// Bytes of the backing files that are compared at a time.
const COMPARE_BYTES: usize = 1 << 20;
const POLL: Duration = Duration::from_millis(5);

/// What the writer did.
#[derive(Debug)]
struct Written {
    /// Tells this run's blocks from any other's.
    run: u64,
    /// By number, for every block of the device.
    expected: Vec<Expectation>,
}

impl Written {
    fn count(&self, expectation: Expectation) -> usize {
        self.expected.iter().filter(|it| **it == expectation).count()
    }
}

/// Runs the whole story on two nodes that are in sync, alpha being Primary.
pub(super) fn run(pair: &mut Pair, interrupt: &Interrupt) -> Result<(), DemoError> {
    let (written, killed_at) = write_and_kill(pair, interrupt)?;
    let acknowledged = written.count(Expectation::Acknowledged);
    let in_flight = written.count(Expectation::InFlight);
    step(&format!(
        "alpha was killed (SIGKILL) after {acknowledged} acknowledged writes, {in_flight} more \
         were under way"
    ));
    watch::until(pair, interrupt, "the notice that alpha is gone", |pair| {
        Ok(pair.status(NodeId::Beta)?.connection != ConnectionState::Connected)
    })?;
    step(&format!("beta saw it within {} ms", killed_at.elapsed().as_millis()));
    promote(pair, interrupt)?;
    step(&format!("beta was Primary {} ms after the kill", killed_at.elapsed().as_millis()));
    let blocks = read_back(pair, interrupt, &written)?;
    step(&format!("all {acknowledged} acknowledged writes were read back from beta and are right"));
    step(&format!(
        "of the {in_flight} under way none is torn, and no other of the {blocks} blocks has changed"
    ));
    let resynced_before = pair.status(NodeId::Beta)?.counters.resynced_blocks;
    let restarted_at = Instant::now();
    pair.start(NodeId::Alpha)?;
    step("alpha was started again");
    watch::until(pair, interrupt, "the return of alpha", |pair| {
        Ok(pair.status(NodeId::Beta)?.connection == ConnectionState::Connected)
    })?;
    watch::sync(pair, interrupt, NodeId::Beta)?;
    let resynced = pair.status(NodeId::Beta)?.counters.resynced_blocks - resynced_before;
    step(&format!(
        "alpha was UpToDate {} ms after its start: {resynced} of {blocks} blocks were resynced",
        restarted_at.elapsed().as_millis()
    ));
    pair.command(NodeId::Beta, Request::Secondary)?;
    pair.down(NodeId::Beta)?;
    pair.down(NodeId::Alpha)?;
    let compared = compare(pair, interrupt)?;
    step(&format!("both backing files hold the same {compared} bytes of data"));
    Ok(())
}

/// Writes through alpha and kills its daemon in the middle. Also returns the moment of the kill.
fn write_and_kill(pair: &mut Pair, interrupt: &Interrupt) -> Result<(Written, Instant), DemoError> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let nbd = |source| DemoError::Nbd { node: NodeId::Alpha.name(), source };
    let client = NbdClient::connect(&pair.nbd_socket(NodeId::Alpha), RESOURCE).map_err(nbd)?;
    let run = getrandom::u64().map_err(|error| DemoError::Io {
        what: "draw a random number".to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    let kill_after = KILL_AFTER_WRITES.min(written_blocks(client.size_bytes()) / 2);
    let writer = start_writer(client, run, Arc::clone(&acknowledged));
    let start = Instant::now();
    while acknowledged.load(Ordering::Relaxed) < kill_after
        && start.elapsed() < KILL_AFTER
        && !writer.is_finished()
        && !interrupt.came()
    {
        thread::sleep(POLL);
    }
    let killed_at = Instant::now();
    pair.kill(NodeId::Alpha)?;
    let (written, end) = writer.join().expect("invariant: the writer does not panic");
    interrupt.check()?;
    match end {
        Err(NbdError::Broken(_)) => {}
        // A fast disk may have taken all of a small device before the kill.
        Ok(()) => step("all writes were acknowledged before the kill; try a larger --size"),
        Err(
            error @ (NbdError::Refused(_) | NbdError::Request { errno: _ } | NbdError::Protocol(_)),
        ) => {
            return Err(nbd(error));
        }
    }
    if written.count(Expectation::Acknowledged) == 0 {
        return Err(DemoError::TooSlow {
            what: "the first acknowledged write",
            waited_s: KILL_AFTER.as_secs(),
        });
    }
    Ok((written, killed_at))
}

type Writer = JoinHandle<(Written, Result<(), NbdError>)>;

fn start_writer(client: NbdClient, run: u64, acknowledged: Arc<AtomicU64>) -> Writer {
    thread::spawn(move || {
        let blocks = client.size_bytes() / BLOCK_BYTES;
        let mut written = Written { run, expected: vec![Expectation::Untouched; blocks as usize] };
        let end = write_all(client, &mut written, &acknowledged);
        (written, end)
    })
}

/// Number of blocks that are written, from the beginning of a device of `size_bytes`.
fn written_blocks(size_bytes: u64) -> u64 {
    (size_bytes / BLOCK_BYTES / WRITTEN_PART).max(1)
}

/// Writes each of these blocks once, back and forth, until the server is gone.
fn write_all(
    mut client: NbdClient,
    written: &mut Written,
    acknowledged: &AtomicU64,
) -> Result<(), NbdError> {
    let blocks = written_blocks(client.size_bytes());
    let stride = stride(blocks);
    let mut open = HashMap::with_capacity(WRITES_OPEN_MAX);
    for turn in 0..blocks {
        let number = turn * stride % blocks;
        // Before it is sent: a send that fails half way may still be carried out.
        written.expected[number as usize] = Expectation::InFlight;
        let cookie = client.send_write(number * BLOCK_BYTES, &block(written.run, number))?;
        open.insert(cookie, number);
        while open.len() >= WRITES_OPEN_MAX || (turn + 1 == blocks && !open.is_empty()) {
            let cookie = client.receive()?;
            let number = open.remove(&cookie).ok_or(NbdError::Protocol("an unknown cookie"))?;
            written.expected[number as usize] = Expectation::Acknowledged;
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// A step that visits every one of `blocks` blocks, far from the one before.
fn stride(blocks: u64) -> u64 {
    const fn common_divisor(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { common_divisor(b, a % b) }
    }
    (blocks * 5 / 8..).find(|step| common_divisor(*step, blocks) == 1).unwrap_or(1)
}

/// Promotes beta. Right after the loss it may still be busy with it and refuse.
fn promote(pair: &mut Pair, interrupt: &Interrupt) -> Result<(), DemoError> {
    watch::until(pair, interrupt, "the promotion of beta", |pair| {
        match pair.command(NodeId::Beta, Request::Primary { force: false }) {
            Ok(()) => Ok(true),
            Err(DemoError::Refused { node: _, verb: _, text: _ }) => Ok(false),
            Err(error) => Err(error),
        }
    })
}

/// Compares every block of the device with what was written; returns their number.
fn read_back(pair: &Pair, interrupt: &Interrupt, written: &Written) -> Result<u64, DemoError> {
    let nbd = |source| DemoError::Nbd { node: NodeId::Beta.name(), source };
    let mut client = NbdClient::connect(&pair.nbd_socket(NodeId::Beta), RESOURCE).map_err(nbd)?;
    let blocks = written.expected.len() as u64;
    if client.size_bytes() / BLOCK_BYTES != blocks {
        return Err(DemoError::Wrong(format!(
            "beta's device has {} bytes, alpha's had {}",
            client.size_bytes(),
            blocks * BLOCK_BYTES
        )));
    }
    let mut buffer = vec![0; (READ_BLOCKS * BLOCK_BYTES) as usize];
    for first in (0..blocks).step_by(READ_BLOCKS as usize) {
        interrupt.check()?;
        let count = READ_BLOCKS.min(blocks - first);
        let buffer = &mut buffer[..(count * BLOCK_BYTES) as usize];
        client.read(first * BLOCK_BYTES, buffer).map_err(nbd)?;
        for (number, found) in (first..).zip(buffer.chunks_exact(BLOCK_BYTES as usize)) {
            let expectation = written.expected[number as usize];
            if !expectation.allows(written.run, number, found) {
                let state = match expectation {
                    Expectation::Untouched => "was never written and has changed",
                    Expectation::InFlight => "was under way and is torn",
                    Expectation::Acknowledged => "was acknowledged and is lost",
                };
                return Err(DemoError::Wrong(format!("block {number} {state}")));
            }
        }
    }
    client.disconnect().map_err(nbd)?;
    Ok(blocks)
}

/// Compares the data areas of both backing files; returns their size in bytes.
fn compare(pair: &Pair, interrupt: &Interrupt) -> Result<u64, DemoError> {
    let bytes = pair.data_bytes();
    let mut alpha = Backing::open(pair.disk(NodeId::Alpha), bytes)?;
    let mut beta = Backing::open(pair.disk(NodeId::Beta), bytes)?;
    let mut offset = 0;
    while offset < bytes {
        interrupt.check()?;
        let (one, other) = (alpha.next_chunk()?, beta.next_chunk()?);
        if let Some(at) = one.iter().zip(other).position(|(one, other)| one != other) {
            let at = offset + at as u64;
            let text = format!("the disks of alpha and beta differ at byte {at}");
            return Err(DemoError::Wrong(text));
        }
        offset += one.len() as u64;
    }
    Ok(bytes)
}

/// The data area of a backing file, read from its beginning.
struct Backing {
    path: PathBuf,
    file: File,
    left_bytes: u64,
    buffer: Vec<u8>,
}

impl Backing {
    fn open(path: PathBuf, bytes: u64) -> Result<Self, DemoError> {
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file, left_bytes: bytes, buffer: vec![0; COMPARE_BYTES] }),
            Err(source) => Err(DemoError::Io { what: format!("open {}", path.display()), source }),
        }
    }

    fn next_chunk(&mut self) -> Result<&[u8], DemoError> {
        let bytes = self.left_bytes.min(COMPARE_BYTES as u64);
        let chunk = &mut self.buffer[..bytes as usize];
        self.file.read_exact(chunk).map_err(|source| DemoError::Io {
            what: format!("read {}", self.path.display()),
            source,
        })?;
        self.left_bytes -= bytes;
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stride_visits_every_block_once() {
        for blocks in [1, 2, 7, 64, 1000, 2037] {
            let step = stride(blocks);
            let mut seen = vec![false; blocks as usize];
            (0..blocks).for_each(|turn| seen[(turn * step % blocks) as usize] = true);
            assert!(seen.into_iter().all(|it| it), "{blocks} blocks, stride {step}");
        }
    }
}
