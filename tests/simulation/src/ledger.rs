//! What was promised: for every sector the writes that were issued and answered, and for every node
//! how much of them its copy must hold (DESIGN 3, "What is promised").
//!
//! A *floor* is the moment at which the newest write was issued that a copy must hold. Whatever was
//! answered before the floor is out of date; whatever was open then, or came later, may be found. A
//! power cut takes a copy's floor back to what was flushed.

use std::ops::Range;

/// A write as the client knows it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    stamp: u64,
    issued: u64,
    /// Answered, or unable to happen any more.
    ended: Option<u64>,
}

/// The promise about one node's copy.
#[derive(Debug)]
struct Copy {
    /// By sector: what it must hold as long as it keeps its power.
    cached: Vec<u64>,
    /// By sector: what it must hold whatever happens.
    durable: Vec<u64>,
    /// By sector: the same as long as it is the only copy (D18). A second one that is there again
    /// may have this in its cache alone, and be the one that counts when both have lost power.
    sole: Vec<u64>,
    /// When something was answered last by this node, since both had the same, that the peer's copy
    /// lacks.
    alone: Option<u64>,
    /// When that was a write.
    wrote: Option<u64>,
    /// When it was promoted last, since then, without the peer's data.
    promoted_alone: Option<u64>,
}

impl Copy {
    fn promises_nothing(&mut self) {
        for promise in [&mut self.cached, &mut self.durable, &mut self.sole] {
            promise.fill(0);
        }
    }
}

/// The end of a resync was granted: what the target's copy holds if it takes the grant.
#[derive(Debug)]
struct Grant {
    target: usize,
    at: u64,
}

/// The promise about both copies.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: u64,
    entries: Vec<Vec<Entry>>,
    copies: [Copy; 2],
    grant: Option<Grant>,
}

/// Entries of one sector beyond which old ones are dropped.
const ENTRIES_KEPT: usize = 12;
/// Ticks of the ledger's clock for which an entry may still be wanted by a read under way.
const READ_TICKS: u64 = 400;

