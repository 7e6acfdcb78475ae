//! A crowd of hostile clients, and one that keeps to the rules: the daemon stays, takes no more
//! memory and no more descriptors than before, and the good client keeps its data and its pace.
//!
//! The hostile ones speak the protocol well enough to get far, and then break it: fields are
//! flipped, requests cut short or followed by noise, connections dropped anywhere.

use crate::device::Device;
use crate::wire::{ANSWER_TIMEOUT, Ask, RawClient, client_flags, dial, encode_option, go_data};
use nbd_server::proto;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testbed::seeded::Seeded;

/// Hostile clients at work at once.
const ATTACKERS: u64 = 4;
/// Connections that they make together, at least.
const CONNECTIONS_MIN: u32 = 1500;
/// Longest payload of a hostile request in bytes.
const PAYLOAD_BYTES_MAX: u64 = 64 << 10;
/// Longest range of a hostile request that begins inside of the device, in bytes.
const INSIDE_BYTES_MAX: u64 = 1 << 20;
/// The good client's blocks, at the end of the device; no hostile request names them.
const OWN_BYTES: u64 = 1 << 20;
/// What the good client does in one lap: so many writes, each read back.
const LAP_OPS: u64 = 300;
/// Slower than this many times its pace alone, plus [`LAP_GRACE`], is suffering.
const LAP_FACTOR: u32 = 8;
/// What a busy machine may add to a lap.
const LAP_GRACE: Duration = Duration::from_secs(2);
/// What the daemon may take more than before: logs, tables of sessions, the allocator's slack. One
/// length field that is believed takes a multiple of it.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
/// How long a hostile client waits for an answer before it goes on.
const HOSTILE_PATIENCE: Duration = Duration::from_millis(20);

/// An offset anywhere but in the good client's blocks.
fn hostile_offset(random: &mut Seeded, size_bytes: u64) -> u64 {
    match random.below(4) {
        0 => random.next_u64() | 1 << 63,
        1 => size_bytes + random.below(1 << 20),
        2 => random.below(size_bytes - OWN_BYTES - INSIDE_BYTES_MAX),
        _ => random.below(1024) * 4096,
    }
}

/// One request, whole or broken. Its offset is never flipped: a request that survives must not
/// reach the good client's blocks.
fn hostile_request(random: &mut Seeded, size_bytes: u64) -> Vec<u8> {
    let command = random.below(10) as u16;
    let flags = if random.below(2) == 0 { 0 } else { random.next_u64() as u16 };
    let bytes = match random.below(5) {
        0 => random.next_u64() as u32,
        1 => 0,
        _ => random.below(PAYLOAD_BYTES_MAX) as u32 / 512 * 512,
    };
    let offset = hostile_offset(random, size_bytes);
    let is_inside = offset < size_bytes;
    let bytes = if is_inside { bytes.min(INSIDE_BYTES_MAX as u32) } else { bytes };
    let payload = match command {
        proto::CMD_WRITE => random.bytes((u64::from(bytes).min(PAYLOAD_BYTES_MAX)) as usize),
        _ => Vec::new(),
    };
    let mut out =
        Ask { flags, command, offset, bytes, payload: &payload }.encode(random.next_u64());
    match random.below(8) {
        // Magic, flags, command, cookie.
        0 => out[random.below(16) as usize] ^= 1 << random.below(8),
        1 => out.truncate(random.below(out.len() as u64) as usize),
        2 => {
            let count = random.below(64) as usize;
            out.extend(random.bytes(count));
        }
        _ => {}
    }
    out
}

/// Everything that one hostile connection says, as one stream.
fn hostile_speech(random: &mut Seeded, size_bytes: u64) -> Vec<u8> {
    let mut speech = client_flags().to_vec();
    for _ in 0..random.below(4) {
        let count = random.below(200) as usize;
        let data = if random.below(2) == 0 { go_data("") } else { random.bytes(count) };
        speech.extend(encode_option(random.below(14) as u32, &data));
    }
    speech.extend(encode_option(proto::OPT_GO, &go_data("")));
    if random.below(8) == 0 {
        let at = random.below(speech.len() as u64) as usize;
        speech[at] ^= 1 << random.below(8);
    }
    for _ in 0..random.below(40) {
        speech.extend(hostile_request(random, size_bytes));
    }
    speech
}

