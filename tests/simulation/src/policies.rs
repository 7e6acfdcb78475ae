//! Split brains that are solved without an operator: whose changes may be given up, as the
//! configured policies say and as the simulator, not the engine, knows the two nodes (G3).

use crate::random::Random;
use crate::world::World;
use metadata::generations::PRIMARY_BIT;
use replicator::event::Command;
use replicator::ids::NodeIndex;
use replicator::message::DataStatement;
use replicator::settings::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, RrConflict, SplitBrainPolicies};
use replicator::state::{ConnectionState, Role};

/// Runs with policies that do something.
const POLICIES_PERCENT: u64 = 50;
/// Runs, of those, in which the two configurations differ.
const DIFFERENT_PERCENT: u64 = 6;

/// A change of role that is under way for so long may be said before or after a loss of the peer.
const UNSURE_US: u64 = 300_000;
/// Distance from a bitmap identifier to the identifier of a resync that began from it (drbd-facts
/// 1.1).
const SYNC_OFFSET: u64 = 0x0001_0000_0000_0000;

/// How a node left its peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parting {
    role: Role,
    at_us: u64,
    /// Its role changed about then.
    unsure: bool,
}

/// The policies of both hosts.
pub(crate) fn draw(random: &mut Random) -> [SplitBrainPolicies; 2] {
    if !random.chance(POLICIES_PERCENT) {
        return [SplitBrainPolicies::default(); 2];
    }
    let first = draw_one(random);
    let second = if random.chance(DIFFERENT_PERCENT) { draw_one(random) } else { first };
    [first, second]
}

fn draw_one(random: &mut Random) -> SplitBrainPolicies {
    SplitBrainPolicies {
        zero_primaries: [
            AfterSb0Pri::Disconnect,
            AfterSb0Pri::DiscardYoungerPrimary,
            AfterSb0Pri::DiscardOlderPrimary,
            AfterSb0Pri::DiscardZeroChanges,
            AfterSb0Pri::DiscardLeastChanges,
            AfterSb0Pri::DiscardNode(NodeIndex::First),
            AfterSb0Pri::DiscardNode(NodeIndex::Second),
        ][random.below(7) as usize],
        one_primary: [
            AfterSb1Pri::Disconnect,
            AfterSb1Pri::Consensus,
            AfterSb1Pri::ViolentlyAs0p,
            AfterSb1Pri::DiscardSecondary,
            AfterSb1Pri::CallPriLostAfterSb,
        ][random.below(5) as usize],
        two_primaries: [
            AfterSb2Pri::Disconnect,
            AfterSb2Pri::ViolentlyAs0p,
            AfterSb2Pri::CallPriLostAfterSb,
        ][random.below(3) as usize],
        always: random.chance(50),
        rr_conflict: [
            RrConflict::Disconnect,
            RrConflict::RetryConnect,
            RrConflict::CallPriLost,
            RrConflict::Violently,
        ][random.below(4) as usize],
    }
}

/// May the copy of `victim` be given up, when the nodes have these roles?
fn allows(policies: &SplitBrainPolicies, victim: usize, roles: [Role; 2]) -> Result<(), String> {
    let primary = |host: usize| roles[host] == Role::Primary;
    let as_without_primary = || without_primary(policies.zero_primaries, victim);
    match (primary(0), primary(1)) {
        (false, false) => as_without_primary(),
        (true, true) => match policies.two_primaries {
            AfterSb2Pri::Disconnect => Err("after-sb-2pri is disconnect".into()),
            AfterSb2Pri::ViolentlyAs0p | AfterSb2Pri::CallPriLostAfterSb => as_without_primary(),
        },
        (true, false) | (false, true) => match policies.one_primary {
            AfterSb1Pri::Disconnect => Err("after-sb-1pri is disconnect".into()),
            AfterSb1Pri::Consensus if primary(victim) => {
                Err("after-sb-1pri is consensus, and the victim is Primary".into())
            }
            AfterSb1Pri::DiscardSecondary if primary(victim) => {
                Err("after-sb-1pri is discard-secondary, and the victim is Primary".into())
            }
            AfterSb1Pri::DiscardSecondary => Ok(()),
            AfterSb1Pri::Consensus
            | AfterSb1Pri::ViolentlyAs0p
            | AfterSb1Pri::CallPriLostAfterSb => as_without_primary(),
        },
    }
}

