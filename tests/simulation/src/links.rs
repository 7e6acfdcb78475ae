//! Dials, frames and ends of streams: what the engine's link wishes become on the wire, through the
//! real codec.

use crate::buffers::{Use, checksum};
use crate::damage::Damage;
use crate::network::{Network, Parcel};
use crate::world::{Happening, World};
use replicator::event::{CloseHow, Input, Lane, LinkOrigin, Payload};
use replicator::ids::LinkId;
use replicator::message::{Message, RefusalCode};
use replicator::mutation::Mutation;
use replicator::state::ReplicationState;
use replicator::wire::{self, HEADER_BYTES, Kind};
use std::borrow::Cow;

/// A dial into a cut network gives up after so long.
const DIAL_TIMEOUT_US: u64 = 400_000;

impl World {
    pub(crate) fn dial(&mut self, host: usize) {
        let reachable = !self.network.is_cut() && self.hosts[1 - host].powered;
        let delay_us = if reachable { self.random.between(50, 3_000) } else { DIAL_TIMEOUT_US };
        let incarnation = self.hosts[host].incarnation;
        self.plan(delay_us, Happening::DialEnds { host, incarnation });
    }

    pub(crate) fn dial_ends(&mut self, host: usize, incarnation: u64) {
        if !self.hosts[host].runs(incarnation) {
            return;
        }
        let peer = 1 - host;
        let listens = self.hosts[peer].powered && self.hosts[peer].node.is_some();
        if self.network.is_cut() || !listens {
            self.feed(host, Input::DialFailed { reason: "no answer".into() });
            return;
        }
        let numbers = [0, 1].map(|index: usize| self.hosts[index].incarnation);
        let accept_us = self.random.between(1, 2_000);
        let stream = self.network.connect(numbers, self.now_us + accept_us);
        let incarnation_of_peer = numbers[peer];
        self.plan(
            accept_us,
            Happening::StreamOpens {
                host: peer,
                incarnation: incarnation_of_peer,
                stream,
                dialled: false,
            },
        );
        self.stream_opens(host, incarnation, stream, true);
    }

    pub(crate) fn stream_opens(
        &mut self,
        host: usize,
        incarnation: u64,
        stream: usize,
        dialled: bool,
    ) {
        if !self.hosts[host].runs(incarnation) {
            return;
        }
        self.network.open(stream, host);
        self.coverage.count("stream");
        let link = Network::link(stream, host);
        let origin = if dialled { LinkOrigin::Dialled } else { LinkOrigin::Accepted };
        self.trace(|| format!("node {host} {link:?} is up, {origin:?}"));
        self.feed(host, Input::LinkUp { link, origin });
    }

    pub(crate) fn send(
        &mut self,
        host: usize,
        link: LinkId,
        message: &Message,
        payload: Option<Payload>,
        lane: Lane,
    ) -> Result<(), String> {
        let stream = Network::stream_of(link);
        let mut stamps = match payload {
            Some(payload) => Some(self.hosts[host].buffers.stamps(payload.buffer)?.to_vec()),
            None => None,
        };
        if !self.network.end(stream, host).open {
            return Ok(());
        }
        self.trace(|| format!("node {host} {link:?} sends {message:?}"));
        self.note(host, message);
        self.rotations_hear(host, message);
        self.sees_message(host, message)?;
        if let Message::SyncGrant { .. } = message {
            self.judge_grant(1 - host)?;
        }
        if self.lose == Some(Kind::of(message)) {
            self.lose = None;
            self.coverage.count("message lost with its stream");
            self.reset_stream(stream);
            return Ok(());
        }
        let mut damage = None;
        if self.damage == Some(Kind::of(message))
            && let Some(first) = stamps.as_mut().and_then(|stamps| stamps.first_mut())
        {
            self.damage = None;
            *first = !*first;
            damage = Some(Damage::Payload);
        }
        let mut bytes = Vec::new();
        let data = payload.map(|payload| (payload.bytes, payload.crc32c));
        wire::encode(message, data, &mut bytes);
        let frame = Parcel::Frame { bytes, stamps, damage };
        if self.network.queue(stream, host, lane, frame) {
            self.plan(0, Happening::Transmit { stream, from: host });
        }
        Ok(())
    }

    /// The end of a resync is granted: its target must hold everything, if it still runs.
    fn judge_grant(&mut self, target: usize) -> Result<(), String> {
        let this = &self.hosts[target];
        let waits = matches!(
            this.replication,
            ReplicationState::SyncTarget | ReplicationState::PausedSyncT
        );
        if waits { self.ledger.granted(target, this.data.current()) } else { Ok(()) }
    }

    fn note(&mut self, host: usize, message: &Message) {
        if let Message::Data(statement) = message {
            self.said[host] = Some(*statement);
            self.coverage.count("data statement");
        }
        if let Message::Refuse(why) = message {
            self.coverage.hear(&why.text);
            if why.text.contains("same attempt") {
                self.coverage.count("crossing dials");
            } else if why.code == RefusalCode::Busy {
                self.coverage.count("busy refusal");
            } else if why.code == RefusalCode::Parameters {
                self.coverage.count("policies that differ refused");
            }
        }
        if let Message::PromoteAnswer { refusal: Some(_) } = message {
            self.coverage.count("promotion refused by the peer");
        }
    }

