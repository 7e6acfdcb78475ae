//! The messages that the tests of the codec send: at least one of every kind.

use super::{BITMAP_RUNS_BYTES_MAX, Kind};
use crate::ids::NodeIndex;
use crate::message::{
    DataStatement, Hello, Message, Parameters, RefusalCode, RefusalMessage, SourceLoad,
};
use crate::pace::SyncLimit;
use crate::settings::{
    AfterSb0Pri, PIECE_BYTES_MAX, PeerWindow, SYNC_PIECE_BYTES_MAX, SplitBrainPolicies,
    ZERO_PIECE_BYTES_MAX,
};
use crate::state::{DiskState, Role};
use metadata::generations::Generations;
use metadata::superblock::{PeerMinimum, Sequences, Session};
use metadata::units::{BlockRange, ByteRange};

const GENERATIONS: Generations =
    Generations { current: 0xa1, bitmap: 0xb2, history: [0xc3, u64::MAX] };

/// A message, and its payload's length and checksum if it has one.
pub(super) type Sample = (Message, Option<(u32, u32)>);

pub(super) fn hello_sample(node: NodeIndex, node_name: &str, secret: bool) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        node,
        node_name: node_name.to_owned(),
        resource: "postgres".to_owned(),
        nonce: std::array::from_fn(|at| u8::try_from(at).unwrap()),
        secret,
    }
}

fn refusal_sample(text: &str) -> Message {
    Message::Refuse(RefusalMessage { code: RefusalCode::SplitBrain, text: text.to_owned() })
}

fn parameters_sample() -> Parameters {
    Parameters {
        protocol: b'C',
        window: PeerWindow { frames: [64, 32, 16], bare: 8 },
        capacity_bytes: 0x1122_3344_5566_7788,
        agreed_bytes: 0x99aa_bbcc_ddee_ff00,
        proposed_bytes: 0x0f1e_2d3c_4b5a_6978,
        logical_block_bytes: 4096,
        zeroes_cheaply: true,
        split_brain: SplitBrainPolicies {
            zero_primaries: AfterSb0Pri::DiscardNode(NodeIndex::Second),
            always: true,
            ..SplitBrainPolicies::default()
        },
    }
}

fn data_sample() -> DataStatement {
    DataStatement {
        generations: GENERATIONS,
        instance_id: 0x0102_0304_0506_0708,
        role: Role::Secondary,
        disk: DiskState::Consistent,
        crashed_primary: true,
        lost_power: false,
        bitmap_covers_history: true,
        out_of_sync_blocks: 77,
        discard_my_data: false,
        session: Session { id: 0x11, number: 0x12 },
        session_draw: 0x13,
        met: Sequences { superblock: 0x14, log: 0x15 },
        peer_minimum: PeerMinimum {
            instance_id: 0x16,
            superblock_sequence: 0x17,
            log_sequence: 0x18,
        },
        accepted: [0xd4, 0],
    }
}

