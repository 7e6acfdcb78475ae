//! Everything that leads to the peer: listening, dialling, the links and their ends.

use super::listener::{self, ListenError};
use super::peer_link::{LinkError, PeerLink};
use super::token::{Source, Token};
use crate::ring::arena::Arena;
use crate::ring::{Interest, Operation, Ring};
use replicator::event::{CloseHow, Input, Lane, LinkOrigin, Payload};
use replicator::ids::{LinkId, Moment};
use replicator::message::Message;
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Links at once, not yet authenticated ones included; a connection beyond it is closed at once.
pub(super) const LINKS_MAX: usize = 10;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 4;
/// A connect that is not decided after so long has failed.
const DIAL_TIMEOUT_MS: u64 = 10_000;
/// A link that is closed after sending gets so long to send and to be read by the peer.
const CLOSING_MS_MAX: u64 = 2_000;

/// A link and whether it is on its way out.
#[derive(Debug)]
struct Place {
    link: PeerLink,
    leaving: Option<Leaving>,
}

/// The end of a link that is closed after sending.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    deadline: Moment,
    /// Our end of the stream is closed; the other one's is waited for, so that it reads what we
    /// sent before the end.
    is_shut: bool,
}

#[derive(Debug)]
struct Dialling {
    fd: OwnedFd,
    use_number: u32,
    deadline: Moment,
}

/// The door to the peer.
#[derive(Debug)]
pub(super) struct PeerPort {
    listener: OwnedFd,
    own: SocketAddr,
    peer: SocketAddr,
    links: Vec<Option<Place>>,
    dialling: Option<Dialling>,
    links_ever: u64,
    dials_ever: u32,
    scratch: Vec<u8>,
}

