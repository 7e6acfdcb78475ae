//! The handlers that fence the peer and take that back, as verbs: what `[handlers]` runs.

use super::context::Context;
use crate::config::units::{TIME_FORM, parse_time};
use crate::fence::{Handler, Limits, fence_by_constraint, fence_by_stonith, lift_constraint};
use std::time::Duration;

/// How long the loss of a peer may go unnoticed, when the configuration does not say.
const UNNOTICED_DEFAULT: Duration = Duration::from_secs(30);

/// Arguments of `crm-fence-peer`; the options are those of DRBD's handler.
#[derive(Debug, clap::Args)]
pub struct FenceArgs {
    /// Name of the resource; the daemon tells its handlers
    #[arg(env = "BLKREP_RESOURCE")]
    pub resource: String,
    /// How long the cluster may take to find out what has become of the peer, fencing included: a
    /// time like 90s, or a number of seconds
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = seconds)]
    pub timeout: Duration,
    /// How long to try when the cluster takes no changes
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = seconds)]
    pub dc_timeout: Duration,
    /// A peer that is out of reach counts as outdated though this node's disk is only Consistent;
    /// may lose the peer's changes
    #[arg(long)]
    pub unreachable_peer_is_outdated: bool,
}

/// Arguments of `crm-unfence-peer`.
#[derive(Debug, clap::Args)]
pub struct UnfenceArgs {
    /// Name of the resource; the daemon tells its handlers
    #[arg(env = "BLKREP_RESOURCE")]
    pub resource: String,
    /// How long to try when the cluster takes no changes
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = seconds)]
    pub dc_timeout: Duration,
}

/// Arguments of `stonith-fence-peer`.
#[derive(Debug, clap::Args)]
pub struct StonithArgs {
    /// Name of the resource; the daemon tells its handlers
    #[arg(env = "BLKREP_RESOURCE")]
    pub resource: String,
    /// How long the fencing may take
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = seconds)]
    pub timeout: Duration,
}

/// A time with its unit, or seconds, as in the configurations that come from DRBD.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = || text.parse().ok().map(Duration::from_secs);
    parse_time(text).or_else(number).ok_or_else(|| format!("write {TIME_FORM}, or seconds"))
}

fn handler(context: &Context, resource: &str) -> Handler {
    Handler::new(context.run_dir.clone(), resource.to_owned())
}

pub(super) fn crm_fence_peer(context: &Context, args: &FenceArgs) -> u8 {
    let limits = Limits {
        timeout: args.timeout,
        dc_timeout: args.dc_timeout,
        unreachable_is_outdated: args.unreachable_peer_is_outdated,
    };
    let mut outside = handler(context, &args.resource);
    fence_by_constraint(&args.resource, limits, &mut outside).exit_code()
}

pub(super) fn crm_unfence_peer(context: &Context, args: &UnfenceArgs) -> u8 {
    let mut outside = handler(context, &args.resource);
    let unnoticed_max = context.load(&args.resource).map_or(UNNOTICED_DEFAULT, |resource| {
        let timers = &resource.net.timers;
        timers.ping_int + timers.timeout.max(timers.ping_timeout)
    });
    let lifted = lift_constraint(&args.resource, unnoticed_max, args.dc_timeout, &mut outside);
    u8::from(!lifted)
}

pub(super) fn stonith_fence_peer(context: &Context, args: &StonithArgs) -> u8 {
    fence_by_stonith(args.timeout, &mut handler(context, &args.resource)).exit_code()
}
