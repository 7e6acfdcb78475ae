//! Bodies of the messages of the handshake, some of which are read across versions.

use super::cursor::{BodyReader, BodyWriter};
use super::{TEXT_BYTES_MAX, WireError, policies};
use crate::ids::NodeIndex;
use crate::message::{DataStatement, Hello, NONCE_BYTES, Parameters, RefusalCode, RefusalMessage};
use crate::settings::PeerWindow;
use crate::state::{DiskState, Role};
use metadata::superblock::{PeerMinimum, Sequences, Session};

/// Shortest `Hello`, in bytes: two empty strings.
pub(super) const HELLO_BYTES_MIN: usize = 2 + 2 + 1 + 1 + NONCE_BYTES + 2;
/// Longest `Hello`, in bytes. More than this version can fill: later ones may append to it.
pub(super) const HELLO_BYTES_MAX: usize = 1024;
const _: () = assert!(HELLO_BYTES_MIN + 2 * TEXT_BYTES_MAX <= HELLO_BYTES_MAX);
/// Exact length of `Parameters`, in bytes.
pub(super) const PARAMETERS_BYTES: usize = 1 + 1 + 4 + 4 * 4 + 8 + 8 + 8 + 5;
/// Exact length of `Data`, in bytes.
pub(super) const DATA_BYTES: usize = super::body::GENERATIONS_BYTES + 8 + 8 + 6 + 10 * 8;
/// Shortest `Refuse`, in bytes: the code and an empty text.
pub(super) const REFUSE_BYTES_MIN: usize = 2;
/// Longest `Refuse`, in bytes.
pub(super) const REFUSE_BYTES_MAX: usize = REFUSE_BYTES_MIN + TEXT_BYTES_MAX;

/// Reads a `Hello` of this or of any later version: these fields keep their places for ever, and
/// what a later version appends is ignored by the caller. Without that no version could tell the
/// peer which one it speaks.
pub(super) fn hello(r: &mut BodyReader<'_>) -> Result<Hello, WireError> {
    let version_min = r.u16()?;
    let version_max = r.u16()?;
    if version_min > version_max {
        return Err(r.malformed("its oldest version is newer than its newest"));
    }
    Ok(Hello {
        version_min,
        version_max,
        node: r.code(NodeIndex::from_number, "the node is neither the first nor the second")?,
        secret: r.flag()?,
        nonce: r.array()?,
        node_name: r.text()?,
        resource: r.text()?,
    })
}

pub(super) fn put_hello(hello: &Hello, w: &mut BodyWriter<'_>) {
    w.u16(hello.version_min);
    w.u16(hello.version_max);
    w.u8(hello.node.number());
    w.flag(hello.secret);
    w.bytes(&hello.nonce);
    w.name(&hello.node_name);
    w.name(&hello.resource);
}

pub(super) fn parameters(r: &mut BodyReader<'_>) -> Result<Parameters, WireError> {
    Ok(Parameters {
        protocol: r.u8()?,
        zeroes_cheaply: r.flag()?,
        logical_block_bytes: r.u32()?,
        window: PeerWindow { frames: [r.u32()?, r.u32()?, r.u32()?], bare: r.u32()? },
        capacity_bytes: r.u64()?,
        agreed_bytes: r.u64()?,
        proposed_bytes: r.u64()?,
        split_brain: policies::get(r)?,
    })
}

pub(super) fn put_parameters(parameters: &Parameters, w: &mut BodyWriter<'_>) {
    w.u8(parameters.protocol);
    w.flag(parameters.zeroes_cheaply);
    w.u32(parameters.logical_block_bytes);
    for frames in parameters.window.frames {
        w.u32(frames);
    }
    w.u32(parameters.window.bare);
    w.u64(parameters.capacity_bytes);
    w.u64(parameters.agreed_bytes);
    w.u64(parameters.proposed_bytes);
    policies::put(parameters.split_brain, w);
}