/// At least one sample of `kind`. The match is total: a new kind, and so a new message, needs a
/// sample here.
pub(super) fn samples_of(kind: Kind) -> Vec<Message> {
    let number = 0xfedc_ba98_7654_3210;
    let range = ByteRange::new(4096, 512);
    match kind {
        Kind::Hello => vec![
            Message::Hello(hello_sample(NodeIndex::First, "", false)),
            Message::Hello(hello_sample(NodeIndex::Second, &"n".repeat(255), true)),
        ],
        Kind::Proof => vec![Message::Proof(std::array::from_fn(|at| 255 - at as u8))],
        Kind::Parameters => vec![Message::Parameters(parameters_sample())],
        Kind::Data => vec![Message::Data(data_sample())],
        Kind::Refuse => vec![refusal_sample(""), refusal_sample(&"\u{e4}x".repeat(85))],
        Kind::Bitmap => vec![
            Message::Bitmap { from_block: number, runs: Vec::new(), last: true },
            Message::Bitmap { from_block: 0, runs: vec![7; BITMAP_RUNS_BYTES_MAX], last: false },
        ],
        Kind::SyncStart => vec![Message::SyncStart { sync_generation: number }],
        Kind::SyncStarted => vec![Message::SyncStarted],
        Kind::State => {
            vec![Message::State { role: Role::Secondary, disk: DiskState::UpToDate }]
        }
        Kind::PromoteAsk => vec![Message::PromoteAsk],
        Kind::PromoteAnswer => vec![
            Message::PromoteAnswer { refusal: None },
            Message::PromoteAnswer { refusal: Some("I am Primary".to_owned()) },
        ],
        Kind::Write => vec![
            Message::Write { number, range, fua: false },
            Message::Write { number, range: ByteRange::new(0, 1), fua: true },
            Message::Write {
                number,
                range: ByteRange::new(
                    u64::MAX - u64::from(PIECE_BYTES_MAX),
                    PIECE_BYTES_MAX.into(),
                ),
                fua: true,
            },
        ],
        Kind::Zero => vec![
            Message::Zero { number, range, fua: true, may_unmap: false },
            Message::Zero {
                number,
                range: ByteRange::new(0, ZERO_PIECE_BYTES_MAX),
                fua: false,
                may_unmap: true,
            },
        ],
        Kind::WriteDone => vec![Message::WriteDone { number }],
        Kind::Flush => vec![Message::Flush { number }],
        Kind::FlushDone => vec![Message::FlushDone { number }],
        Kind::PairDone => vec![Message::PairDone { number }],
        Kind::SyncRequest => vec![Message::SyncRequest {
            number,
            range: ByteRange::new(0, SYNC_PIECE_BYTES_MAX.into()),
            limit: SyncLimit::Application,
        }],
        Kind::SyncCompare => vec![Message::SyncCompare {
            number,
            range,
            limit: SyncLimit::Rate,
            digest: std::array::from_fn(|at| at as u8),
        }],
        Kind::SyncData => vec![
            Message::SyncData { number, range, load: SourceLoad::default() },
            Message::SyncData {
                number,
                range: ByteRange::new(0, SYNC_PIECE_BYTES_MAX.into()),
                load: SourceLoad { application: true, disk: true },
            },
        ],
        Kind::SyncEqual => {
            vec![Message::SyncEqual { number, load: SourceLoad { application: true, disk: false } }]
        }
        Kind::SyncIncomplete => vec![Message::SyncIncomplete { blocks: number }],
        Kind::InvalidateOffer => vec![Message::InvalidateOffer],
        Kind::InvalidateAsk => vec![Message::InvalidateAsk],
        Kind::SyncAsk => vec![
            Message::SyncAsk { refusal: None },
            Message::SyncAsk { refusal: Some("I am Primary".to_owned()) },
        ],
        Kind::NewGeneration => vec![Message::NewGeneration { current: number }],
        Kind::NewGenerationDone => vec![Message::NewGenerationDone],
        Kind::SyncPause => vec![Message::SyncPause { paused: true }],
        Kind::SyncUnreadable => vec![Message::SyncUnreadable { number }],
        Kind::SyncWritten => vec![Message::SyncWritten { number }],
        Kind::SyncNoneLeft => vec![Message::SyncNoneLeft],
        Kind::SyncNotYet => vec![Message::SyncNotYet],
        Kind::SyncGrant => vec![Message::SyncGrant { generations: GENERATIONS }],
        Kind::SyncConfirm => vec![Message::SyncConfirm],
        Kind::Ping => vec![Message::Ping { number }],
        Kind::Pong => vec![Message::Pong { number }],
        Kind::ResizeAsk => vec![Message::ResizeAsk],
        Kind::ResizeRoom => vec![
            Message::ResizeRoom { room_bytes: number, refusal: None },
            Message::ResizeRoom { room_bytes: 0, refusal: Some("no room".to_owned()) },
        ],
        Kind::ResizePrepare => {
            vec![Message::ResizePrepare { size_bytes: number, assume_clean: true }]
        }
        Kind::ResizePrepared => vec![Message::ResizePrepared],
        Kind::ResizeCommit => vec![Message::ResizeCommit],
        Kind::ResizeCommitted => vec![Message::ResizeCommitted],
        Kind::ResizeEnd => vec![Message::ResizeEnd { done: true }],
        Kind::VerifyAsk
        | Kind::VerifyBegin
        | Kind::VerifyAnswer
        | Kind::VerifyRead
        | Kind::VerifyDigests
        | Kind::VerifyUnreadable
        | Kind::VerifyDiffers
        | Kind::VerifyEnd
        | Kind::VerifyEnded
        | Kind::RepairOffer
        | Kind::RepairAsk => verify_samples().into_iter().filter(|m| Kind::of(m) == kind).collect(),
        Kind::Bye => vec![Message::Bye],
        Kind::Outdate => vec![Message::Outdate],
        Kind::OutOfSync => {
            vec![Message::OutOfSync { blocks: BlockRange { first: 1 << 40, count: 3 } }]
        }
        Kind::TakeOver => vec![Message::TakeOver { current: number }],
        Kind::TookOver => vec![Message::TookOver { current: number }],
        Kind::Read => vec![Message::Read { number, range }],
        Kind::ReadData => vec![Message::ReadData { number, range }],
        Kind::ReadFailed => vec![Message::ReadFailed { number }],
        Kind::WriteFailed => vec![Message::WriteFailed { number }],
        Kind::Durable => {
            vec![Message::Durable { sequences: Sequences { superblock: number, log: 1 } }]
        }
    }
}

/// The messages of verify and repair.
fn verify_samples() -> Vec<Message> {
    let blocks = BlockRange { first: 99, count: 3 };
    let range = ByteRange::new(7 * 4096, 4096 + 512);
    vec![
        Message::VerifyAsk { blocks, repair: true },
        Message::VerifyBegin { blocks, repair: false, asked: true },
        Message::VerifyAnswer { refusal: None },
        Message::VerifyAnswer { refusal: Some("a resync is under way".to_owned()) },
        Message::VerifyRead { number: 8, range, limit: SyncLimit::Application, next_block: 6 },
        Message::VerifyDigests { number: 8, digests: vec![[0x11; 32], [0x22; 32]] },
        Message::VerifyDigests { number: 9, digests: vec![[0x33; 32]; 32] },
        Message::VerifyUnreadable { number: 8 },
        Message::VerifyDiffers { blocks, unreadable: false },
        Message::VerifyEnd { compared_blocks: 5, next_block: 104, broken_off: None },
        Message::VerifyEnd {
            compared_blocks: 2,
            next_block: 101,
            broken_off: Some("the disk of alice is Failed".to_owned()),
        },
        Message::VerifyEnded,
        Message::RepairOffer,
        Message::RepairAsk,
    ]
}

pub(super) fn samples() -> Vec<Sample> {
    let with_data = |message: Message| {
        let mut data = None;
        if let Message::Write { range, .. }
        | Message::SyncData { range, .. }
        | Message::ReadData { range, .. } = &message
        {
            data = Some((u32::try_from(range.bytes()).unwrap(), 0x5eed_1e55));
        }
        (message, data)
    };
    Kind::ALL.iter().flat_map(|&kind| samples_of(kind)).map(with_data).collect()
}
