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
    StaleDigestCounts: "D7: a comparison counts although the target was written to meanwhile";
    WindowOutlivesData: "D2: without good data writes wait on for a place in the peer's window";
    HeldAnswersOutliveData: "D2: what was held back is answered although no good copy is left";
    QuietUnheard: "D8: a demotion that waits until nothing is under way does not hear when that is so";
    DemotionNeedsDisk: "D8: a demotion waits for the mark of a disk that failed under its flush";
    SourceMayLeave: "D10: a disk is detached while the peer is asked to give its data up for it";
    HungReadsWait: "D15: clients wait for reads of a hung disk that was given up";
    DetachWaitsForParked: "D15: a detach waits for reads that wait for the detach";
    FrozenWithoutDisk: "G5: a frozen Primary whose disk is gone does not hear that the peer is fenced";
    RefusalEndsConsent: "F22g: a refusal of one's own dropped offer ends what the peer was promised";
    TargetHandlerFreezes: "G5: before-resync-target runs while the Primary's I/O is frozen";
    DetachStarves: "D15: a detach waits as long as the peer's clients write";
    LossUnnoticedInSession: "D4: a peer lost at the start of a resync in a session is not noticed";
    AdoptionUnsaid: "D9: a Primary that lost its disk is not told that the target has adopted its grant";
    NewGenerationUnexposed: "G7: new-current-uuid on a Primary is none that its clients have seen";
    DetachAnswersEarly: "D10: a detach is over before the peer has taken the data over";
    DetachFlushesAlone: "D10: a Primary that detaches flushes its own disk alone";
    HandOverTrustsCache: "G7: a peer that lost power before it took over counts as if it had not";
    DegradedTrustsCache: "G7: a peer that lost power serves a Primary whose disk went bad meanwhile";
    DegradesInHandshake: "G1: a block that goes bad in a handshake changes nothing of what was said";
    FailedFlushKeepsCache: "D3: a disk whose flush failed counts as if it had kept its cache";
    PromotedPastFencing: "G5: a peer lost while the mark of a promotion is written is not fenced";
    ServedGenerationForgotten: "G2: a source forgets that a Primary serves its generation";
    ThrottleAfterGrant: "D6: a pause holds ranges that are granted already";
    GrantDespiteBits: "D9: the end of a resync is granted although bits are set";
    IgnoreBeforeTarget: "D9: a before-resync-target handler that fails forbids nothing";
    NoHardLimit: "D4: writes go on however much is unflushed";
    NoNotice: "D17: the peer is not told of a bit that is set while connected";
    ZeroLargerThanLog: "D1: a zeroing that spans more extents than a quarter of the log is not cut";
    AckBeforeOwnDisk: "D2: a write is answered when the peer has it";
    AloneWithoutBits: "D2: what is written alone sets no bits";
    OverlapNotSerialised: "D6: overlapping writes and resync grants go on at once";
    FlushByOwnDisk: "D3: FLUSH is answered when the own disk has flushed";
    PeerSkipsFlush: "D3: the peer answers a flush without flushing";
    FuaPlainOnPeer: "D3: a FUA write is a plain one on the peer";
    ForgetUnflushedAtLoss: "D4: what the lost peer had not flushed is not marked";
    InFlightNotMarked: "D4: what was in flight to the lost peer is not marked";
    PartFlushClears: "D4: a FUA write of a part of a block counts for the whole block";
    EmptySetOnFlush: "D4: a flush counts for what was written since it was sent";
    UnflushedLeavesLog: "D5: an extent with unflushed writes leaves the log";
    PeerFlushLeavesLog: "D5: an extent leaves the log when the peer alone has flushed";
    BitsAfterEviction: "D5: an extent leaves the log before its bits are durable";
    BitsSetInwards: "D7: of what is written alone only whole blocks are marked";
    BitmapsNotUnited: "D7: the peer's bitmap is read and not united with the own one";
    BitsDoNotCount: "D7: bits do not count when the identifiers agree";
    ClearBeforeTargetFlushed: "D7: bits fall when the source has flushed";
    LogEmptiedBeforeBits: "D8: after a crash the log is emptied before its bits are durable";
    CrashForgotten: "D8: a crashed Primary does not mark that it was one";
    ExportBeforeMark: "D8: the export opens before the primary mark is durable";
    DemoteUnflushed: "D8: demotion flushes neither disk";
    FullSyncOfSetBits: "D9: a full sync copies only what the bitmap says";
    TargetNotDurable: "D9: a target takes data before it is durably Inconsistent";
    RetireBeforeConfirm: "D9: the source retires its bitmap identifier with the grant";
    SuperblockCopiesAtOnce: "D13: both copies of the superblock are one write";
    AdmitWhileBusy: "D15: a connection is admitted while I/O of the old one is under way";
    PromoteWhileBusy: "D15: a promotion does not wait for I/O of the peer";
    CrossingDialsRace: "F22b: a dial of the peer is let in while the own one, which stays, is up";
    DeadDialReplaces: "D15: a greeting alone, without an answer to the own one, is a new connection";
    OldConnectionReadOn: "D15: the old connection is read on after a new one is admitted";
    WriteDuringHandshake: "D17: writes go on alone while a handshake is under way";
    LostPowerForgotten: "G1: a node does not mark that it lost power";
    ResizeWithoutBits: "D20: the new part's bits are not set before the size is committed";
    ResizeForgottenWithoutDisk: "D20: a node that loses its disk exports the size of before a resize";
    ResizeUnasked: "D20: the Primary commits and uses the new size before the peer has committed";
    ResizeOldEndLost: "D20: the place where the disk ended before it grew is not searched";
    SizeServedEarly: "D20: clients are told the size taken in a handshake before it is durable";
    ResizeKeepsLarger: "D20: a node that alone has the commit keeps the larger size at the handshake";
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
    ResumePastThePeer: "D16: a resume goes on as one with a peer that has been Primary since";
    ResumeCountsAsPromotion: "D16: the promotion number is raised by a resume";
    RotateAgain: "G2: each answer alone begins a new generation";
    RotationBlockedByBitmap: "G2: no new generation while there is a bitmap identifier";
    PromoteOnOldGeneration: "G2: a promotion alone begins no generation";
    GenerationOnUnflushedDisk: "G2: a generation begins on a disk that was not flushed";
    SourceNotFlushed: "G2: a resync begins on a source that was not flushed";
    GrantWithoutMark: "G2: a grant is sent without the mark that the peer may hold the generation";
    PeersGenerationStays: "G7: the peer counts as having the generation of the handshake for ever";
    HeardRoleForbids: "G4: a promotion is refused because the peer was Primary when it was last heard";
    PromoteUnasked: "G4: a connected node is promoted without asking the peer";
    CrossingPromotionsGranted: "G4: of two crossing requests for promotion both are granted";
    RotateAtLoss: "G2: a generation begins at the loss of the peer, acknowledged or not";
    NoMarkAtSyncStart: "G2: a resync between equal identifiers leaves the peer-may-hold mark off";
    LostPowerClearedByAttach: "G1(a): an attach in the same boot clears the lost-power mark";
    LostStartCopiesAll: "G1: a start of a resync that never arrived is a full sync, not rules 51 and 71";
    HistoryNotCovered: "G1(b): it is not said that the bitmap covers the youngest history entry, too";
    NoLostMessageRules: "G1: rules 34 to 37 are not asked";
    UnconfirmedIsInSync: "G1, D7: neither rules 34 to 37 are asked, nor bits for a direction";
    CrashedIsSource: "G1(a): a crashed Primary is source, whatever it lost";
    CrashMarksUnsaid: "G1: crash marks are not in the statement";
    BitsDroppedInSync: "D7: a handshake without a resync clears the bitmap";
    UnionWithoutBase: "G3: without a common base, too, only the united bitmaps are copied";
    DiscardStays: "G3: --discard-my-data outlives its use";
    VerdictNotRepeated: "G3: a node StandAlone by split brain does not say why it is";
    RestoredIsTrusted: "G8: a replica below its peer's minimum is judged by G1 alone";
    NumbersRiseAlone: "G8: a replica shows its numbers of now, not those that the peer has seen";
    NumbersBeforeDurable: "G8: numbers are confirmed while they are on their way to the disk";
    MinimumUnconfirmed: "G8: what the handshake will write is demanded before it is confirmed";
    InstanceIgnored: "G8: the demand holds for another instance, too";
    FullBitsLate: "D9: the bits of a full sync are not written before the identifier changes";
    LogEmptiedFirst: "D8: an attach empties the log before bits and marks are durable";
    MarkOffFirst: "D8: a demotion takes the primary mark off before anything else";
    OneSuperblockCopy: "D13: an update writes one copy of the superblock, in turn";
    NoBitmapDigest: "D13: a clean detach stores no digest of the bitmap";
    DisksNotLocked: "D15: a daemon starts while the I/O of the one before it is under way";
    OldDeviceAttached: "D16: the kernel's old device is attached, whatever its cookie says";
    AttachUnderOldWrites: "D15: a disk is attached again before its last write has returned";
    ProofClearsBits: "D4: what the peer had not flushed at the loss is cleared when it comes back";
    ClearWithUnflushedSource: "D7: a resync neither begins on a flushed source nor flushes it";
    FlushAloneOnOldGeneration: "G2: a FLUSH alone begins no generation";
    DemotionAloneOnOldGeneration: "G2: a demotion alone with bits set begins no generation";
    StartCountsAsFlushed: "D3: what was written before a start counts as flushed";
    FailedFlushCounts: "D3: a flush that failed counts as a good one";
    InconsistentGoesOnAlone: "D2: an Inconsistent disk answers alone";
    ThawOnOldGeneration: "G5: a fenced peer lets clients go on before the generation is durable";
    TargetLocksToo: "D6: the target of a resync keeps a lock of its own on what it asks for";
    RangeGivenBackWhenSent: "D6: a range is given back when its data are sent, not when written";
    TornTransactionIsRot: "D13: no page of the log may fail its check, the torn one neither";
    BitsAfterWrite: "D2: what is written alone gets its bits when it is written";
    FoundBitsStayInMemory: "D7: bits without a hot extent over them are not written";
    PromoteOverSlowPeer: "D15: a promotion that is not answered keeps the connection";
    AcceptedDialStays: "D15: of two dials that cross each node keeps the one that it accepted";
    DiscardAlwaysCounts: "G3: --discard-my-data counts without a split brain";
    ConflictIgnored: "G3: a Primary becomes the target, whatever rr-conflict says";
    BitsGetNoDirection: "D7: a promotion gives bits without a direction none";
    InvalidateUnasked: "D7: invalidate asks for no good copy that is left";
    WindowIgnored: "D14: writes are sent whether or not the peer has room for them";
    WindowPlaceLost: "D14: the place of a write in the peer's window does not come back";
    MayHoldMarkForgotten: "G2: the mark that the peer may hold the generation ends with the daemon";
    TargetPrimaryKeepsNoLog: "D10: a Primary whose disk is not UpToDate keeps no log";
    CrashedWaitsForPeer: "R5: a crashed node that lost power is not promoted alone";
    ArbiterChangesAtOnce: "D6: a promotion of the target takes over the granted ranges";
    PeersDataDoNotCount: "D12: a node without good data of its own is not promoted on the peer's";
    ArbiterLeavesAtOnce: "D6: a demotion of the target leaves what it has granted to nobody";
    ResyncWhileGrowing: "D20: invalidate begins a resync while the device grows";
    LogFillsAlone: "D5: alone, no extent leaves the log";
    LoneRestartWaits: "G4: a restarted Primary without its peer waits to be promoted";
    WriteCancelsClear: "D7: a mirrored write cancels the clear of its bits";
    HandshakeForbidsPromotion: "G4: a promotion during a handshake is refused";
    OnlyLastGenerationResumes: "G7: the generation asked for in a hand-over does not count";
    NoWatch: "D19: a Primary has no deadline near while nothing is under way";
    DiscardDroppedByRefusal: "G3: the verdict of a peer that stands alone drops --discard-my-data";
    DisklessFlushNeedsOwnDisk: "D3: a FLUSH waits for the own disk, also where there is none";
    FlushDuringHandshake: "G1: a FLUSH goes on alone while a handshake is under way";
    SlotsOutOfOrder: "D1: requests that need few slots overtake one that needs many";
    ClearBitmapAlways: "D7: new-current-uuid --clear-bitmap skips the sync of used replicas, too";
    InFlightLeavesLog: "D5: an extent may leave the log when the peer alone has the write";
    OlderIsSource: "G1: the older generation is the source";
    PoliciesIgnored: "G3: the after-sb policies decide nothing";
    PoliciesPickTheOther: "G3: a policy gives up the changes of the node that it shall spare";
    DifferingPoliciesAccepted: "G3: policies that differ are not noticed";
    SplitBrainToldOnce: "G3: one node alone runs its handler for a split brain";
    BitmapIdentifierStays: "D9: the source never retires the bitmap identifier of a resync";
    VerifyMissesLastBlock: "DESIGN 5: a verify does not compare the last block of a piece";
    VerifyTakesNoLock: "D6: a verify reads where a write is under way";
    VerifyGivesRangeBackEarly: "D6: a verify gives a piece back before the peer has read it";
    VerifyMarksOneSide: "DESIGN 5: what a verify finds is marked on one node alone";
    VerifyMarksInMemory: "D7: what a verify finds is told before it is on stable storage";
    VerifyDoneBeforeMarks: "D7: a verify is done before the peer's marks are durable";
    VerifyOutlivesArbiter: "D6: a verify goes on when its follower is promoted";
    RepairGoesTheOtherWay: "DESIGN 5: a repair copies from the other node than the one named";
    RepairCopiesAll: "DESIGN 5: a repair copies more than what is marked";
    DamagedPayloadAccepted: "D11: a payload with a wrong checksum is written";
}
