//! The door of the front end: listening sockets for NBD, the sessions, and whether they are let
//! in.

use super::map::MapWish;
use super::news::Teller;
use super::request::PieceName;
use super::session::{Session, SessionEnd, Surroundings};
use crate::dataplane::listener::{self, ListenError};
use crate::dataplane::token::{Source, Token};
use crate::ring::{Interest, Operation, Ring};
use nbd_server::{Availability, Export, ExtentList};
use replicator::event::{ClientError, Input};
use replicator::ids::{Moment, RequestId};
use replicator::settings::Settings;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Clients at once; a connection beyond it is closed at once.
const SESSIONS_MAX: usize = 32;
/// The kernel's client has a place of its own behind theirs.
const KERNEL_PLACE: usize = SESSIONS_MAX;
/// Places of sessions.
pub(crate) const PLACES: usize = SESSIONS_MAX + 1;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 8;

#[derive(Debug)]
struct Listening {
    fd: OwnedFd,
    is_tcp: bool,
}

/// What the I/O thread knows of clients.
#[derive(Debug)]
pub(crate) struct FrontEnd {
    listening: Vec<Listening>,
    socket_path: PathBuf,
    sessions: Vec<Option<Session>>,
    sessions_ever: u32,
    availability: Availability,
    name: String,
    budget_bytes: u64,
    clients_told: u32,
    attached_told: bool,
    first_served: usize,
    is_shut: bool,
    news: Teller,
    maps: VecDeque<MapWish>,
}

impl FrontEnd {
    /// Listens on the unix socket and, if there is one, on the TCP address. Clients are turned away
    /// until the export is opened. `budget_bytes` is what one client may have open; `news` tells
    /// whoever looks after the kernel's device.
    ///
    /// # Errors
    /// When one of them cannot be listened on.
    pub(crate) fn open(
        settings: &Settings,
        socket_path: &Path,
        tcp: Option<SocketAddr>,
        budget_bytes: u64,
        news: Teller,
    ) -> Result<Self, ListenError> {
        let unix = listener::listen_unix(socket_path)?;
        let mut listening = vec![Listening { fd: unix, is_tcp: false }];
        if let Some(address) = tcp {
            listening.push(Listening { fd: listener::listen_tcp(address)?, is_tcp: true });
        }
        // A daemon starts as Secondary, and stays it until it is told otherwise.
        let (name, me, peer) = (&settings.resource, settings.my_name(), settings.peer_name());
        let message = format!(
            "resource {name} on {me} is Secondary; use {peer}, or run 'blkrep primary {name}' on {me}"
        );
        Ok(Self {
            listening,
            socket_path: socket_path.to_owned(),
            sessions: (0..PLACES).map(|_| None).collect(),
            sessions_ever: 0,
            availability: Availability::Refused { name: name.clone(), message },
            name: name.clone(),
            budget_bytes,
            clients_told: 0,
            attached_told: false,
            first_served: 0,
            is_shut: false,
            news,
            maps: VecDeque::new(),
        })
    }

    /// Starts to wait for connections on all sockets.
    pub(crate) fn listen(&self, ring: &mut Ring) {
        for place in 0..self.listening.len() {
            self.listen_on(ring, place);
        }
    }

    /// Takes the connections that wait on one socket.
    pub(crate) fn accept(&mut self, ring: &mut Ring, place: u16, now: Moment) {
        let at = usize::from(place);
        for _ in 0..ACCEPTS_PER_TURN {
            let Listening { fd, is_tcp } = &self.listening[at];
            match listener::accept_one(fd) {
                Ok(Some(socket)) => {
                    let prepared = listener::prepare_client(&socket, *is_tcp);
                    if prepared.is_ok() && !self.add(ring, socket, now) {
                        tracing::warn!("too many NBD connections: another one is closed");
                    }
                }
                Ok(None) => break,
                Err(errno) => {
                    tracing::warn!("an NBD connection was not accepted: {errno}");
                    break;
                }
            }
        }
        self.listen_on(ring, at);
    }

