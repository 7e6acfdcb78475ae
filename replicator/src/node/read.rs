//! Clients' reads: from the own disk, which is UpToDate whenever the export is open (D12).

use super::Node;
use super::route::Purpose;
use crate::event::{ClientError, IoOutcome, Level, Output};
use crate::ids::{BufferId, RequestId};
use crate::state::{DiskState, Role};
use metadata::units::ByteRange;

impl Node {
    pub(super) fn client_read(&mut self, request: RequestId, range: ByteRange, buffer: BufferId) {
        if self.role != Role::Primary || self.replica.state() != DiskState::UpToDate {
            self.fail_request(request);
            self.wish(Output::Release(buffer));
            return;
        }
        self.reads_open += 1;
        self.counters.client_reads += 1;
        let io = self.io(Purpose::ClientRead { request, buffer, bytes: range.bytes() });
        self.wish(Output::DiskRead { io, range, buffer, checksum: false });
    }

    pub(super) fn client_read_done(
        &mut self,
        request: RequestId,
        buffer: BufferId,
        bytes: u64,
        outcome: IoOutcome,
    ) {
        self.reads_open -= 1;
        let result = match outcome {
            IoOutcome::Done { .. } => {
                self.counters.client_read_bytes += bytes;
                self.counters.disk_read_bytes += bytes;
                Ok(())
            }
            IoOutcome::Failed { errno } => {
                self.notice(
                    Level::Error,
                    format!("a read of the local disk failed with error {errno}; check the disk"),
                );
                Err(ClientError::Io)
            }
        };
        self.wish(Output::Reply { request, result });
        self.wish(Output::Release(buffer));
        self.demote_when_quiet();
    }
}
