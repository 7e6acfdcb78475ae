//! Metadata damaged by hand on the node that holds the newest data: a clear error with a way out,
//! or a wider resync, and never a divergence that nobody notices.

use crate::bed::{MIB, SOON, options};
use std::fs::File;
use testbed::ledger::Ledger;
use testbed::metadata_edit::MetadataEdit;
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;
use testbed::{Pair, PairOptions};

/// Bytes of a metadata page.
const PAGE_BYTES: u64 = 4096;
const EXTENT_BLOCKS: u64 = 1024;
/// Writes that only the first node has when its metadata are damaged, all in one extent.
const WRITES: u64 = 30;
/// Where a page of the log has its sequence number.
const AT_SEQUENCE: usize = 64;

/// How the first node goes down before the damage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Killed,
}

/// A pair in sync, then one node that was written alone and is down, as is the other one.
struct Parted {
    pair: Pair,
    ledger: Ledger,
    /// All metadata of the first node when both were still in sync.
    in_sync: Vec<u8>,
}

impl Parted {
    fn new(end: End) -> Self {
        let short = PairOptions { timeout_ms: 400, ..options().disk_bytes(32 * MIB) };
        let mut pair = crate::bed::synced(&short).expect("loopback is everywhere");
        pair.b.down();
        let in_sync = MetadataEdit::open(pair.a.disk()).copy();
        let mut ledger = Ledger::default().within(0..EXTENT_BLOCKS);
        let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
        ledger.write(&mut client, &mut Seeded::new(5), |count| count >= WRITES).unwrap();
        client.flush().unwrap();
        drop(client);
        match end {
            End::Killed => pair.a.kill9(),
            End::Clean => {
                pair.a.wait_state("no client", SOON, |state| state.clients == 0);
                pair.a.must(&["secondary", "r0"]);
                pair.a.down();
            }
        }
        Self { pair, ledger, in_sync }
    }

    fn edit(&self) -> MetadataEdit {
        MetadataEdit::open(self.pair.a.disk())
    }

    /// The first node starts and says how many blocks are out of sync; then the other one comes,
    /// and everything that was written is on both.
    fn settles(mut self) -> u64 {
        self.pair.a.up();
        let out_of_sync = self.pair.a.state().out_of_sync_blocks;
        self.pair.b.up();
        self.pair.expect_equal();
        self.pair.a.must(&["primary", "r0"]);
        self.ledger.expect_all_there(&self.pair.a.nbd_socket(), "r0");
        out_of_sync
    }

    fn all_blocks(&self) -> u64 {
        self.edit().layout.data_bytes / 4096
    }

    fn settles_with_everything_copied(self) {
        let all = self.all_blocks();
        assert_eq!(self.settles(), all, "everything counts as out of sync");
    }

    fn settles_with_little_copied(self) {
        let out_of_sync = self.settles();
        assert!((WRITES / 2..=EXTENT_BLOCKS).contains(&out_of_sync), "{out_of_sync} blocks");
    }

    /// The daemon does not start, and says about which file and what to do.
    fn expect_refusal(&self, words: &[&str]) {
        let refused = self.pair.a.run(&["up", "r0"]);
        if refused.code == 0 {
            self.pair.a.run(&["down", "r0"]);
            panic!("a daemon runs on such metadata");
        }
        let text = format!("{}{}", refused.stdout, refused.stderr);
        let disk = self.pair.a.disk().display().to_string();
        for word in [&[&*disk], words].concat() {
            assert!(text.contains(word), "'{word}' is not in: {text}");
        }
    }

    /// The way out when the metadata are lost: new ones, and everything from the peer.
    fn gets_copied_anew(mut self) {
        self.pair.a.must(&["create-md", "--force", "r0"]);
        self.pair.up();
        self.pair.expect_equal();
        let copied = self.pair.a.state().resynced_blocks;
        assert_eq!(copied, self.pair.a.state().size_bytes / 4096, "a replica without past");
    }
}

fn flip(edit: &MetadataEdit, page_offset: u64) {
    let mut page = edit.page(page_offset);
    page[200] ^= 0x40;
    edit.write(page_offset, &page);
}

/// Indices in the ring: of the page that the next transaction would overwrite, and of one in the
/// middle.
fn ring_pages(edit: &MetadataEdit) -> [u64; 2] {
    let pages = u64::from(edit.layout.log.ring_pages());
    let sequence = |index: u64| {
        let page = edit.page(edit.layout.ring_offset + index * PAGE_BYTES);
        u64::from_le_bytes(page[AT_SEQUENCE..AT_SEQUENCE + 8].try_into().unwrap())
    };
    let newest = (0..pages).map(sequence).max().expect("a ring has pages");
    [(newest + 1) % pages, (newest - 2) % pages]
}

