//! The metadata contexts of the handshake: there is one, `base:allocation` (proto.md "Metadata
//! querying").

use crate::export::Availability;
use crate::option_reply::{push_ack, push_error, push_meta_context};
use crate::options::export_name;
use crate::proto::{
    OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT, REP_ERR_INVALID, REP_ERR_POLICY, REP_ERR_UNKNOWN,
};
use crate::wire::{take_bytes, take_u32};

/// The name of the context that tells data from holes ("Metadata contexts", base:allocation).
pub const BASE_ALLOCATION: &str = "base:allocation";
/// Everything of the namespace; only in a list.
const BASE_ALL: &[u8] = b"base:";

/// What a client that asks for contexts has then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// As before: the option was a question, or was refused.
    Unchanged,
    /// `base:allocation`, or nothing.
    Now { base_allocation: bool },
}

/// Answers `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
pub(crate) fn answer_contexts(
    option: u32,
    data: &[u8],
    availability: &Availability,
    structured: bool,
    out: &mut Vec<u8>,
) -> Selected {
    let sets = option == OPT_SET_META_CONTEXT;
    debug_assert!(sets || option == OPT_LIST_META_CONTEXT, "invariant: no other option comes here");
    // A client that is refused goes on without, whatever it had selected before.
    let without = if sets { Selected::Now { base_allocation: false } } else { Selected::Unchanged };
    if !structured {
        push_error(out, option, REP_ERR_INVALID, "structured replies must be agreed on first");
        return without;
    }
    let Some(query) = ContextQuery::parse(data) else {
        push_error(out, option, REP_ERR_INVALID, "the name or the list of contexts is malformed");
        return without;
    };
    if !availability.answers_to(query.name) {
        let message = format!("no such export; the export here is \"{}\"", availability.name());
        push_error(out, option, REP_ERR_UNKNOWN, &message);
        return without;
    }
    if let Availability::Refused { name: _, message } = availability {
        push_error(out, option, REP_ERR_POLICY, message);
        return without;
    }
    let all = !sets && (query.is_empty || query.wants_namespace);
    let found = query.wants_allocation || all;
    if found {
        push_meta_context(out, option, BASE_ALLOCATION);
    }
    push_ack(out, option);
    if sets { Selected::Now { base_allocation: found } } else { Selected::Unchanged }
}

/// The data of both options. Contexts that this server does not know are ignored, as proto.md
/// demands.
struct ContextQuery<'a> {
    name: &'a str,
    is_empty: bool,
    wants_allocation: bool,
    wants_namespace: bool,
}