    /// Lets clients in.
    pub(crate) fn open_export(&mut self, size_bytes: u64, block_bytes_min: u32, trim: bool) {
        if self.is_shut {
            return;
        }
        let mut export = Export::new(self.name.clone(), size_bytes);
        export.block_bytes_min = block_bytes_min;
        export.block_bytes_preferred = export.block_bytes_preferred.max(block_bytes_min);
        let budget = u32::try_from(self.budget_bytes).unwrap_or(u32::MAX);
        export.payload_bytes_max = export.payload_bytes_max.min(budget);
        export.can_multi_conn = true;
        export.trim = trim;
        match export.check() {
            Ok(()) => {
                if let Some(kernel) = &mut self.sessions[KERNEL_PLACE] {
                    kernel.grow(size_bytes);
                }
                self.news.export(Some(&export));
                self.availability = Availability::Served(export);
            }
            Err(error) => self.close_export(format!("the device cannot be served: {error}")),
        }
    }

    /// Turns clients away.
    pub(crate) fn close_export(&mut self, message: String) {
        self.news.export(None);
        self.availability = Availability::Refused { name: self.name.clone(), message };
    }

    /// Takes the server's end of the socket of the kernel's device. It counts as a client.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn adopt(
        &mut self,
        ring: &mut Ring,
        socket: OwnedFd,
        inputs: &mut VecDeque<Input>,
    ) -> Result<(), String> {
        let Availability::Served(export) = &self.availability else {
            return Err("this node is not Primary any more".to_owned());
        };
        if self.sessions[KERNEL_PLACE].is_some() {
            return Err("its last connection has not ended".to_owned());
        }
        self.sessions_ever = self.sessions_ever.wrapping_add(1);
        let place = u16::try_from(KERNEL_PLACE).expect("invariant: there are few sessions");
        let (use_number, export) = (self.sessions_ever, export.clone());
        let session = Session::of_kernel(ring.arena_mut(), place, use_number, socket, export);
        self.sessions[KERNEL_PLACE] = Some(session.ok_or("there is no buffer for it")?);
        self.tell_clients(inputs);
        Ok(())
    }

    /// A promotion, or the end of one: whoever looks after the kernel's device goes by it.
    pub(crate) fn promotion(&self, promotion: Option<String>) {
        self.news.promotion(promotion);
    }

    /// Ends all sessions and lets nobody in any more: the daemon ends.
    pub(crate) fn shut(&mut self, ring: &mut Ring, inputs: &mut VecDeque<Input>) {
        self.is_shut = true;
        self.close_export("the daemon is ending; connect to the other node".to_owned());
        for place in &mut self.sessions {
            if let Some(session) = place.take() {
                session.close(ring);
            }
        }
        self.tell_clients(inputs);
    }

    /// Takes the result of a receive.
    pub(crate) fn received(
        &mut self,
        ring: &mut Ring,
        token: Token,
        result: i32,
        inputs: &mut VecDeque<Input>,
    ) {
        self.with_session(ring, token, inputs, |session, around| {
            session.arrived(result)?;
            session.advance(around)
        });
    }

    /// Takes the result of a send.
    pub(crate) fn sent(
        &mut self,
        ring: &mut Ring,
        token: Token,
        result: i32,
        inputs: &mut VecDeque<Input>,
    ) {
        let Some(session) = self.session(token) else { return };
        if let Err(end) = session.sent(ring, result) {
            self.end(ring, token.place, &end, inputs);
        }
    }

    /// Takes the engine's answer to a piece; one of a session that is gone is forgotten.
    pub(crate) fn reply(
        &mut self,
        ring: &mut Ring,
        id: RequestId,
        result: Result<(), ClientError>,
        inputs: &mut VecDeque<Input>,
    ) {
        let PieceName { use_number, place, slot, .. } = PieceName::unpack(id);
        let token = Token { source: Source::ClientReceive, place, use_number };
        self.with_session(ring, token, inputs, |session, around| {
            session.piece_done(around, slot, result)
        });
    }

    /// The next question for the disk.
    pub(crate) fn next_map(&mut self) -> Option<MapWish> {
        self.maps.pop_front()
    }

    /// Takes the answer to a question; one of a session that is gone is forgotten.
    pub(crate) fn mapped(
        &mut self,
        ring: &mut Ring,
        wish: &MapWish,
        extents: ExtentList,
        inputs: &mut VecDeque<Input>,
    ) {
        let PieceName { use_number, place, slot, .. } = wish.name();
        let token = Token { source: Source::ClientReceive, place, use_number };
        self.with_session(ring, token, inputs, |session, around| {
            session.mapped(around, slot, extents)
        });
    }

    /// Goes on with sessions that waited for buffers; every turn another one comes first.
    pub(crate) fn resume(&mut self, ring: &mut Ring, inputs: &mut VecDeque<Input>) {
        self.first_served = (self.first_served + 1) % PLACES;
        for step in 0..PLACES {
            let place = (self.first_served + step) % PLACES;
            let starved = self.sessions[place].as_ref().filter(|session| session.is_starved);
            if let Some(token) = starved.map(|session| session.token(Source::ClientReceive)) {
                self.with_session(ring, token, inputs, Session::advance);
            }
        }
        self.tell_clients(inputs);
    }

    /// Starts sends and receives of all sessions.
    pub(crate) fn kick(&mut self, ring: &mut Ring) {
        for session in self.sessions.iter_mut().flatten() {
            session.kick(ring);
        }
    }

    /// The next moment at which [`FrontEnd::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.sessions.iter().flatten().filter_map(Session::deadline).min()
    }

    /// Ends handshakes that have lasted too long.
    pub(crate) fn expire(&mut self, ring: &mut Ring, now: Moment, inputs: &mut VecDeque<Input>) {
        for place in 0..self.sessions.len() {
            let is_late = |session: &Session| session.deadline().is_some_and(|at| at <= now);
            if self.sessions[place].as_ref().is_some_and(is_late) {
                let place = u16::try_from(place).expect("invariant: there are few sessions");
                self.end(ring, place, &SessionEnd::HandshakeTimeout, inputs);
            }
        }
    }

    /// Removes the unix socket, so that clients see at once that nobody is there.
    pub(crate) fn remove_socket(&self) {
        if let Err(error) = std::fs::remove_file(&self.socket_path) {
            tracing::warn!("{} was not removed: {error}", self.socket_path.display());
        }
    }

    fn listen_on(&self, ring: &mut Ring, place: usize) {
        let fd = self.listening[place].fd.as_fd();
        let place = u16::try_from(place).expect("invariant: there are two listening sockets");
        let token = Token { source: Source::ClientListener, place, use_number: 0 }.pack();
        ring.submit(token, Operation::Poll { fd, interest: Interest::Readable });
    }

    fn add(&mut self, ring: &mut Ring, socket: OwnedFd, now: Moment) -> bool {
        let free = self.sessions[..SESSIONS_MAX].iter().position(Option::is_none);
        let Some(index) = free else { return false };
        let place = u16::try_from(index).expect("invariant: there are few sessions");
        self.sessions_ever = self.sessions_ever.wrapping_add(1);
        let use_number = self.sessions_ever;
        self.sessions[index] = Session::new(ring.arena_mut(), place, use_number, socket, now);
        self.sessions[index].is_some()
    }

    fn session(&mut self, token: Token) -> Option<&mut Session> {
        let session = self.sessions[usize::from(token.place)].as_mut()?;
        (session.use_number == token.use_number).then_some(session)
    }

    fn with_session(
        &mut self,
        ring: &mut Ring,
        token: Token,
        inputs: &mut VecDeque<Input>,
        work: impl FnOnce(&mut Session, &mut Surroundings<'_>) -> Result<(), SessionEnd>,
    ) {
        let Self { sessions, availability, budget_bytes, maps, .. } = self;
        let Some(session) = &mut sessions[usize::from(token.place)] else { return };
        if session.use_number != token.use_number {
            return;
        }
        let budget_bytes = *budget_bytes;
        let arena = ring.arena_mut();
        let mut around = Surroundings { arena, availability, inputs, maps, budget_bytes };
        if let Err(end) = work(session, &mut around) {
            self.end(ring, token.place, &end, inputs);
        }
    }

    fn end(&mut self, ring: &mut Ring, place: u16, end: &SessionEnd, inputs: &mut VecDeque<Input>) {
        let Some(session) = self.sessions[usize::from(place)].take() else { return };
        if session.is_client() {
            tracing::info!("an NBD client is gone: {end}");
        } else {
            tracing::debug!("an NBD connection is over: {end}");
        }
        session.close(ring);
        self.tell_clients(inputs);
    }

    fn tell_clients(&mut self, inputs: &mut VecDeque<Input>) {
        let count = self.sessions.iter().flatten().filter(|session| session.is_client()).count();
        let count = u32::try_from(count).expect("invariant: there are few sessions");
        let is_attached = self.sessions[KERNEL_PLACE].is_some();
        if is_attached != self.attached_told {
            self.attached_told = is_attached;
            self.news.attached(is_attached);
        }
        if count != self.clients_told {
            self.clients_told = count;
            self.news.clients(count > 0);
            inputs.push_back(Input::Clients(count));
        }
    }
}