#[test]
fn either_copy_of_the_superblock_is_enough() {
    for copy in 0..2 {
        let parted = Parted::new(End::Clean);
        let edit = parted.edit();
        flip(&edit, edit.layout.superblock_offsets[copy]);
        parted.settles_with_little_copied();
    }
}

#[test]
fn without_a_superblock_nothing_starts_and_everything_is_copied_anew() {
    let parted = Parted::new(End::Clean);
    let edit = parted.edit();
    for offset in edit.layout.superblock_offsets {
        flip(&edit, offset);
    }
    parted.expect_refusal(&["no usable superblock", "create-md"]);
    parted.gets_copied_anew();
}

#[test]
fn zeroed_metadata_are_no_metadata() {
    let parted = Parted::new(End::Clean);
    let edit = parted.edit();
    edit.restore(&vec![0; edit.layout.metadata_bytes() as usize]);
    parted.expect_refusal(&["create-md"]);
    parted.gets_copied_anew();
}

#[test]
fn a_damaged_page_of_the_log_means_everything() {
    let parted = Parted::new(End::Killed);
    let edit = parted.edit();
    let [_, middle] = ring_pages(&edit);
    flip(&edit, edit.layout.ring_offset + middle * PAGE_BYTES);
    parted.settles_with_everything_copied();
}

#[test]
fn the_page_of_the_next_transaction_may_be_torn() {
    let parted = Parted::new(End::Killed);
    let edit = parted.edit();
    let [next, _] = ring_pages(&edit);
    // Half of the page is of another write.
    edit.write(edit.layout.ring_offset + next * PAGE_BYTES + 2048, &[0x77; 2048]);
    parted.settles_with_little_copied();
}

#[test]
fn a_zeroed_log_means_everything() {
    let parted = Parted::new(End::Killed);
    let edit = parted.edit();
    edit.write(edit.layout.ring_offset, &vec![0; edit.layout.log.ring_bytes() as usize]);
    parted.settles_with_everything_copied();
}

#[test]
fn a_damaged_page_of_the_bitmap_means_everything() {
    let parted = Parted::new(End::Clean);
    let edit = parted.edit();
    flip(&edit, edit.layout.bitmap_page_offset(0));
    parted.settles_with_everything_copied();
}

#[test]
fn a_zeroed_page_of_the_bitmap_means_everything() {
    let parted = Parted::new(End::Clean);
    let edit = parted.edit();
    edit.write(edit.layout.bitmap_page_offset(0), &[0; PAGE_BYTES as usize]);
    parted.settles_with_everything_copied();
}

#[test]
fn an_old_page_of_the_bitmap_is_not_believed() {
    let parted = Parted::new(End::Clean);
    let edit = parted.edit();
    // Intact, of this replica, and from when nothing was out of sync: only the digest knows.
    edit.write(edit.layout.bitmap_page_offset(0), &parted.in_sync[..PAGE_BYTES as usize]);
    parted.settles_with_everything_copied();
}

#[test]
fn the_metadata_of_the_other_node_are_refused() {
    let parted = Parted::new(End::Clean);
    let edit = parted.edit();
    let own = edit.copy();
    edit.restore(&MetadataEdit::open(parted.pair.b.disk()).copy());
    parted.expect_refusal(&["node 1", "node 0"]);
    edit.restore(&own);
    parted.settles_with_little_copied();
}

#[test]
fn a_truncated_disk_is_refused_until_it_has_its_size_again() {
    let parted = Parted::new(End::Clean);
    let file = File::options().write(true).open(parted.pair.a.disk()).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.set_len(bytes - PAGE_BYTES).unwrap();
    parted.expect_refusal(&["no usable superblock"]);
    // The second copy is gone; the first one is enough.
    file.set_len(bytes).unwrap();
    parted.settles_with_little_copied();
}

#[test]
fn a_disk_cut_in_half_is_copied_anew() {
    let parted = Parted::new(End::Clean);
    let file = File::options().write(true).open(parted.pair.a.disk()).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.set_len(bytes / 2).unwrap();
    parted.expect_refusal(&["create-md"]);
    file.set_len(bytes).unwrap();
    parted.expect_refusal(&["create-md"]);
    parted.gets_copied_anew();
}