impl<'a> ContextQuery<'a> {
    /// `None` when a length does not fit, bytes are left over, or the name is not a string.
    fn parse(data: &'a [u8]) -> Option<ContextQuery<'a>> {
        let mut rest = data;
        let name_bytes = usize::try_from(take_u32(&mut rest)?).ok()?;
        let name = export_name(take_bytes(&mut rest, name_bytes)?)?;
        let count = take_u32(&mut rest)?;
        let mut query = ContextQuery {
            name,
            is_empty: count == 0,
            wants_allocation: false,
            wants_namespace: false,
        };
        for _ in 0..count {
            let bytes = usize::try_from(take_u32(&mut rest)?).ok()?;
            let wanted = take_bytes(&mut rest, bytes)?;
            query.wants_allocation |= wanted == BASE_ALLOCATION.as_bytes();
            query.wants_namespace |= wanted == BASE_ALL;
        }
        rest.is_empty().then_some(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake_outcome::{Negotiated, Progress};
    use crate::proto::{
        CONTEXT_ID, OPT_GO, OPT_STRUCTURED_REPLY, REP_ERR_TOO_BIG, REP_META_CONTEXT,
    };
    use crate::test_client::{
        FLAGS, Reply, context_data, info_data, option, option_header, refused, replies, run,
        served, session,
    };

    /// The replies to the contexts' option, after structured replies were agreed on.
    fn replies_with(number: u32, data: &[u8], availability: &Availability) -> Vec<Reply> {
        let options = [option(OPT_STRUCTURED_REPLY, b""), option(number, data)];
        let (_, out) = run(&session(FLAGS, &options), availability);
        replies(&out).split_off(1)
    }

    fn negotiated(options: &[Vec<u8>]) -> Negotiated {
        let mut all = options.to_vec();
        all.push(option(OPT_GO, &info_data("r0", &[])));
        match run(&session(FLAGS, &all), &served()).0 {
            Progress::Serve { consumed: _, negotiated } => negotiated,
            other @ (Progress::NeedMore { .. } | Progress::Close { .. }) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_shows_the_context_unless_others_were_asked_for() {
        let context = [&CONTEXT_ID.to_be_bytes()[..], BASE_ALLOCATION.as_bytes()].concat();
        let number = OPT_LIST_META_CONTEXT;
        let shown =
            [Reply { option: number, kind: REP_META_CONTEXT, data: context }, Reply::ack(number)];
        for queries in [&[][..], &["base:"], &["base:allocation"], &["x:y", "base:allocation"]] {
            assert_eq!(replies_with(number, &context_data("r0", queries), &served()), shown);
        }
        for queries in [&["qemu:dirty-bitmap:x"][..], &["base:other"], &[""]] {
            let replies = replies_with(number, &context_data("", queries), &served());
            assert_eq!(replies, [Reply::ack(number)]);
        }
    }

    #[test]
    fn the_last_selection_counts_and_only_the_exact_name_selects() {
        let structured = option(OPT_STRUCTURED_REPLY, b"");
        let set = |queries: &[&str]| option(OPT_SET_META_CONTEXT, &context_data("r0", queries));
        let list = option(OPT_LIST_META_CONTEXT, &context_data("r0", &["base:allocation"]));
        let both = set(&["base:allocation", "base:allocation"]);
        for (options, block_status) in [
            (vec![both.clone()], true),
            (vec![list], false),
            (vec![set(&["base:"])], false),
            (vec![set(&[])], false),
            (vec![both.clone(), set(&["other:context"])], false),
            (vec![set(&[]), both.clone()], true),
            // One that is refused leaves nothing behind.
            (vec![both, option(OPT_SET_META_CONTEXT, b"")], false),
        ] {
            let mut all = vec![structured.clone()];
            all.extend(options);
            assert_eq!(negotiated(&all), Negotiated::Structured { block_status });
        }
    }

    #[test]
    fn without_structured_replies_a_context_is_invalid() {
        for number in [OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT] {
            let input = session(FLAGS, &[option(number, &context_data("r0", &[]))]);
            let (_, out) = run(&input, &served());
            assert_eq!(replies(&out)[0].kind, REP_ERR_INVALID);
        }
    }

    #[test]
    fn malformed_unknown_refused_and_too_long_have_their_errors() {
        let good = context_data("r0", &["base:allocation"]);
        let malformed = [
            Vec::new(),
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
            context_data("r\0", &[]),
        ];
        for number in [OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT] {
            for data in &malformed {
                let replies = replies_with(number, data, &served());
                assert_eq!((replies.len(), replies[0].kind), (1, REP_ERR_INVALID), "{data:?}");
            }
            let other = replies_with(number, &context_data("r1", &[]), &served());
            assert_eq!((other.len(), other[0].kind), (1, REP_ERR_UNKNOWN));
            let refused = replies_with(number, &good, &refused());
            assert_eq!((refused.len(), refused[0].kind), (1, REP_ERR_POLICY));
            let mut long = option_header(number, 9000);
            long.extend(vec![0; 9000]);
            let options = [option(OPT_STRUCTURED_REPLY, b""), long];
            let (_, out) = run(&session(FLAGS, &options), &served());
            assert_eq!(replies(&out)[1].kind, REP_ERR_TOO_BIG);
        }
    }
}