fn without_primary(policy: AfterSb0Pri, victim: usize) -> Result<(), String> {
    match policy {
        AfterSb0Pri::Disconnect => Err("after-sb-0pri is disconnect".into()),
        AfterSb0Pri::DiscardNode(node) if usize::from(node.number()) != victim => {
            Err(format!("after-sb-0pri discards node {}", node.number()))
        }
        AfterSb0Pri::DiscardNode(_)
        | AfterSb0Pri::DiscardYoungerPrimary
        | AfterSb0Pri::DiscardOlderPrimary
        | AfterSb0Pri::DiscardZeroChanges
        | AfterSb0Pri::DiscardLeastChanges => Ok(()),
    }
}

impl World {
    /// A node says what a split brain came to. `text` is its line in the log.
    pub(crate) fn split_brain_was_solved(&mut self, host: usize, text: &str) {
        let victim = if text.contains("Sync from this node") { 1 - host } else { host };
        if !text.contains("manually solved")
            && let Err(why) = self.judge_policy(victim, text)
        {
            self.fail(format!("node {victim} gives its changes up by a policy, but {why}"));
        }
        if text.contains("solved") {
            self.all_is_replaced();
        }
        if victim == host && text.contains("solved") {
            self.ledger.discard(host);
        }
    }

    /// What the configuration, the roles and the changes say of a victim.
    fn judge_policy(&mut self, victim: usize, text: &str) -> Result<(), String> {
        let [policies, others] = self.profile.split_brain;
        if policies != others {
            return Err("the policies of the two nodes differ".into());
        }
        // As both have said it in this handshake.
        let [Some(first), Some(second)] = self.said else {
            return Err("the two have not told each other what they have".into());
        };
        allows(&policies, victim, [first.role, second.role])?;
        if text.contains("a full sync follows") && !policies.always {
            return Err("the two have no common base, and always-asbp is not set".into());
        }
        let changes = [first.out_of_sync_blocks, second.out_of_sync_blocks];
        let primaries = [first, second].iter().filter(|said| said.role == Role::Primary).count();
        let counts = primaries != 1 || policies.one_primary != AfterSb1Pri::DiscardSecondary;
        let zero = counts && policies.zero_primaries == AfterSb0Pri::DiscardZeroChanges;
        let changed = changes[victim] > 0 || self.ledger.has_written_alone(victim);
        if zero && changed {
            return Err(format!("after-sb-0pri spares who changed something: {changes:?}"));
        }
        if counts {
            let has_base = !text.contains("a full sync follows");
            let policy = policies.zero_primaries;
            self.judge_choice(policy, victim, [&first, &second], has_base)?;
        }
        self.coverage.count("split brain: a policy was right");
        Ok(())
    }

    /// The choice between the two, as the policy promises it.
    fn judge_choice(
        &mut self,
        policy: AfterSb0Pri,
        victim: usize,
        said: [&DataStatement; 2],
        has_base: bool,
    ) -> Result<(), String> {
        let spares_primary = match policy {
            AfterSb0Pri::DiscardYoungerPrimary => true,
            AfterSb0Pri::DiscardOlderPrimary => false,
            AfterSb0Pri::DiscardLeastChanges => return self.judge_least_changes(victim, said),
            AfterSb0Pri::Disconnect
            | AfterSb0Pri::DiscardZeroChanges
            | AfterSb0Pri::DiscardNode(_) => return Ok(()),
        };
        // Without a common base nobody knows when they parted.
        let Some(was_primary) = self.primaries_at_parting().filter(|_| has_base) else {
            return Ok(());
        };
        if was_primary[0] == was_primary[1] {
            return self.judge_least_changes(victim, said);
        }
        self.coverage.count("split brain: the roles at the split decided");
        if was_primary[victim] == spares_primary {
            return Err(format!("Primary when the two parted: {was_primary:?}"));
        }
        Ok(())
    }

