//! Byte streams between the two hosts: three lanes per sender, delays, cuts, resets, half-open
//! ends.

use crate::damage::Damage;
use crate::random::Random;
use replicator::event::Lane;
use replicator::ids::LinkId;
use std::collections::VecDeque;

/// A sender that got no answer for long tries again after at most so long.
const BACKOFF_US_MAX: u64 = 1_500_000;

/// What travels on a stream.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    /// Head and body as encoded, and the payload's stamps.
    Frame { bytes: Vec<u8>, stamps: Option<Vec<u64>>, damage: Option<Damage> },
    /// The stream ends here.
    End { reason: &'static str },
}

/// One end of a stream, on one process.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) incarnation: u64,
    /// The engine has been told of it and has not closed it.
    pub(crate) open: bool,
    lanes: [VecDeque<Parcel>; 3],
    /// A parcel is being put on the wire.
    sending: bool,
    closing: bool,
    /// When the last parcel that was put on the wire arrives; streams are in order.
    last_arrival_us: u64,
    /// Nothing arrives before: what was held back comes first.
    pub(crate) not_before_us: u64,
    /// Arrived while this direction was cut: delivered after the cut, like anything retransmitted.
    stalled: VecDeque<Parcel>,
}

impl End {
    fn new(incarnation: u64, now_us: u64) -> Self {
        Self {
            incarnation,
            open: false,
            lanes: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            sending: false,
            closing: false,
            last_arrival_us: now_us,
            not_before_us: 0,
            stalled: VecDeque::new(),
        }
    }
}

/// A stream. End 0 is on host 0.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) ends: [End; 2],
}

/// All streams there ever were, and the wire between the hosts.
#[derive(Debug)]
pub(crate) struct Network {
    streams: Vec<Stream>,
    /// By sending host: nothing gets through.
    pub(crate) cut: [bool; 2],
    pub(crate) delay_us_max: u64,
}

/// A parcel that arrives in the future.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) parcel: Parcel,
    pub(crate) arrives_us: u64,
    /// When the wire is free for the next one.
    pub(crate) free_us: u64,
}

impl Network {
    pub(crate) const fn new(delay_us_max: u64) -> Self {
        Self { streams: Vec::new(), cut: [false; 2], delay_us_max }
    }

    /// A new stream between two processes. Nothing arrives on it before `now_us`.
    pub(crate) fn connect(&mut self, incarnations: [u64; 2], now_us: u64) -> usize {
        self.streams.push(Stream { ends: incarnations.map(|number| End::new(number, now_us)) });
        self.streams.len() - 1
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut[0] || self.cut[1]
    }

    /// The name of a stream's end, never used twice (D15).
    pub(crate) const fn link(stream: usize, host: usize) -> LinkId {
        LinkId(stream as u64 * 2 + host as u64 + 1)
    }

    /// The stream of a link.
    pub(crate) const fn stream_of(link: LinkId) -> usize {
        (link.0 as usize - 1) / 2
    }

    pub(crate) fn end(&self, stream: usize, host: usize) -> &End {
        &self.streams[stream].ends[host]
    }

    pub(crate) fn open(&mut self, stream: usize, host: usize) {
        self.streams[stream].ends[host].open = true;
    }

    /// Queues a parcel. True when the wire was free and transmission must be started.
    pub(crate) fn queue(&mut self, stream: usize, host: usize, lane: Lane, parcel: Parcel) -> bool {
        let end = &mut self.streams[stream].ends[host];
        let lane = match lane {
            Lane::Urgent => 0,
            Lane::Fifo => 1,
            Lane::Bulk => 2,
        };
        end.lanes[lane].push_back(parcel);
        !std::mem::replace(&mut end.sending, true)
    }

