//! What a test sees of a scripted pair: states, answers, links.

use crate::pair::{ALPHA, BETA, Pair};
use replicator::event::{Answer, ClientError, RefusalClass};
use replicator::ids::{CommandId, LinkId, RequestId};
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use replicator::status::Status;

/// What can be seen of the nodes.
impl Pair {
    /// The picture that a node has of the resource.
    pub(crate) fn status(&self, index: usize) -> Status {
        self.hosts[index].node.status(self.now)
    }

    /// How a client's request ended; none: not yet.
    pub(crate) fn reply(
        &self,
        index: usize,
        request: RequestId,
    ) -> Option<Result<(), ClientError>> {
        self.hosts[index].replies.get(&request).copied()
    }

    /// The command was answered, in whatever way.
    pub(crate) fn is_answered(&self, index: usize, command: CommandId) -> bool {
        self.hosts[index].answers.contains_key(&command)
    }

    /// The command was carried out.
    pub(crate) fn is_done(&self, index: usize, command: CommandId) -> bool {
        self.hosts[index].answers.get(&command) == Some(&Answer::Done)
    }

    /// The class of the command's refusal; none: it was not refused, or not yet.
    pub(crate) fn refusal(&self, index: usize, command: CommandId) -> Option<RefusalClass> {
        match self.hosts[index].answers.get(&command)? {
            Answer::Refused(refusal) => Some(refusal.class),
            Answer::Done | Answer::Status(_) => None,
        }
    }

    /// The node still has this link.
    pub(crate) fn has_link(&self, index: usize, link: LinkId) -> bool {
        self.hosts[index].links.contains(&link)
    }

    /// How many of the two are Primary.
    pub(crate) fn primaries(&self) -> usize {
        [ALPHA, BETA].into_iter().filter(|i| self.status(*i).role == Role::Primary).count()
    }

    /// Both see a connection and the own disk and the peer's in these states (alpha's, beta's).
    pub(crate) fn assert_connected(&self, alpha: DiskState, beta: DiskState) {
        for (index, own, other) in [(ALPHA, alpha, beta), (BETA, beta, alpha)] {
            let status = self.status(index);
            let seen = (status.connection, status.disk, status.peer_disk);
            let who = &status.node_name;
            assert_eq!(seen, (ConnectionState::Connected, own, other), "as {who} sees it");
        }
    }

    /// Connected, no resync, both disks good and equal.
    pub(crate) fn assert_in_sync(&self) {
        self.assert_connected(DiskState::UpToDate, DiskState::UpToDate);
        for index in [ALPHA, BETA] {
            let status = self.status(index);
            assert_eq!(status.replication, ReplicationState::Established, "{}", status.node_name);
            assert_eq!(status.out_of_sync_blocks, 0, "{}", status.node_name);
        }
    }
}
