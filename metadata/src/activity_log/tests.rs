//! Tests of the log against a plain model of its slots.

use std::collections::BTreeSet;

use super::*;
use crate::seeded::Seeded;

const OWNER: PageIdentity =
    PageIdentity { resource_tag: 1, instance_id: 2, node_id: 0, attach_number: 3 };

/// A ring on a disk and the plain content of the slots beside it.
struct Model {
    log: LogGeometry,
    ring: Vec<u8>,
    contents: Vec<Option<u32>>,
    next_sequence: u64,
}

impl Model {
    fn new(slots: u16) -> Self {
        let log = LogGeometry::new(slots).expect("a legal number of slots");
        let ring = vec![0; log.ring_bytes() as usize];
        let contents = vec![None; usize::from(slots)];
        let mut model = Self { log, ring, contents, next_sequence: 0 };
        for (sequence, page) in format(0, &OWNER, log) {
            model.write(sequence, &page);
        }
        model
    }

    fn write(&mut self, sequence: u64, page: &Page) {
        let start = self.log.ring_index(sequence) as usize * PAGE_BYTES;
        self.ring[start..start + PAGE_BYTES].copy_from_slice(page);
        self.next_sequence = sequence + 1;
    }

    fn random_transaction(&mut self, random: &mut Seeded) -> Box<Page> {
        let mut updates: Vec<SlotUpdate> = Vec::new();
        for _ in 0..random.below(UPDATES_MAX as u64 + 1) {
            let slot = random.below(self.log.slots().into()) as u16;
            let extent = Some(random.below(5000) as u32).filter(|_| random.below(4) != 0);
            updates.retain(|earlier| earlier.slot != slot);
            updates.push(SlotUpdate { slot, extent });
            self.contents[usize::from(slot)] = extent;
        }
        Transaction::new(self.next_sequence, updates, &self.contents, self.log)
            .encode(self.log, &OWNER)
    }

    fn commit(&mut self, random: &mut Seeded) {
        let page = self.random_transaction(random);
        self.write(self.next_sequence, &page);
    }

    fn expected(&self) -> Replay {
        let extents = self.contents.iter().flatten().copied().collect();
        Replay::Hot { extents, next_sequence: self.next_sequence }
    }

    fn replayed(&self) -> Replay {
        replay(&self.ring, &OWNER, self.log)
    }
}

fn damage_of(replay: Replay) -> LogDamage {
    match replay {
        Replay::AllOutOfSync { reason, .. } => reason,
        Replay::Hot { .. } => panic!("taken for good: {replay:?}"),
    }
}

#[test]
fn a_freshly_formatted_ring_replays_as_empty() {
    for slots in [7, 908, 909, 1237, 6356, 6357, 65534] {
        let model = Model::new(slots);
        let next_sequence = u64::from(model.log.ring_pages());
        let empty = Replay::Hot { extents: BTreeSet::new(), next_sequence };
        assert_eq!(model.replayed(), empty, "{slots} slots");
    }
}

#[test]
fn a_replay_after_every_transaction_gives_what_the_slots_hold() {
    for (seed, slots) in [(1, 7), (2, 900), (3, 1237), (4, 6356), (5, 20_000)] {
        let mut random = Seeded::new(seed);
        let mut model = Model::new(slots);
        for step in 0..60 {
            model.commit(&mut random);
            assert_eq!(model.replayed(), model.expected(), "seed {seed} step {step}");
        }
    }
}

#[test]
fn a_torn_newest_write_leaves_the_log_before_it() {
    for seed in 10..30 {
        let mut random = Seeded::new(seed);
        let mut model = Model::new(1237);
        for _ in 0..random.below(20) {
            model.commit(&mut random);
        }
        let before = model.expected();
        let torn_sequence = model.next_sequence;
        let old = model.ring.clone();
        let page = model.random_transaction(&mut random);
        let start = model.log.ring_index(torn_sequence) as usize * PAGE_BYTES;
        let cut = 512 * (1 + random.below(7) as usize);
        model.write(torn_sequence, &page);
        let (head, tail) = (start..start + cut, start + cut..start + PAGE_BYTES);
        let lost = if random.below(2) == 0 { head } else { tail };
        model.ring[lost.clone()].copy_from_slice(&old[lost.clone()]);
        // A tear whose lost half equals what lay there before is no tear.
        if model.ring[start..start + PAGE_BYTES] != page[..] {
            assert_eq!(model.replayed(), before, "seed {seed} cut {cut}");
        }
        model.ring[start..start + PAGE_BYTES].fill(0);
        assert_eq!(model.replayed(), before, "seed {seed}, page zeroed");
    }
}