    /// Puts the next parcel on the wire.
    pub(crate) fn transmit(
        &mut self,
        stream: usize,
        host: usize,
        now_us: u64,
        random: &mut Random,
    ) -> Option<Departure> {
        let delay_us = random.between(20, self.delay_us_max);
        let end = &mut self.streams[stream].ends[host];
        let next = end.lanes.iter_mut().find_map(VecDeque::pop_front);
        let parcel = match next {
            Some(parcel) => parcel,
            None if std::mem::take(&mut end.closing) => Parcel::End { reason: "closed" },
            None => {
                end.sending = false;
                return None;
            }
        };
        let bytes = match &parcel {
            Parcel::Frame { bytes, stamps, damage: _ } => {
                bytes.len() + stamps.as_ref().map_or(0, |stamps| stamps.len() * 512)
            }
            Parcel::End { .. } => 0,
        };
        // About 1 GB/s.
        let free_us = now_us + 1 + bytes as u64 / 1000;
        let arrives_us = (free_us + delay_us).max(end.last_arrival_us + 1);
        end.last_arrival_us = arrives_us;
        Some(Departure { parcel, arrives_us, free_us })
    }

    /// The engine closes its end after what is queued. True when transmission must be started.
    pub(crate) fn close_after_sending(&mut self, stream: usize, host: usize) -> bool {
        let end = &mut self.streams[stream].ends[host];
        end.open = false;
        end.closing = true;
        !std::mem::replace(&mut end.sending, true)
    }

    /// The end is gone at once: what is queued there is dropped, what is on the wire still arrives.
    /// True when the other end must be told by a parcel.
    pub(crate) fn abort(&mut self, stream: usize, host: usize) -> bool {
        let end = &mut self.streams[stream].ends[host];
        end.open = false;
        end.lanes = [VecDeque::new(), VecDeque::new(), VecDeque::new()];
        end.closing = true;
        !std::mem::replace(&mut end.sending, true)
    }

    /// The host fell silent: nothing more is said on any of its ends.
    pub(crate) fn vanish(&mut self, host: usize) {
        for stream in &mut self.streams {
            let end = &mut stream.ends[host];
            end.open = false;
            end.closing = false;
            end.lanes = [VecDeque::new(), VecDeque::new(), VecDeque::new()];
        }
    }

    /// Open ends of a host.
    pub(crate) fn open_streams(&self, host: usize) -> Vec<usize> {
        (0..self.streams.len()).filter(|stream| self.streams[*stream].ends[host].open).collect()
    }

    /// Holds a parcel back while `from` is cut, or while older ones are held back.
    pub(crate) fn stall(&mut self, stream: usize, from: usize, parcel: Parcel) -> Option<Parcel> {
        let cut = self.cut[from];
        let end = &mut self.streams[stream].ends[from];
        if cut || !end.stalled.is_empty() {
            end.stalled.push_back(parcel);
            return None;
        }
        Some(parcel)
    }

    /// What was held back, in order, after a cut has ended.
    /// Some senders have backed off so far that they try again much later.
    pub(crate) fn unstall(
        &mut self,
        now_us: u64,
        random: &mut Random,
    ) -> Vec<(usize, usize, Parcel, u64)> {
        let mut parcels = Vec::new();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            for (host, end) in stream.ends.iter_mut().enumerate() {
                if end.stalled.is_empty() {
                    continue;
                }
                let late = random.chance(30);
                let mut at_us = now_us + if late { random.between(1, BACKOFF_US_MAX) } else { 0 };
                for parcel in std::mem::take(&mut end.stalled) {
                    at_us += 5;
                    parcels.push((index, host, parcel, at_us));
                }
                end.not_before_us = at_us;
                end.last_arrival_us = end.last_arrival_us.max(at_us);
            }
        }
        parcels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_overtakes_what_is_queued_and_bulk_falls_behind() {
        let mut network = Network::new(50);
        let mut random = Random::new(1);
        let stream = network.connect([1, 1], 0);
        let frame = |byte| Parcel::Frame { bytes: vec![byte], stamps: None, damage: None };
        assert!(network.queue(stream, 0, Lane::Bulk, frame(3)));
        assert!(!network.queue(stream, 0, Lane::Fifo, frame(2)));
        assert!(!network.queue(stream, 0, Lane::Urgent, frame(1)));
        let mut order = Vec::new();
        let mut last_us = 0;
        while let Some(departure) = network.transmit(stream, 0, 0, &mut random) {
            if let Parcel::Frame { bytes, .. } = departure.parcel {
                order.push(bytes[0]);
            }
            assert!(departure.arrives_us > last_us, "a stream is in order");
            last_us = departure.arrives_us;
        }
        assert_eq!(order, [1, 2, 3]);
    }
}
