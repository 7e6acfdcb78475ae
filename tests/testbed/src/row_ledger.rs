//! Clients of a database that write down which of their rows were acknowledged, and later ask for
//! all of them.
//!
//! A row is inserted and counted in one transaction. A commit whose answer never came may have
//! happened or not; every other row is there exactly once or not at all.

use crate::postgresql::Database;
use crate::wait::wait_until;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What `psql` says when a transaction of ours is committed.
const COMMITTED: &str = "UPDATE 1";
/// The answer to what was sent before the server began to end comes within this time.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Rows of one client, numbered from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rows {
    /// Number of the last row that was sent.
    sent: u64,
    /// Rows whose commit was never answered, and for which nobody has looked.
    open: Vec<u64>,
    /// Rows that were open and not there when somebody looked: they never happened.
    lost: Vec<u64>,
    acknowledged: u64,
}

/// What all clients know.
#[derive(Debug, Default)]
pub struct RowLedger {
    clients: Vec<Rows>,
}

impl RowLedger {
    /// Makes the tables for so many clients.
    ///
    /// # Panics
    /// When the database refuses.
    #[must_use]
    pub fn create(database: &Database, clients: usize) -> Self {
        let tables = "CREATE TABLE ledger (client int, number bigint, filler text);\
                      CREATE INDEX ON ledger (client, number);\
                      CREATE TABLE counted (client int PRIMARY KEY, rows bigint);";
        let _ = database.query(tables);
        let counts =
            format!("INSERT INTO counted SELECT n, 0 FROM generate_series(1, {clients}) n");
        let _ = database.query(&counts);
        Self { clients: vec![Rows::default(); clients] }
    }

    /// Number of rows that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.clients.iter().map(|rows| rows.acknowledged).sum()
    }

    /// Number of commits that were never answered, since the last look.
    #[must_use]
    pub fn open(&self) -> usize {
        self.clients.iter().map(|rows| rows.open.len()).sum()
    }

    /// Starts all clients; they insert until they are told to stop or lose the server.
    ///
    /// # Panics
    /// When `psql` cannot be started.
    #[must_use]
    pub fn start(self, database: &Database) -> Inserting {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let clients = self.clients.into_iter().enumerate();
        let clients = clients
            .map(|(index, rows)| Client::start(database, index + 1, rows, &acknowledged))
            .collect();
        Inserting { clients, acknowledged }
    }

    /// What is wrong with the rows that are there. Takes what it finds as the truth from now on.
    pub fn faults(&mut self, database: &Database) -> Vec<String> {
        let found = database.query("SELECT client, number, count(*) FROM ledger GROUP BY 1, 2");
        let counted = database.query("SELECT client, rows FROM counted");
        self.compare(&found, &counted)
    }

    fn compare(&mut self, found: &str, counted: &str) -> Vec<String> {
        let found: BTreeMap<(u64, u64), u64> =
            numbers(found).map(|[c, n, times]| ((c, n), times)).collect();
        let counted: BTreeMap<u64, u64> = numbers(counted).map(|[c, rows]| (c, rows)).collect();
        let mut faults = Vec::new();
        for (client, rows) in (1..).zip(&mut self.clients) {
            let mut there = 0;
            for number in 1..=rows.sent {
                let times = found.get(&(client, number)).copied().unwrap_or(0);
                let is_good = match (rows.open.contains(&number), rows.lost.contains(&number)) {
                    (true, _) => times <= 1,
                    (false, true) => times == 0,
                    (false, false) => times == 1,
                };
                if !is_good {
                    faults.push(format!("row {number} of client {client} is there {times} times"));
                }
                there += times;
            }
            let all: u64 = found.range((client, 0)..=(client, u64::MAX)).map(|(_, n)| n).sum();
            if all != there {
                faults.push(format!("client {client} never sent {} of its rows", all - there));
            }
            let count = counted.get(&client).copied();
            if count != Some(all) {
                faults.push(format!("client {client} has {all} rows, and {count:?} were counted"));
            }
            let (_, lost): (Vec<u64>, Vec<u64>) =
                rows.open.drain(..).partition(|number| found.contains_key(&(client, *number)));
            rows.lost.extend(lost);
            rows.acknowledged = all;
        }
        faults
    }
}

/// Lines of numbers that are separated by `|`.
fn numbers<const N: usize>(text: &str) -> impl Iterator<Item = [u64; N]> {
    text.lines().map(|line| {
        let mut columns = line.split('|').map(|column| column.parse().expect("a number"));
        std::array::from_fn(|_| columns.next().expect("a column for each number"))
    })
}

/// Clients at work.
#[derive(Debug)]
pub struct Inserting {
    clients: Vec<Client>,
    acknowledged: Arc<AtomicU64>,
}

