//! Clients like the kernel's: they keep what was not answered when their connection breaks, or when
//! the daemon dies, and send it again when they are attached again (D16, schedule F3).
//!
//! A daemon that comes back may be sent them only if nobody was promoted meanwhile, here or with
//! this node's consent: its resume mark was there all the time. Otherwise the old device is
//! disconnected and what was kept can never happen any more.

use crate::buffers::{Use, checksum};
use crate::client::{Open, Wish};
use crate::disk::ZERO_STAMP;
use crate::world::{Happening, World};
use replicator::event::{ClientOp, Input, Payload, ResumeMark};
use replicator::mutation::Mutation;

/// A broken connection is opened again after at most so long.
const RETURN_US_MAX: u64 = 40_000;

impl World {
    /// The process is gone, and with it everything that the client had open; the kernel keeps it.
    pub(crate) fn client_is_cut_off(&mut self, host: usize) {
        let keeps = self.profile.kernel_clients && self.hosts[host].resume_mark;
        let client = std::mem::take(&mut self.hosts[host].client);
        let mut kept = client.kept;
        kept.extend(client.open.into_values());
        self.hosts[host].client.kept = kept;
        if !keeps {
            self.kept_is_given_up(host);
        }
    }

    /// The connection of the client breaks under it, and the daemon lives: what is open may still
    /// be carried out, its answers go nowhere.
    pub(crate) fn client_breaks_off(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        if !self.profile.kernel_clients || !this.client.connected || this.client.stopping {
            return;
        }
        self.coverage.count("client broken off");
        this.client.connected = false;
        let open = std::mem::take(&mut this.client.open);
        this.client.unheard.extend(open.keys());
        this.client.kept.extend(open.into_values());
        let incarnation = this.incarnation;
        self.feed(host, Input::Clients(0));
        let delay_us = self.random.between(1, RETURN_US_MAX);
        self.plan(delay_us, Happening::ClientReturns { host, incarnation });
    }

    pub(crate) fn client_returns(&mut self, host: usize) {
        let this = &self.hosts[host];
        if this.client.connected {
            return;
        }
        if this.export_sectors.is_none() {
            return self.kept_is_given_up(host);
        }
        let stopping = this.client.stopping;
        self.client_attaches(host);
        self.hosts[host].client.stopping |= stopping;
        self.client_leaves_when_done(host);
    }

    /// The kernel's device is disconnected: its requests end with errors, and never happen later.
    pub(crate) fn kept_is_given_up(&mut self, host: usize) {
        let kept = std::mem::take(&mut self.hosts[host].client.kept);
        for open in &kept {
            self.coverage.count("kept request given up");
            self.is_over(open);
        }
        if self.profile.kernel_clients && self.breaks(Mutation::OldDeviceAttached) {
            self.hosts[host].client.kept = kept;
        }
        self.client_leaves_when_done(host);
    }

    fn is_over(&mut self, open: &Open) {
        match open.wish {
            Wish::Write { issued, .. } | Wish::Trim { issued } => {
                self.ledger.end(open.sectors.clone(), issued);
            }
            Wish::Read { .. } | Wish::Flush { .. } => {}
        }
    }

    /// The other node was promoted: what the clients of `host` keep may happen only if `host` has
    /// been Primary all the time, without knowing of that; with its consent never (D16, F3).
    pub(crate) fn kept_must_not_happen(&mut self, host: usize, with_consent: bool) {
        let mut kept = std::mem::take(&mut self.hosts[host].client.kept);
        for open in &mut kept {
            open.over |= with_consent;
            self.is_over(open);
        }
        self.hosts[host].client.kept = kept;
    }

    /// The mark of the run directory changes: without it, or with a new one, an old device must not
    /// be attached again.
    pub(crate) fn resume_mark_is(&mut self, host: usize, mark: ResumeMark) {
        let present = mark != ResumeMark::Void;
        let this = &mut self.hosts[host];
        let was = std::mem::replace(&mut this.resume_mark, present);
        if !(was && mark == ResumeMark::Kept) {
            this.cookie += 1;
            self.kept_is_given_up(host);
        }
    }

    /// The machine went dark, and the kernel with everything that it kept.
    pub(crate) fn kernel_is_gone(&mut self, host: usize) {
        for open in std::mem::take(&mut self.hosts[host].client.kept) {
            self.is_over(&open);
        }
    }

    /// Everything that was kept is sent again, in any order.
    pub(crate) fn client_sends_again(&mut self, host: usize) {
        let mut kept = std::mem::take(&mut self.hosts[host].client.kept);
        while !kept.is_empty() {
            let at = self.random.below(kept.len() as u64) as usize;
            let open = kept.swap_remove(at);
            self.coverage.count("request sent again");
            self.sends_again(host, open);
        }
    }

    fn sends_again(&mut self, host: usize, open: Open) {
        let Open { sectors, wish, cookie, over, .. } = open;
        if cookie == self.hosts[host].cookie && !over {
            match wish {
                Wish::Write { issued, stamp, .. } => {
                    self.ledger.reopen(sectors.clone(), issued, stamp);
                }
                Wish::Trim { issued } => {
                    self.ledger.reopen(sectors.clone(), issued, ZERO_STAMP);
                }
                Wish::Read { .. } | Wish::Flush { .. } => {}
            }
        }
        let range = self.profile.geometry.bytes_of(&sectors);
        match wish {
            Wish::Read { .. } => self.client_reads(host, sectors),
            Wish::Flush { .. } => self.client_flushes(host),
            Wish::Trim { .. } => {
                self.client_opens(host, sectors, wish, ClientOp::Trim { range, fua: false });
            }
            Wish::Write { stamp: ZERO_STAMP, fua, .. } => {
                let op = ClientOp::Zero { range, fua, may_unmap: fua };
                self.client_opens(host, sectors, wish, op);
            }
            Wish::Write { stamp, fua, .. } => {
                let stamps = vec![stamp; sectors.len()];
                let payload = Payload {
                    bytes: u32::try_from(range.bytes()).expect("invariant: requests are small"),
                    crc32c: checksum(&stamps),
                    buffer: self.hosts[host].buffers.give(Use::Client, stamps),
                };
                let op = ClientOp::Write { range, payload, fua };
                self.client_opens(host, sectors, wish, op);
            }
        }
    }
}
