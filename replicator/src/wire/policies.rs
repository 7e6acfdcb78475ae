//! The policies of a split brain in `Parameters`: one byte each.

use super::WireError;
use super::cursor::{BodyReader, BodyWriter};
use crate::ids::NodeIndex;
use crate::settings::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, RrConflict, SplitBrainPolicies};

pub(super) fn get(r: &mut BodyReader<'_>) -> Result<SplitBrainPolicies, WireError> {
    const UNKNOWN: &str = "an unknown policy for a split brain";
    Ok(SplitBrainPolicies {
        zero_primaries: r.code(|code| ZERO.get(usize::from(code)).copied(), UNKNOWN)?,
        one_primary: r.code(|code| ONE.get(usize::from(code)).copied(), UNKNOWN)?,
        two_primaries: r.code(|code| TWO.get(usize::from(code)).copied(), UNKNOWN)?,
        always: r.flag()?,
        rr_conflict: r.code(|code| CONFLICT.get(usize::from(code)).copied(), UNKNOWN)?,
    })
}

pub(super) fn put(policies: SplitBrainPolicies, w: &mut BodyWriter<'_>) {
    w.u8(code(&ZERO, policies.zero_primaries));
    w.u8(code(&ONE, policies.one_primary));
    w.u8(code(&TWO, policies.two_primaries));
    w.flag(policies.always);
    w.u8(code(&CONFLICT, policies.rr_conflict));
}

/// The place in its table is a policy's number on the wire.
fn code<T: PartialEq>(table: &[T], policy: T) -> u8 {
    let place = table.iter().position(|known| *known == policy);
    place
        .and_then(|place| u8::try_from(place).ok())
        .expect("invariant: every policy has a place in its table")
}

const ZERO: [AfterSb0Pri; 7] = [
    AfterSb0Pri::Disconnect,
    AfterSb0Pri::DiscardYoungerPrimary,
    AfterSb0Pri::DiscardOlderPrimary,
    AfterSb0Pri::DiscardZeroChanges,
    AfterSb0Pri::DiscardLeastChanges,
    AfterSb0Pri::DiscardNode(NodeIndex::First),
    AfterSb0Pri::DiscardNode(NodeIndex::Second),
];
const ONE: [AfterSb1Pri; 5] = [
    AfterSb1Pri::Disconnect,
    AfterSb1Pri::Consensus,
    AfterSb1Pri::ViolentlyAs0p,
    AfterSb1Pri::DiscardSecondary,
    AfterSb1Pri::CallPriLostAfterSb,
];
const TWO: [AfterSb2Pri; 3] =
    [AfterSb2Pri::Disconnect, AfterSb2Pri::ViolentlyAs0p, AfterSb2Pri::CallPriLostAfterSb];
const CONFLICT: [RrConflict; 4] = [
    RrConflict::Disconnect,
    RrConflict::RetryConnect,
    RrConflict::CallPriLost,
    RrConflict::Violently,
];