impl Ledger {
    /// Before the first write, when each copy holds a stamp of its own.
    pub(crate) fn new(sectors: usize, stamps: [u64; 2]) -> Self {
        let copy = || Copy {
            cached: vec![0; sectors],
            durable: vec![0; sectors],
            sole: vec![0; sectors],
            alone: None,
            wrote: None,
            promoted_alone: None,
        };
        let entry = |stamp| Entry { stamp, issued: 0, ended: Some(0) };
        Self {
            clock: 0,
            entries: vec![stamps.map(entry).to_vec(); sectors],
            copies: [copy(), copy()],
            grant: None,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A write leaves the client; the result names it.
    pub(crate) fn issue(&mut self, sectors: Range<usize>, stamp: u64) -> u64 {
        let issued = self.tick();
        for sector in sectors {
            self.prune(sector);
            self.entries[sector].push(Entry { stamp, issued, ended: None });
        }
        issued
    }

    /// A sector of some copy holds this from now on, and no promise says when it goes.
    pub(crate) fn rots(&mut self, sector: usize, stamp: u64) {
        let issued = self.tick();
        self.entries[sector].push(Entry { stamp, issued, ended: None });
    }

    fn prune(&mut self, sector: usize) {
        if self.entries[sector].len() < ENTRIES_KEPT {
            return;
        }
        let floors =
            self.copies.iter().flat_map(|copy| [copy.cached[sector], copy.durable[sector]]);
        let oldest = floors.min().unwrap_or(0).min(self.clock.saturating_sub(READ_TICKS));
        self.entries[sector].retain(|entry| entry.ended.is_none_or(|ended| ended >= oldest));
    }

    /// The write is over, answered or not: it can no longer happen later than now.
    pub(crate) fn end(&mut self, sectors: Range<usize>, issued: u64) {
        let now = self.tick();
        for sector in sectors {
            for entry in &mut self.entries[sector] {
                if entry.issued == issued {
                    entry.ended.get_or_insert(now);
                }
            }
        }
    }

    /// A write that was thought to be over is sent again, and may be.
    pub(crate) fn reopen(&mut self, sectors: Range<usize>, issued: u64, stamp: u64) {
        for sector in sectors {
            let entries = &mut self.entries[sector];
            match entries.iter_mut().find(|entry| entry.issued == issued) {
                Some(entry) => entry.ended = None,
                None => entries.insert(0, Entry { stamp, issued, ended: None }),
            }
        }
    }

    /// True when a copy with this floor may hold `stamp` in that sector.
    pub(crate) fn allows(&self, sector: usize, floor: u64, stamp: u64) -> bool {
        self.entries[sector]
            .iter()
            .any(|entry| entry.stamp == stamp && entry.ended.is_none_or(|ended| ended >= floor))
    }

    /// The first sector of `sectors` whose content is older than `floor_of` allows.
    fn first_stale(
        &self,
        mut sectors: Range<usize>,
        content: &[u64],
        floor_of: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        sectors.find(|sector| !self.allows(*sector, floor_of(*sector), content[*sector]))
    }

    /// The first sector in which `content` breaks the promise about the copy of `host`.
    pub(crate) fn first_lost(&self, host: usize, content: &[u64]) -> Option<usize> {
        self.first_stale(0..content.len(), content, |sector| self.copies[host].cached[sector])
    }

    /// What a read or a flush that begins now relies on.
    pub(crate) fn floors(&self, host: usize, sectors: Range<usize>) -> Vec<u64> {
        self.copies[host].cached[sectors].to_vec()
    }

    /// True when `content` of `sectors` holds what `floors` of them say.
    pub(crate) fn holds(&self, sectors: Range<usize>, floors: &[u64], content: &[u64]) -> bool {
        let first = sectors.start;
        self.first_stale(sectors, content, |sector| floors[sector - first]).is_none()
    }

    /// A write was answered by `host`. Raises the promise about its copy, and about the peer's if
    /// that has it.
    pub(crate) fn acknowledge(&mut self, host: usize, sectors: Range<usize>, issued: u64) {
        for sector in sectors {
            let floor = &mut self.copies[host].cached[sector];
            *floor = issued.max(*floor);
        }
    }

    /// What `floors` say of `sectors` is durable on the copy of `host`.
    pub(crate) fn flushed(&mut self, host: usize, sectors: Range<usize>, floors: &[u64]) {
        for (sector, flushed) in sectors.zip(floors) {
            let floor = &mut self.copies[host].durable[sector];
            *floor = (*flushed).max(*floor);
        }
    }

    /// The same for the copy of `host` as the only one (D18).
    pub(crate) fn flushed_as_sole(&mut self, host: usize, sectors: Range<usize>, floors: &[u64]) {
        for (sector, flushed) in sectors.zip(floors) {
            let floor = &mut self.copies[host].sole[sector];
            *floor = (*flushed).max(*floor);
        }
    }

    /// `host` answers something that the peer's copy lacks. A generation begins on a flushed disk:
    /// what both had before the first such answer is durable.
    pub(crate) fn went_alone(&mut self, host: usize) {
        let now = self.clock;
        if self.copies[host].alone.is_none() {
            self.common_is_durable(host);
        }
        self.copies[host].alone = Some(now);
    }

    /// The same for a write, whose own `sectors` had these floors before it was answered.
    pub(crate) fn wrote_alone(&mut self, host: usize, sectors: Range<usize>, before: &[u64]) {
        let now = self.copies[host].cached[sectors.clone()].to_vec();
        self.copies[host].cached[sectors.clone()].copy_from_slice(before);
        self.went_alone(host);
        self.copies[host].wrote = self.copies[host].alone;
        self.copies[host].cached[sectors].copy_from_slice(&now);
    }

    /// What both copies hold is durable on that of `host`. A peer that went on alone holds
    /// something else.
    fn common_is_durable(&mut self, host: usize) {
        if self.copies[1 - host].alone.is_some() {
            return;
        }
        let peers = self.copies[1 - host].cached.clone();
        let copy = &mut self.copies[host];
        for ((durable, cached), peers) in copy.durable.iter_mut().zip(&copy.cached).zip(&peers) {
            *durable = (*durable).max(*cached.min(peers));
        }
    }

    /// `host` was promoted without the peer's data.
    pub(crate) fn promoted_alone(&mut self, host: usize) {
        self.copies[host].promoted_alone = Some(self.clock);
    }

    /// True when both copies hold something answered that the other one lacks, or were promoted
    /// alone.
    pub(crate) fn both_went_on(&self) -> bool {
        self.copies.iter().all(|copy| copy.alone.is_some() || copy.promoted_alone.is_some())
    }

    /// True when a write was answered by `host` that the peer's copy lacks.
    pub(crate) const fn has_written_alone(&self, host: usize) -> bool {
        self.copies[host].wrote.is_some()
    }

    /// The copy of `host` lost what was not flushed.
    pub(crate) fn lose_power(&mut self, host: usize) {
        let copy = &mut self.copies[host];
        for ((cached, durable), sole) in copy.cached.iter_mut().zip(&copy.durable).zip(&copy.sole) {
            *cached = *durable.max(sole);
        }
    }

    /// What both copies must hold when they are said to be the same.
    ///
    /// What one node must hold that alone answered clients counts always. What both had does not
    /// bind the other one if that was promoted alone after it lost power (fencing `dont-care`).
    fn common_floors(&self) -> Result<Vec<u64>, String> {
        let [first, second] = &self.copies;
        if first.alone.is_some() && second.alone.is_some() {
            return Err(
                "both nodes answered clients alone, and a split brain was not declared".into()
            );
        }
        let excused = [
            first.alone.is_none() && second.promoted_alone.is_some(),
            second.alone.is_none() && first.promoted_alone.is_some(),
        ];
        let floor = |(a, b): (&u64, &u64)| match excused {
            [false, false] => *a.max(b),
            [true, false] => *b,
            [false, true] => *a,
            [true, true] => *a.min(b),
        };
        Ok(first.cached.iter().zip(&second.cached).map(floor).collect())
    }

    fn check_common(&self, floors: &[u64], host: usize, content: &[u64]) -> Result<(), String> {
        match self.first_stale(0..content.len(), content, |sector| floors[sector]) {
            None => Ok(()),
            Some(sector) => {
                let entries = &self.entries[sector];
                let newest = &entries[entries.len().saturating_sub(4)..];
                Err(format!(
                    "said to be in sync, but node {host} holds {} in sector {sector}, older than what was \
                     acknowledged (floor {}, entries {newest:?})",
                    content[sector], floors[sector]
                ))
            }
        }
    }

    /// Both copies are said to be the same now. Checks that what had to survive did, and begins
    /// anew.
    pub(crate) fn merge(&mut self, contents: [&[u64]; 2]) -> Result<(), String> {
        let floors = self.common_floors()?;
        for (host, content) in contents.into_iter().enumerate() {
            self.check_common(&floors, host, content)?;
        }
        for host in [0, 1] {
            self.hold_in_common(host, self.clock);
            self.bind(host, &floors);
        }
        self.grant = None;
        Ok(())
    }

    /// A copy is about to be overwritten by a resync: the source, if it still runs, must hold what
    /// had to survive. From here on the target's copy promises nothing.
    pub(crate) fn becomes_target(
        &mut self,
        target: usize,
        source: Option<&[u64]>,
    ) -> Result<(), String> {
        self.void_grant(target);
        let floors = self.common_floors()?;
        if let Some(content) = source {
            self.check_common(&floors, 1 - target, content)?;
        }
        // The source has flushed before the target gives its copy up.
        self.common_is_durable(1 - target);
        self.copies[target].promises_nothing();
        Ok(())
    }

    /// A block of the copy of `host` went bad: it promises nothing until it is in sync again.
    pub(crate) fn degraded(&mut self, host: usize) {
        self.copies[host].promises_nothing();
    }

    /// The source of a resync grants its end: the target must hold everything. From here on the
    /// source may go on alone and the target may still take the grant.
    pub(crate) fn granted(&mut self, target: usize, content: &[u64]) -> Result<(), String> {
        let floors = self.common_floors()?;
        self.check_common(&floors, target, content)?;
        self.bind(target, &floors);
        self.grant = Some(Grant { target, at: self.tick() });
        Ok(())
    }

    /// The target took the grant. What a target that is Primary has answered since the grant is on
    /// its own disk, too, although the source's copy was the one that counted.
    pub(crate) fn took_grant(&mut self, target: usize, is_primary: bool) {
        if let Some(grant) = self.grant.take()
            && grant.target == target
        {
            let at = if is_primary { self.clock } else { grant.at };
            for host in [0, 1] {
                self.hold_in_common(host, at);
                self.copies[host].sole.fill(0);
            }
        }
    }

    /// The copy of `host` must hold this from now on, and nothing that it held besides.
    fn bind(&mut self, host: usize, floors: &[u64]) {
        let copy = &mut self.copies[host];
        copy.cached.copy_from_slice(floors);
        for promise in [&mut copy.durable, &mut copy.sole] {
            for (durable, floor) in promise.iter_mut().zip(floors) {
                *durable = (*durable).min(*floor);
            }
        }
    }

    /// What happened up to `at` is common to both.
    fn hold_in_common(&mut self, host: usize, at: u64) {
        let copy = &mut self.copies[host];
        copy.alone = copy.alone.filter(|alone| *alone > at);
        copy.wrote = copy.wrote.filter(|wrote| *wrote > at);
        copy.promoted_alone = copy.promoted_alone.filter(|promoted| *promoted > at);
    }

    /// The operator declared the data as they are to be the good ones: nothing older is promised
    /// any more.
    pub(crate) fn begin_anew(&mut self, contents: [&[u64]; 2]) {
        let now = self.tick();
        for (sector, entries) in self.entries.iter_mut().enumerate() {
            entries.retain(|entry| entry.ended.is_none());
            for content in contents {
                entries.push(Entry { stamp: content[sector], issued: now, ended: Some(now) });
            }
        }
        for copy in &mut self.copies {
            copy.promises_nothing();
            copy.alone = None;
            copy.wrote = None;
            copy.promoted_alone = None;
        }
        self.grant = None;
    }

    /// The operator threw the copy of `host` away.
    pub(crate) fn discard(&mut self, host: usize) {
        let copy = &mut self.copies[host];
        copy.promises_nothing();
        copy.alone = None;
        copy.wrote = None;
        copy.promoted_alone = None;
        self.grant = None;
    }

    /// The copy of `host` is an older one again: it promises nothing, and what it holds may have
    /// been forgotten here.
    pub(crate) fn put_back(&mut self, host: usize, content: &[u64]) {
        self.discard(host);
        for (entries, stamp) in self.entries.iter_mut().zip(content) {
            if entries.iter().all(|entry| entry.stamp != *stamp) {
                entries.insert(0, Entry { stamp: *stamp, issued: 0, ended: Some(0) });
            }
        }
    }

    /// The operator gives the changes of `host` up; they are there until the peer overwrites them.
    pub(crate) fn give_up(&mut self, host: usize) {
        let copy = &mut self.copies[host];
        copy.alone = None;
        copy.wrote = None;
        copy.promoted_alone = None;
    }

    /// The process of `host` is gone: a grant on its way to it is void.
    pub(crate) fn process_ends(&mut self, host: usize) {
        self.void_grant(host);
    }

    /// A target that has not taken the grant is no copy.
    fn void_grant(&mut self, target: usize) {
        if self.grant.take_if(|grant| grant.target == target).is_some() {
            self.copies[target].promises_nothing();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ledger: &mut Ledger, stamp: u64) -> u64 {
        let issued = ledger.issue(0..1, stamp);
        ledger.end(0..1, issued);
        issued
    }

    #[test]
    fn of_two_concurrent_writes_either_may_be_found_and_nothing_older() {
        let mut ledger = Ledger::new(1, [1, 1]);
        let (first, second) = (ledger.issue(0..1, 7), ledger.issue(0..1, 8));
        for issued in [second, first] {
            ledger.end(0..1, issued);
            ledger.acknowledge(0, 0..1, issued);
        }
        assert_eq!(ledger.first_lost(0, &[7]), None);
        assert_eq!(ledger.first_lost(0, &[8]), None);
        assert_eq!(ledger.first_lost(0, &[1]), Some(0));
    }

    #[test]
    fn what_both_answered_alone_must_not_be_merged() {
        let mut ledger = Ledger::new(1, [1, 1]);
        ledger.went_alone(0);
        ledger.went_alone(1);
        assert!(ledger.merge([&[1], &[1]]).is_err());
    }

    #[test]
    fn a_write_that_the_survivor_holds_must_survive_the_return_of_the_node_that_lost_it() {
        let mut ledger = Ledger::new(1, [1, 1]);
        let issued = written(&mut ledger, 7);
        ledger.acknowledge(0, 0..1, issued);
        ledger.acknowledge(1, 0..1, issued);
        ledger.lose_power(0);
        assert_eq!(ledger.first_lost(0, &[1]), None, "it was not flushed");
        assert!(ledger.merge([&[1], &[1]]).is_err());
        assert!(ledger.merge([&[7], &[7]]).is_ok());
    }

    #[test]
    fn a_node_promoted_alone_after_a_power_cut_is_excused() {
        let mut ledger = Ledger::new(1, [1, 1]);
        let issued = written(&mut ledger, 7);
        ledger.acknowledge(0, 0..1, issued);
        ledger.acknowledge(1, 0..1, issued);
        ledger.lose_power(0);
        ledger.promoted_alone(0);
        assert!(ledger.merge([&[1], &[1]]).is_ok());
    }
}