    pub(crate) fn transmit(&mut self, stream: usize, from: usize) {
        let departure = self.network.transmit(stream, from, self.now_us, &mut self.random);
        if let Some(departure) = departure {
            let mut parcel = departure.parcel;
            self.damage(&mut parcel);
            self.plan_at(departure.arrives_us, Happening::Arrives { stream, from, parcel });
            self.plan_at(departure.free_us, Happening::Transmit { stream, from });
        }
    }

    pub(crate) fn arrives(&mut self, stream: usize, from: usize, parcel: Parcel) {
        let host = 1 - from;
        let not_before_us = self.network.end(stream, from).not_before_us;
        if self.now_us < not_before_us {
            // In the order in which they come; what is sent from now on arrives later.
            self.plan_at(not_before_us, Happening::Arrives { stream, from, parcel });
            return;
        }
        let Some(parcel) = self.network.stall(stream, from, parcel) else { return };
        let end = self.network.end(stream, host);
        let (open, incarnation) = (end.open, end.incarnation);
        if !open || !self.hosts[host].runs(incarnation) {
            self.arrives_nowhere(stream, host, &parcel);
            return;
        }
        let link = Network::link(stream, host);
        match parcel {
            Parcel::End { reason } => {
                self.network.abort(stream, host);
                self.feed(host, Input::LinkDown { link, reason: reason.into() });
            }
            Parcel::Frame { bytes, stamps, damage } => {
                match (self.decode(host, &bytes, stamps), damage) {
                    (Ok((message, payload)), None) => {
                        self.trace(|| format!("node {host} {link:?} gets {message:?}"));
                        self.feed(host, Input::Received { link, message, payload });
                    }
                    (Ok((message, _)), Some(damage)) => {
                        self.damage_was_missed(host, Kind::of(&message), damage);
                    }
                    (Err(why), Some(damage)) => {
                        self.damage_was_found(host, link, stream, damage, why);
                    }
                    (Err(why), None) => self.fail(why),
                }
            }
        }
    }

    /// A live host resets a stream that nobody there knows any more.
    fn arrives_nowhere(&mut self, stream: usize, host: usize, parcel: &Parcel) {
        if let Parcel::Frame { bytes, .. } = parcel {
            if bytes[4] == Kind::SyncGrant as u8 {
                self.coverage.count("lost grant");
            }
            if self.hosts[host].powered && self.network.abort(stream, host) {
                self.plan(0, Happening::Transmit { stream, from: host });
            }
        }
    }

    fn decode(
        &mut self,
        host: usize,
        bytes: &[u8],
        stamps: Option<Vec<u64>>,
    ) -> Result<(Message, Option<Payload>), String> {
        let head_bytes: [u8; HEADER_BYTES] =
            bytes[..HEADER_BYTES].try_into().expect("invariant: a frame has a head");
        let wrong = |error| format!("a frame does not decode: {error}");
        let head = wire::decode_head(&head_bytes).map_err(wrong)?;
        // A damaged head may ask for more or less than was sent: then what follows in the stream
        // is taken for the body.
        let mut body = Cow::Borrowed(&bytes[HEADER_BYTES..]);
        if body.len() != head.body_bytes as usize {
            body.to_mut().resize(head.body_bytes as usize, 0);
        }
        let message = wire::decode_body(&head, &head_bytes, &body).map_err(wrong)?;
        let payload = match stamps {
            None => None,
            Some(stamps) => {
                let crc32c = checksum(&stamps);
                if crc32c != head.data_crc32c && !self.breaks(Mutation::DamagedPayloadAccepted) {
                    return Err(format!("{message:?} came with a checksum of other data"));
                }
                let buffer = self.hosts[host].buffers.give(Use::Received, stamps);
                Some(Payload { buffer, bytes: head.data_bytes, crc32c })
            }
        };
        Ok((message, payload))
    }

    pub(crate) fn close_link(&mut self, host: usize, link: LinkId, how: CloseHow) {
        let stream = Network::stream_of(link);
        self.trace(|| format!("node {host} closes {link:?} {how:?}"));
        let must_transmit = match how {
            CloseHow::AfterSending => self.network.close_after_sending(stream, host),
            CloseHow::Abort => self.network.abort(stream, host),
        };
        if must_transmit {
            self.plan(0, Happening::Transmit { stream, from: host });
        }
    }

    /// Something on the way resets a stream: both ends hear of it, nothing more arrives.
    pub(crate) fn reset_stream(&mut self, stream: usize) {
        for host in [0, 1] {
            if self.network.end(stream, host).open {
                self.network.abort(stream, host);
                // The engine hears of it as of a parcel, in a turn of its own.
                let incarnation = self.network.end(stream, host).incarnation;
                let delay_us = self.random.between(1, 500);
                self.plan(delay_us, Happening::StreamBreaks { host, incarnation, stream });
            }
        }
    }

    pub(crate) fn stream_breaks(&mut self, host: usize, incarnation: u64, stream: usize) {
        if self.hosts[host].runs(incarnation) {
            let link = Network::link(stream, host);
            self.feed(host, Input::LinkDown { link, reason: "connection reset".into() });
        }
    }
}
