//! Clients' reads: from the own disk if it is UpToDate or the whole range is in sync there, else
//! from the peer's (D12).

use super::Node;
use super::access::Gate;
use super::route::Purpose;
use crate::event::{ClientError, IoOutcome, Output};
use crate::ids::{BufferId, RequestId};
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use metadata::units::ByteRange;

/// A client's read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientRead {
    pub(super) request: RequestId,
    pub(super) range: ByteRange,
    pub(super) buffer: BufferId,
}

/// Where a read is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    There,
    /// Wait.
    Hold,
    Nowhere,
}

impl Node {
    pub(super) fn client_read(&mut self, request: RequestId, range: ByteRange, buffer: BufferId) {
        self.reads_open += 1;
        self.counters.client_reads += 1;
        self.read_start(ClientRead { request, range, buffer });
    }

    fn read_place(&self, range: ByteRange) -> Place {
        if self.role == Role::Primary && self.replica.state() == DiskState::UpToDate {
            // Also in a handshake: what this node has is what its clients have seen.
            return Place::Here;
        }
        match self.gate() {
            Gate::Hold => Place::Hold,
            Gate::Fail => Place::Nowhere,
            Gate::Mirror | Gate::Alone | Gate::Remote => {
                let in_sync = self.replica.attached().is_some_and(|disk| {
                    disk.bitmap.all_clear_in(range.blocks_touched())
                        || self.breaks(Mutation::ServeStaleRead)
                });
                if in_sync { Place::Here } else { Place::There }
            }
        }
    }

    fn read_start(&mut self, read: ClientRead) {
        match self.read_place(read.range) {
            Place::Here => {
                let ClientRead { request, range, buffer } = read;
                self.reads_here += 1;
                let io = self.io(Purpose::ClientRead { request, buffer, range });
                self.wish(Output::DiskRead { io, range, buffer, checksum: false });
            }
            Place::There => self.far_read_begin(read),
            Place::Hold => self.reads_parked.push_back(read),
            Place::Nowhere => self.fail_read(read),
        }
    }

    pub(super) fn fail_read(&mut self, read: ClientRead) {
        self.read_over(read, Err(self.client_error()));
    }

    /// Something has changed that reads wait for.
    pub(super) fn reads_resume(&mut self) {
        for read in std::mem::take(&mut self.reads_parked) {
            self.read_start(read);
        }
        self.far_reads_more();
    }

    pub(super) fn client_read_done(
        &mut self,
        request: RequestId,
        buffer: BufferId,
        range: ByteRange,
        outcome: IoOutcome,
    ) {
        self.reads_here -= 1;
        let read = ClientRead { request, range, buffer };
        match outcome {
            IoOutcome::Done { .. } => {
                self.counters.disk_read_bytes += range.bytes();
                self.read_answer(read);
            }
            IoOutcome::Failed { errno } => {
                self.read_failed(range, errno);
                self.read_start(read);
            }
        }
    }

    /// The disk was given up and does not return what it has begun: clients get their errors. The
    /// buffers are its own until it does (D15), so nothing else can be read into them.
    pub(super) fn reads_on_hung_disk_fail(&mut self) {
        if self.breaks(Mutation::HungReadsWait) {
            return;
        }
        for key in self.ios.keys() {
            let Some(purpose) = self.ios.get_mut(key) else { continue };
            if let Purpose::ClientRead { request, buffer, .. } = *purpose {
                *purpose = Purpose::VoidRead(buffer);
                self.reads_here -= 1;
                self.reads_open -= 1;
                self.reply(request, Err(ClientError::Io), None);
            }
        }
    }

    /// The buffer holds what was asked for.
    pub(super) fn read_answer(&mut self, read: ClientRead) {
        self.counters.client_read_bytes += read.range.bytes();
        self.read_over(read, Ok(()));
    }

    fn read_over(&mut self, read: ClientRead, result: Result<(), ClientError>) {
        self.reads_open -= 1;
        self.reply(read.request, result, Some(read.buffer));
    }
}
