//! The keys of `[net]` that say what is done about a split brain (drbd-facts 1.8).

use super::super::error::ConfigError;
use super::super::resource::NodeConfig;
use super::super::section::Section;
use super::super::words;
use replicator::settings::SplitBrainPolicies;

/// Reads them; `net` was opened with their names among its keys.
pub(super) fn split_brain(
    net: &Section<'_>,
    nodes: &[NodeConfig; 2],
) -> Result<SplitBrainPolicies, ConfigError> {
    let default = SplitBrainPolicies::default();
    let zero_words = words::after_sb_0pri([&nodes[0].name, &nodes[1].name]);
    let zero = net.choice("after-sb-0pri", &zero_words)?;
    let one = net.choice("after-sb-1pri", &words::AFTER_SB_1PRI)?;
    let two = net.choice("after-sb-2pri", &words::AFTER_SB_2PRI)?;
    let always = net.boolean("always-asbp")?;
    let rr_conflict = net.choice("rr-conflict", &words::RR_CONFLICT)?;
    Ok(SplitBrainPolicies {
        zero_primaries: zero.map_or(default.zero_primaries, |found| found.value),
        one_primary: one.map_or(default.one_primary, |found| found.value),
        two_primaries: two.map_or(default.two_primaries, |found| found.value),
        always: always.map_or(default.always, |found| found.value),
        rr_conflict: rr_conflict.map_or(default.rr_conflict, |found| found.value),
    })
}