pub(super) fn data(r: &mut BodyReader<'_>) -> Result<DataStatement, WireError> {
    Ok(DataStatement {
        generations: super::body::generations(r)?,
        instance_id: r.u64()?,
        out_of_sync_blocks: r.u64()?,
        role: r.code(Role::from_code, "an unknown role")?,
        disk: r.code(DiskState::from_code, "an unknown disk state")?,
        crashed_primary: r.flag()?,
        lost_power: r.flag()?,
        bitmap_covers_history: r.flag()?,
        discard_my_data: r.flag()?,
        session: Session { id: r.u64()?, number: r.u64()? },
        session_draw: r.u64()?,
        met: sequences(r)?,
        peer_minimum: PeerMinimum {
            instance_id: r.u64()?,
            superblock_sequence: r.u64()?,
            log_sequence: r.u64()?,
        },
        accepted: [r.u64()?, r.u64()?],
    })
}

pub(super) fn sequences(r: &mut BodyReader<'_>) -> Result<Sequences, WireError> {
    Ok(Sequences { superblock: r.u64()?, log: r.u64()? })
}

pub(super) fn put_sequences(sequences: Sequences, w: &mut BodyWriter<'_>) {
    w.u64(sequences.superblock);
    w.u64(sequences.log);
}

pub(super) fn put_data(data: &DataStatement, w: &mut BodyWriter<'_>) {
    super::body::put_generations(data.generations, w);
    w.u64(data.instance_id);
    w.u64(data.out_of_sync_blocks);
    w.u8(data.role.code());
    w.u8(data.disk.code());
    w.flag(data.crashed_primary);
    w.flag(data.lost_power);
    w.flag(data.bitmap_covers_history);
    w.flag(data.discard_my_data);
    w.u64(data.session.id);
    w.u64(data.session.number);
    w.u64(data.session_draw);
    put_sequences(data.met, w);
    w.u64(data.peer_minimum.instance_id);
    w.u64(data.peer_minimum.superblock_sequence);
    w.u64(data.peer_minimum.log_sequence);
    w.u64(data.accepted[0]);
    w.u64(data.accepted[1]);
}

pub(super) fn refuse(r: &mut BodyReader<'_>) -> Result<RefusalMessage, WireError> {
    let code = r.code(refusal_from_number, "an unknown kind of refusal")?;
    Ok(RefusalMessage { code, text: r.text()? })
}

pub(super) fn put_refuse(refusal: &RefusalMessage, w: &mut BodyWriter<'_>) {
    w.u8(refusal_number(refusal.code));
    w.explanation(&refusal.text);
}

/// Number of a refusal on the wire.
const fn refusal_number(code: RefusalCode) -> u8 {
    match code {
        RefusalCode::Busy => 1,
        RefusalCode::StandAlone => 2,
        RefusalCode::Version => 3,
        RefusalCode::Resource => 4,
        RefusalCode::Node => 5,
        RefusalCode::Authentication => 6,
        RefusalCode::Parameters => 7,
        RefusalCode::Size => 8,
        RefusalCode::SplitBrain => 9,
        RefusalCode::Unrelated => 10,
        RefusalCode::TwoPrimaries => 11,
        RefusalCode::Verdict => 12,
    }
}

/// From its number on the wire; a number that no refusal has is none.
const fn refusal_from_number(number: u8) -> Option<RefusalCode> {
    Some(match number {
        1 => RefusalCode::Busy,
        2 => RefusalCode::StandAlone,
        3 => RefusalCode::Version,
        4 => RefusalCode::Resource,
        5 => RefusalCode::Node,
        6 => RefusalCode::Authentication,
        7 => RefusalCode::Parameters,
        8 => RefusalCode::Size,
        9 => RefusalCode::SplitBrain,
        10 => RefusalCode::Unrelated,
        11 => RefusalCode::TwoPrimaries,
        12 => RefusalCode::Verdict,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    #[test]
    fn every_refusal_number_comes_back_as_the_same_number() {
        for number in 1..=12 {
            assert_eq!(refusal_from_number(number).map(refusal_number), Some(number));
        }
        assert_eq!(refusal_from_number(0), None);
        assert_eq!(refusal_from_number(13), None);
    }

    #[test]
    fn a_hello_whose_versions_are_in_the_wrong_order_is_refused() {
        let mut body = vec![0; HELLO_BYTES_MIN];
        body[0] = 2;
        body[2] = 1;
        assert!(hello(&mut BodyReader::new(Kind::Hello, &body)).is_err());
        body[2] = 2;
        assert!(hello(&mut BodyReader::new(Kind::Hello, &body)).is_ok());
    }
}