/// Says it in pieces of any size, reads answers or does not, and leaves at any moment. How many
/// bytes of answers it has read.
fn attack_once(random: &mut Seeded, socket: &Path, size_bytes: u64) -> usize {
    let speech = hostile_speech(random, size_bytes);
    let Ok(mut stream) = dial(socket) else { return 0 };
    stream.set_read_timeout(Some(HOSTILE_PATIENCE)).expect("invariant: it is not zero");
    stream.set_write_timeout(Some(HOSTILE_PATIENCE)).expect("invariant: it is not zero");
    let until = if random.below(3) == 0 {
        random.below(speech.len() as u64) as usize
    } else {
        speech.len()
    };
    let reads = random.below(2) == 0;
    let mut left = &speech[..until];
    let (mut answers, mut answered) = (vec![0; 64 << 10], 0);
    while !left.is_empty() {
        let longest = [1, 29, 4096, 1 << 20][random.below(4) as usize];
        let piece = left.len().min(1 + random.below(longest) as usize);
        // A server that ended the connection, or takes no more, is as good as one that listens.
        if stream.write_all(&left[..piece]).is_err() {
            return answered;
        }
        left = &left[piece..];
        if reads && random.below(4) == 0 {
            answered += stream.read(&mut answers).unwrap_or(0);
        }
    }
    let mut last = usize::from(reads);
    while last > 0 {
        last = stream.read(&mut answers).unwrap_or(0);
        answered += last;
    }
    answered
}

/// A lap of the good client; how long it took. Everything that it wrote it reads back.
///
/// # Panics
/// When it takes longer than `limit`.
fn lap(client: &mut RawClient, number: u64, limit: Duration) -> Duration {
    let began = Instant::now();
    let begin = client.size_bytes - OWN_BYTES;
    for op in 0..LAP_OPS {
        let took = began.elapsed();
        assert!(took < limit, "{op} of {LAP_OPS} writes and reads took {took:?}, not {limit:?}");
        let offset = begin + op % (OWN_BYTES / 4096) * 4096;
        let mark = [(number * 7 + op) as u8; 4096];
        client.write_at(offset, &mark).expect("the good client is served");
        assert!(
            client.read_at(offset, 4096).expect("it is served") == mark,
            "other data are there"
        );
    }
    client.flush().expect("it is served");
    began.elapsed()
}

/// Ends the attack, also when the good client's test has failed.
struct EndOfAttack<'a>(&'a AtomicBool);

impl Drop for EndOfAttack<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a process has in memory at most since [`forget_peak`], in bytes.
fn peak_bytes(process: &Path) -> u64 {
    let status = fs::read_to_string(process.join("status")).expect("the daemon lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel tells");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    kib.expect("it is a number") << 10
}

fn forget_peak(process: &Path) {
    fs::write(process.join("clear_refs"), "5").expect("the daemon is ours");
}

fn descriptors(process: &Path) -> usize {
    fs::read_dir(process.join("fd")).expect("the daemon lives").count()
}

#[test]
fn a_crowd_of_hostile_clients_costs_no_memory_and_disturbs_nobody() {
    let Some(device) = Device::open(&[]) else { return };
    let seed = Seeded::announced().seed();
    let process = PathBuf::from(format!("/proc/{}", device.primary_pid()));
    let mut good = RawClient::connect(device.socket()).unwrap();
    let alone = lap(&mut good, 0, ANSWER_TIMEOUT);
    forget_peak(&process);
    let (before_bytes, before_fds) = (peak_bytes(&process), descriptors(&process));
    let (made, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let answered = AtomicUsize::new(0);
    let (socket, size_bytes) = (device.socket().to_owned(), good.size_bytes);
    let (mut longest, mut grown_bytes) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let _end = EndOfAttack(&is_over);
        let attack = |attacker| {
            let (made, is_over, answered, socket) = (&made, &is_over, &answered, &socket);
            scope.spawn(move || {
                let mut random = Seeded::new(seed.wrapping_add(attacker));
                while !is_over.load(Ordering::Relaxed) {
                    let bytes = attack_once(&mut random, socket, size_bytes);
                    answered.fetch_add(bytes, Ordering::Relaxed);
                    made.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let attackers: Vec<_> = (0..ATTACKERS).map(attack).collect();
        let mut number = 0;
        while number < 3 || made.load(Ordering::Relaxed) < CONNECTIONS_MIN {
            number += 1;
            assert!(
                !attackers.iter().any(|attacker| attacker.is_finished()),
                "an attacker gave up"
            );
            let took = lap(&mut good, number, alone * LAP_FACTOR + LAP_GRACE);
            longest = longest.max(took);
            grown_bytes = peak_bytes(&process).saturating_sub(before_bytes);
            assert!(grown_bytes <= GROWTH_BYTES_MAX, "the daemon grew by {grown_bytes} bytes");
        }
    });
    println!(
        "{made:?} hostile connections; a lap took {alone:?} alone, {longest:?} beside them; grew by {grown_bytes} bytes"
    );
    // Greetings alone would be less.
    let answers_min = made.into_inner() as usize * 64;
    assert!(answered.into_inner() > answers_min, "the hostile clients never got past the greeting");
    testbed::wait_until("descriptors are given back", Duration::from_secs(20), || {
        descriptors(&process) <= before_fds
    });
    device.close_after(good);
}