    /// Who has changed less yields, of two equal ones the second. Where a source had begun and the
    /// bitmaps are united, they tell nothing any more: what was decided then stands.
    fn judge_least_changes(
        &mut self,
        victim: usize,
        said: [&DataStatement; 2],
    ) -> Result<(), String> {
        let begun = |one: usize| {
            let (tuple, base) =
                (&said[one].generations, said[1 - one].generations.bitmap & !PRIMARY_BIT);
            base != 0
                && tuple.bitmap & !PRIMARY_BIT == base.wrapping_add(SYNC_OFFSET) & !PRIMARY_BIT
                && tuple.history[0] & !PRIMARY_BIT == base
        };
        let changes = [said[0].out_of_sync_blocks, said[1].out_of_sync_blocks];
        let wanted = match (begun(0), begun(1)) {
            (true, false) if changes[0] == changes[1] => 1,
            (false, true) if changes[0] == changes[1] => 0,
            (true | false, true | false) => usize::from(changes[0] >= changes[1]),
        };
        self.coverage.count("split brain: the number of changes decided");
        if victim == wanted {
            Ok(())
        } else {
            Err(format!("the changes are {changes:?}, so node {wanted} yields"))
        }
    }

    /// The connection of `host` is over, or its process.
    pub(crate) fn parts(&mut self, host: usize) {
        let this = &self.hosts[host];
        let Some(status) = &this.status else { return };
        if this.peer_said.0 == ConnectionState::Connected {
            let unsure = this.died_as_primary || self.now_us < this.role_changed_us + UNSURE_US;
            let parting = Parting { role: status.role, at_us: self.now_us, unsure };
            self.hosts[host].parting = Some(parting);
        }
    }

    /// The role of `host` has changed.
    pub(crate) fn role_changed(&mut self, host: usize) {
        let now_us = self.now_us;
        let this = &mut self.hosts[host];
        this.role_changed_us = now_us;
        this.died_as_primary = false;
        if let Some(parting) = &mut this.parting {
            parting.unsure |= now_us < parting.at_us + UNSURE_US;
        }
    }

    /// Who was Primary when the two parted; none where a role changed about then.
    fn primaries_at_parting(&self) -> Option<[bool; 2]> {
        let [first, second] = [0, 1].map(|host| {
            let parting = self.hosts[host].parting.filter(|parting| !parting.unsure)?;
            Some(parting.role == Role::Primary)
        });
        Some([first?, second?])
    }

    /// The two configurations differ no more, as after an administrator has looked at the log.
    pub(crate) fn mend_configuration(&mut self) {
        let [first, second] = self.profile.split_brain;
        if first == second {
            return;
        }
        self.profile.split_brain[1] = first;
        self.kill_daemon(1);
        self.bring_up(1);
        self.command(0, Command::Connect { discard_my_data: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_spares_the_primary_does_not_give_it_up() {
        let policies = SplitBrainPolicies {
            zero_primaries: AfterSb0Pri::DiscardNode(NodeIndex::First),
            one_primary: AfterSb1Pri::Consensus,
            ..SplitBrainPolicies::default()
        };
        let roles = [Role::Primary, Role::Secondary];
        assert!(allows(&policies, 0, roles).is_err());
        assert!(allows(&policies, 1, roles).is_err());
        assert_eq!(allows(&policies, 0, [Role::Secondary, Role::Primary]), Ok(()));
        assert!(allows(&policies, 0, [Role::Primary; 2]).is_err());
    }
}