#[test]
fn any_other_bad_page_means_that_all_is_out_of_sync() {
    let mut random = Seeded::new(40);
    let mut model = Model::new(1237);
    for _ in 0..13 {
        model.commit(&mut random);
    }
    let newest = model.next_sequence - 1;
    let torn_place = model.log.ring_index(model.next_sequence);
    for ring_index in 0..u64::from(model.log.ring_pages()) {
        if ring_index == torn_place || ring_index == model.log.ring_index(newest) {
            continue;
        }
        let mut rotten = model.ring.clone();
        rotten[ring_index as usize * PAGE_BYTES + 2000] ^= 4;
        let reply = replay(&rotten, &OWNER, model.log);
        let Replay::AllOutOfSync { reason, next_sequence } = reply else {
            panic!("page {ring_index}: taken for good");
        };
        assert!(matches!(reason, LogDamage::Page { ring_index: bad, .. } if bad == ring_index));
        assert!(next_sequence > model.next_sequence, "page {ring_index}");
    }
}

#[test]
fn a_torn_page_beside_a_rotten_one_means_that_all_is_out_of_sync() {
    let mut random = Seeded::new(41);
    let mut model = Model::new(1237);
    model.commit(&mut random);
    for sequence in [model.next_sequence, model.next_sequence - 1] {
        let at = model.log.ring_index(sequence) as usize * PAGE_BYTES;
        model.ring[at..at + PAGE_BYTES].fill(0);
    }
    assert!(matches!(damage_of(model.replayed()), LogDamage::Page { .. }));
}

#[test]
fn a_page_restored_from_an_older_copy_is_noticed() {
    let mut random = Seeded::new(42);
    let mut model = Model::new(1237);
    let old = model.ring.clone();
    for _ in 0..12 {
        model.commit(&mut random);
    }
    let at = model.log.ring_index(model.next_sequence - 3) as usize * PAGE_BYTES;
    model.ring[at..at + PAGE_BYTES].copy_from_slice(&old[at..at + PAGE_BYTES]);
    assert!(matches!(damage_of(model.replayed()), LogDamage::Order { .. }));
}

#[test]
fn pages_of_strangers_and_of_an_unknown_attach_are_refused_even_where_a_torn_one_is_not() {
    let model = Model::new(1237);
    let place = model.log.ring_index(model.next_sequence);
    let strangers = [
        PageIdentity { instance_id: 9, ..OWNER },
        PageIdentity { node_id: 1, ..OWNER },
        PageIdentity { attach_number: 4, ..OWNER },
    ];
    for stranger in strangers {
        let mut ring = model.ring.clone();
        let page = format(0, &stranger, model.log).swap_remove(place as usize).1;
        ring[place as usize * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(&page[..]);
        let damage = damage_of(replay(&ring, &OWNER, model.log));
        assert!(matches!(damage, LogDamage::Page { ring_index, .. } if ring_index == place));
    }
}

#[test]
fn a_later_transaction_of_an_earlier_attach_is_refused() {
    let mut model = Model::new(1237);
    let earlier = PageIdentity { attach_number: 2, ..OWNER };
    let transaction = Transaction::new(model.next_sequence, Vec::new(), &model.contents, model.log);
    let page = transaction.encode(model.log, &earlier);
    model.write(transaction.sequence(), &page);
    assert!(matches!(damage_of(model.replayed()), LogDamage::AttachOrder { .. }));
}

#[test]
fn emptying_the_log_may_be_interrupted_after_every_page() {
    let mut random = Seeded::new(43);
    let mut model = Model::new(2000);
    for _ in 0..40 {
        model.commit(&mut random);
    }
    let hot_before: BTreeSet<u32> = model.contents.iter().flatten().copied().collect();
    let next_attach = PageIdentity { attach_number: 4, ..OWNER };
    for (sequence, page) in format(model.next_sequence, &next_attach, model.log) {
        model.write(sequence, &page);
        let Replay::Hot { extents, next_sequence } = replay(&model.ring, &next_attach, model.log)
        else {
            panic!("transaction {sequence}: not replayed");
        };
        assert!(extents.is_subset(&hot_before) && next_sequence == sequence + 1);
    }
    let Replay::Hot { extents, .. } = replay(&model.ring, &next_attach, model.log) else {
        panic!("not replayed");
    };
    assert!(extents.is_empty());
}

#[test]
fn a_ring_of_which_nothing_is_left_restarts_nothing_silently() {
    let log = LogGeometry::default();
    let reply = replay(&vec![0; log.ring_bytes() as usize], &OWNER, log);
    let error = TransactionError::Page(PageError::Blank);
    let reason = LogDamage::NothingUsable { error };
    assert_eq!(reply, Replay::AllOutOfSync { reason, next_sequence: 0 });
    let short = damage_of(replay(&[0; 4096], &OWNER, log));
    assert_eq!(short, LogDamage::Length { found_bytes: 4096, expected_bytes: 32768 });
}

#[test]
fn a_sequence_next_to_the_end_of_numbers_is_malformed_and_not_an_overflow() {
    let mut model = Model::new(1237);
    for ring_index in 0..8_usize {
        let mut page = [0; PAGE_BYTES];
        put_u64(&mut page, AT_SEQUENCE, u64::MAX - 7 + ring_index as u64);
        seal(&mut page, PageKind::ActivityLog, ring_index as u64, &OWNER);
        model.ring[ring_index * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(&page);
    }
    assert!(matches!(damage_of(model.replayed()), LogDamage::NothingUsable { .. }));
}