impl PeerPort {
    /// Listens on `own`; dials `peer`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) fn open(own: SocketAddr, peer: SocketAddr) -> Result<Self, ListenError> {
        let listener = listener::listen_tcp(own)?;
        let links = (0..LINKS_MAX).map(|_| None).collect();
        let scratch = Vec::new();
        let (dialling, links_ever, dials_ever) = (None, 0, 0);
        Ok(Self { listener, own, peer, links, dialling, links_ever, dials_ever, scratch })
    }

    /// Starts to wait for connections; again after each [`PeerPort::accept`].
    pub(super) fn listen(&self, ring: &mut Ring) {
        let token = Token { source: Source::PeerListener, place: 0, use_number: 0 }.pack();
        let fd = self.listener.as_fd();
        ring.submit(token, Operation::Poll { fd, interest: Interest::Readable });
    }

    /// Takes the connections that wait.
    pub(super) fn accept(&mut self, ring: &mut Ring, inputs: &mut VecDeque<Input>) {
        for _ in 0..ACCEPTS_PER_TURN {
            match listener::accept_one(&self.listener) {
                Ok(Some(socket)) => self.add(ring, socket, LinkOrigin::Accepted, inputs),
                Ok(None) => break,
                Err(errno) => {
                    tracing::warn!("a connection on the peer's port was not accepted: {errno}");
                    break;
                }
            }
        }
        self.listen(ring);
    }

    /// Dials once. A dial under way stays the one.
    pub(super) fn dial(&mut self, ring: &mut Ring, now: Moment, inputs: &mut VecDeque<Input>) {
        if self.dialling.is_some() {
            return;
        }
        match listener::dial(self.own.ip(), self.peer) {
            Ok(fd) => {
                self.dials_ever = self.dials_ever.wrapping_add(1);
                let use_number = self.dials_ever;
                let token = Token { source: Source::Dial, place: 0, use_number }.pack();
                let writable = Interest::Writable;
                ring.submit(token, Operation::Poll { fd: fd.as_fd(), interest: writable });
                let deadline = now.after(Duration::from_millis(DIAL_TIMEOUT_MS));
                self.dialling = Some(Dialling { fd, use_number, deadline });
            }
            Err(errno) => inputs.push_back(self.dial_failed(errno)),
        }
    }

    /// The connect is decided.
    pub(super) fn dialled(&mut self, ring: &mut Ring, token: Token, inputs: &mut VecDeque<Input>) {
        if self.dialling.as_ref().is_none_or(|dial| dial.use_number != token.use_number) {
            return;
        }
        let Some(dialling) = self.dialling.take() else { return };
        match listener::dial_result(&dialling.fd) {
            Ok(()) => self.add(ring, dialling.fd, LinkOrigin::Dialled, inputs),
            Err(errno) => inputs.push_back(self.dial_failed(errno)),
        }
    }

    /// Queues a message; one for a link that is gone is forgotten, the engine hears of its end.
    pub(super) fn send(
        &mut self,
        arena: &mut Arena,
        id: LinkId,
        message: &Message,
        payload: Option<Payload>,
        lane: Lane,
    ) {
        let Self { links, scratch, .. } = self;
        let found = links.iter_mut().flatten().find(|place| place.link.id() == id);
        if let Some(Place { link, leaving: None }) = found {
            link.send(arena, scratch, message, payload, lane);
        }
    }

    /// Closes a link; nothing of it is delivered any more.
    pub(super) fn close(&mut self, ring: &mut Ring, id: LinkId, how: CloseHow, now: Moment) {
        let Some(index) = self.index_of(id) else { return };
        match how {
            CloseHow::Abort => {
                if let Some(place) = self.links[index].take() {
                    listener::reset(place.link.socket());
                    place.link.close(ring);
                }
            }
            CloseHow::AfterSending => {
                let deadline = now.after(Duration::from_millis(CLOSING_MS_MAX));
                if let Some(place) = &mut self.links[index] {
                    place.link.discard();
                    place.leaving = Some(Leaving { deadline, is_shut: false });
                }
            }
        }
    }

    /// Takes the result of a receive and gives the messages that are whole.
    pub(super) fn received(
        &mut self,
        ring: &mut Ring,
        token: Token,
        result: i32,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(place) = self.place(token) else { return };
        let id = place.link.id();
        let outcome = place.link.arrived(result).and_then(|()| {
            if place.leaving.is_some() {
                place.link.discard();
                return Ok(());
            }
            while let Some((message, payload)) = place.link.next(ring.arena_mut())? {
                inputs.push_back(Input::Received { link: id, message, payload });
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.drop_link(ring, token, &error, inputs);
        }
    }

    /// Takes the result of a send.
    pub(super) fn sent(
        &mut self,
        ring: &mut Ring,
        token: Token,
        result: i32,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(place) = self.place(token) else { return };
        if let Err(error) = place.link.sent(ring, result) {
            self.drop_link(ring, token, &error, inputs);
        }
    }

    /// Starts sends and receives on all links, and takes leave of those that are done.
    pub(super) fn kick(&mut self, ring: &mut Ring) {
        for place in self.links.iter_mut().flatten() {
            place.link.kick(ring);
            if let Some(leaving) = &mut place.leaving
                && !leaving.is_shut
                && place.link.is_sent()
            {
                leaving.is_shut = true;
                // A socket that is dead already needs no farewell.
                let _ = rustix::net::shutdown(place.link.socket(), Shutdown::Write);
            }
        }
    }

    /// The next moment at which [`PeerPort::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let leaving = self.links.iter().flatten().filter_map(|place| place.leaving);
        let dialling = self.dialling.as_ref().map(|dial| dial.deadline);
        leaving.map(|leaving| leaving.deadline).chain(dialling).min()
    }

    /// Ends what has lasted too long.
    pub(super) fn expire(&mut self, ring: &mut Ring, now: Moment, inputs: &mut VecDeque<Input>) {
        if let Some(dial) = self.dialling.take_if(|dial| dial.deadline <= now) {
            ring.cancel(
                Token { source: Source::Dial, place: 0, use_number: dial.use_number }.pack(),
            );
            inputs.push_back(self.dial_failed(Errno::TIMEDOUT));
            if let Err(error) = ring.close(dial.fd) {
                tracing::warn!("a dial was closed late: {error}");
            }
        }
        for index in 0..self.links.len() {
            let is_late = |place: &mut Place| place.leaving.is_some_and(|end| end.deadline <= now);
            if let Some(place) = self.links[index].take_if(is_late) {
                place.link.close(ring);
            }
        }
    }

    /// True when no link has anything left to send.
    pub(super) fn is_quiet(&self) -> bool {
        self.links.iter().flatten().all(|place| place.link.is_sent())
    }

    fn add(
        &mut self,
        ring: &mut Ring,
        socket: OwnedFd,
        origin: LinkOrigin,
        inputs: &mut VecDeque<Input>,
    ) {
        if let Err(errno) = listener::prepare_peer(&socket) {
            tracing::warn!("a connection to the peer was not usable: {errno}");
            self.not_added(origin, inputs);
            return;
        }
        let Some(index) = self.links.iter().position(Option::is_none) else {
            let name = listener::peer_name(&socket);
            tracing::warn!(
                "too many connections on the peer's port: the one from {name} is closed"
            );
            self.not_added(origin, inputs);
            return;
        };
        self.links_ever += 1;
        let id = LinkId(self.links_ever);
        let place = u16::try_from(index).expect("invariant: there are few links");
        match PeerLink::new(ring.arena_mut(), id, place, socket) {
            Some(link) => {
                self.links[index] = Some(Place { link, leaving: None });
                inputs.push_back(Input::LinkUp { link: id, origin });
            }
            // Buffers of a link that was just closed may still be with the kernel.
            None => self.not_added(origin, inputs),
        }
    }

    fn not_added(&self, origin: LinkOrigin, inputs: &mut VecDeque<Input>) {
        match origin {
            LinkOrigin::Dialled => inputs.push_back(self.dial_failed(Errno::NOBUFS)),
            LinkOrigin::Accepted => {}
        }
    }

    fn dial_failed(&self, errno: Errno) -> Input {
        Input::DialFailed { reason: format!("cannot connect to {}: {errno}", self.peer) }
    }

    fn index_of(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|place| place.as_ref().is_some_and(|one| one.link.id() == id))
    }

    /// The link that a completion belongs to, unless it is gone.
    fn place(&mut self, token: Token) -> Option<&mut Place> {
        let place = self.links[usize::from(token.place)].as_mut()?;
        let current = place.link.token(token.source);
        (current == token).then_some(place)
    }

    fn drop_link(
        &mut self,
        ring: &mut Ring,
        token: Token,
        error: &LinkError,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(place) = self.links[usize::from(token.place)].take() else { return };
        if place.leaving.is_none() {
            let reason = error.to_string();
            inputs.push_back(Input::LinkDown { link: place.link.id(), reason });
        }
        place.link.close(ring);
    }
}