impl Inserting {
    /// Waits until all clients together have `more` rows than now.
    ///
    /// # Panics
    /// When they have not within `limit`.
    pub fn wait_for(&self, more: u64, limit: Duration) {
        let now = || self.acknowledged.load(Ordering::Relaxed);
        let enough = now() + more;
        wait_until(&format!("{more} more rows are acknowledged"), limit, || now() >= enough);
    }

    /// Rows acknowledged since the start.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Tells all clients to stop after their next answer, and gives what they know. A server that
    /// is gone gives no answer; its clients are ended.
    ///
    /// # Panics
    /// When a client itself has panicked.
    #[must_use]
    pub fn finish(self) -> RowLedger {
        for client in &self.clients {
            client.stop.store(true, Ordering::Relaxed);
        }
        RowLedger { clients: self.clients.into_iter().map(Client::finish).collect() }
    }
}

/// One `psql` that is fed one transaction after the other.
#[derive(Debug)]
struct Client {
    psql: Child,
    thread: JoinHandle<Rows>,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn start(
        database: &Database,
        number: usize,
        mut rows: Rows,
        acknowledged: &Arc<AtomicU64>,
    ) -> Self {
        let mut command = database.client("psql");
        command.args(["-X", "-v", "ON_ERROR_STOP=1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut psql = command.spawn().expect("psql was found");
        let to = psql.stdin.take().expect("invariant: it was asked to be a pipe");
        let from = psql.stdout.take().expect("invariant: it was asked to be a pipe");
        let stop = Arc::new(AtomicBool::new(false));
        let (told, count) = (Arc::clone(&stop), Arc::clone(acknowledged));
        let thread = thread::spawn(move || {
            insert(number, &mut rows, to, from, &told, &count);
            rows
        });
        Self { psql, thread, stop }
    }

    fn finish(mut self) -> Rows {
        let step = Duration::from_millis(10);
        let steps = LAST_ANSWER_MAX.as_millis() / step.as_millis();
        for _ in 0..steps {
            if self.thread.is_finished() {
                break;
            }
            thread::sleep(step);
        }
        self.psql.kill().ok();
        self.psql.wait().ok();
        self.thread.join().expect("a client of the ledger does not panic")
    }
}

/// Inserts row after row. A row is open from before it is sent until its commit is answered.
fn insert(
    client: usize,
    rows: &mut Rows,
    mut to: ChildStdin,
    from: ChildStdout,
    told: &AtomicBool,
    count: &AtomicU64,
) {
    let mut answers = BufReader::new(from).lines();
    while !told.load(Ordering::Relaxed) {
        rows.sent += 1;
        rows.open.push(rows.sent);
        let filler = 50 + rows.sent % 7 * 100;
        let row = format!(
            "WITH row AS (INSERT INTO ledger VALUES ({client}, {}, repeat('x', {filler}))) \
             UPDATE counted SET rows = rows + 1 WHERE client = {client};\n",
            rows.sent
        );
        if to.write_all(row.as_bytes()).and_then(|()| to.flush()).is_err() {
            return;
        }
        match answers.next() {
            Some(Ok(answer)) if answer == COMMITTED => {
                rows.open.pop();
                rows.acknowledged += 1;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(sent: u64, open: &[u64]) -> RowLedger {
        let acknowledged = sent - open.len() as u64;
        RowLedger {
            clients: vec![Rows { sent, open: open.to_vec(), acknowledged, lost: Vec::new() }],
        }
    }

    #[test]
    fn a_lost_row_a_double_one_and_one_of_nobody_are_found() {
        assert_eq!(ledger(2, &[]).compare("1|1|1\n1|2|1\n", "1|2\n"), Vec::<String>::new());
        for (found, counted) in [
            ("1|1|1\n", "1|1\n"),
            ("1|1|1\n1|2|2\n", "1|3\n"),
            ("1|1|1\n1|2|1\n1|3|1\n", "1|3\n"),
            ("1|1|1\n1|2|1\n", "1|1\n"),
            ("", "1|0\n"),
        ] {
            let faults = ledger(2, &[]).compare(found, counted);
            assert!(!faults.is_empty(), "{found:?}, {counted:?}");
        }
    }

    #[test]
    fn an_open_row_may_be_there_or_not_and_what_was_seen_stays() {
        let mut seen = ledger(2, &[2]);
        assert_eq!(seen.compare("1|1|1\n1|2|1\n", "1|2\n"), Vec::<String>::new());
        assert_eq!(seen.compare("1|1|1\n", "1|1\n").len(), 1);
        let mut unseen = ledger(2, &[2]);
        assert_eq!(unseen.compare("1|1|1\n", "1|1\n"), Vec::<String>::new());
        assert_eq!(unseen.compare("1|1|1\n1|2|1\n", "1|2\n").len(), 1, "it came back");
    }
}
