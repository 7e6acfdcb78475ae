//! Deliberate breaks of the rules, for the simulator alone: a proof that it would notice.
//!
//! Compiled in by the feature `mutations`. The engine asks `Node::breaks` where a rule is kept;
//! without the feature the answer is a constant.

macro_rules! mutations {
    ($($name:ident: $what:literal;)+) => {
        /// One rule, broken in one place.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $(
                #[doc = $what]
                $name,
            )+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// The rule, and what is done instead.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what),+ }
            }
        }
    };
}

mutations! {
    AckBeforePeer: "D2: a write is answered when the own disk has it";
    SkipLogWrite: "D1: a cold extent counts as hot at once";
    EqualClearsAtOnce: "D7: blocks that a comparison found equal are cleared without a flush";
    ThrottleAfterGrant: "D6: a pause holds ranges that are granted already";
    GrantDespiteBits: "D9: the end of a resync is granted although bits are set";
    IgnoreBeforeTarget: "D9: a before-resync-target handler that fails forbids nothing";
    NoHardLimit: "D4: writes go on however much is unflushed";
    NoNotice: "D17: the peer is not told of a bit that is set while connected";
    ZeroLargerThanLog: "D1: a zeroing that spans more extents than a quarter of the log is not cut";
    SkipRotation: "G2: no new generation before an answer alone";
    AnswerBeforeTakeOver: "D10: clients are answered before the peer has taken over";
    HandOverWithoutGeneration: "D10, G2: the peer goes on on the generation of the lost disk";
    FarKeeperSkipsLog: "D1: the peer writes for a diskless Primary without a log";
    SoleCopyAcknowledgesCached: "D18: the only copy acknowledges what is not flushed";
    LeftDiskStaysUpToDate: "D10: a disk that leaves is not marked";
    BadBlockStaysUpToDate: "D12: a disk with a block that failed stays UpToDate";
    ServeStaleRead: "D12: a read is served from blocks that are out of sync";
    ResumeOnAnotherGeneration: "G7: a diskless Primary goes on on any generation";
    AnswerWhileFrozen: "G5: what was in flight is answered while clients' I/O is frozen";
    RotateWhileFrozen: "G2: a new generation begins while frozen, although the peer may come back";
    StaleFencingCounts: "G5: a fence-peer result counts although the connection came back meanwhile";
    UpToDateBeforePeersMark: "G5: whole data are UpToDate before the peer has unmarked them as outdated";
    PeerOutdatedClearedLate: "G5: the mark that the peer is outdated is cleared after the grant";
    FreezeAfterAnswering: "G5: clients' I/O is frozen after what was in flight was answered";
    FencedAlone: "G5: a lone node that restarts under fencing counts as UpToDate";
    NoDiskTimeout: "D15: a disk that answers nothing is waited for";
    GivenUpDiskHoldsUp: "D15: I/O of a disk that was given up turns handshakes away";
    AnswerAfterStall: "D19: clients are answered after a stall without a sign of the peer";
    ResumeWithoutConsent: "G4: a restarted Primary resumes without asking anybody";
    ResumeCountsAsPromotion: "D16: the promotion number is raised by a resume";
}
