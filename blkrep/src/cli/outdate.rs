//! `outdate`: by the daemon when there is one, else on the disk itself.

use super::context::Context;
use super::failure::Failure;
use crate::control::client::ControlError;
use crate::control::protocol::{RefusalKind, Request};
use crate::outdate_md::{self, Marked};

/// Marks this node's replica as Outdated, by its daemon or on its disk.
///
/// # Errors
/// It is not marked, or worse already.
pub(crate) fn outdate(context: &Context, name: &str) -> Result<(), Failure> {
    match context.ask(name, Request::Outdate) {
        Ok(_) => return Ok(()),
        // A daemon without a disk has let go of it, or never had it.
        Err(Failure::Control(ControlError::NotUp { resource: _ }))
        | Err(Failure::Refused { kind: RefusalKind::NoDisk, text: _ }) => {}
        Err(failure) => return Err(failure),
    }
    let resource = context.load(name)?;
    let index = resource.node_index(&context.node)?;
    let ends = context.disk_ends(name, resource.node(index));
    match outdate_md::outdate(name, index, resource.node(index), &ends)? {
        Marked::Outdated => Ok(()),
        Marked::WorseAlready => Err(Failure::Refused {
            kind: RefusalKind::LowerThanOutdated,
            text: "the disk is Inconsistent, which is worse than Outdated: it is not promoted \
                   anyway, there is nothing to do"
                .to_owned(),
        }),
    }
}
