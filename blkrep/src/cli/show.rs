//! The verbs that only show: `status`, `role`, `cstate`, `dstate`, `dump`.

use super::context::Context;
use super::failure::Failure;
use crate::render::status_json::status_json;
use crate::render::status_text::{Canvas, status_text};
use replicator::status::Status;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// Prints `text`. A reader that has gone away (`| head`) is no error of this program.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

pub(super) fn canvas() -> Canvas {
    if !io::stdout().is_terminal() {
        return Canvas::Plain;
    }
    // https://no-color.org: any value but the empty one.
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Canvas::Terminal { colours }
}

pub(super) fn status(context: &Context, name: &str) -> Result<(), Failure> {
    print(&status_text(&context.status(name)?, canvas()));
    Ok(())
}

/// Adds the status of a resource to the array that is printed at the end.
pub(super) fn collect_json(
    context: &Context,
    name: &str,
    array: &mut Vec<Value>,
) -> Result<(), Failure> {
    array.push(status_json(&context.status(name)?));
    Ok(())
}

pub(super) fn print_json(array: Vec<Value>) {
    print(&format!("{:#}\n", Value::Array(array)));
}

pub(super) fn word(
    context: &Context,
    name: &str,
    word: impl Fn(&Status) -> String,
) -> Result<(), Failure> {
    print(&format!("{}\n", word(&context.status(name)?)));
    Ok(())
}

pub(super) fn dump(context: &Context, name: &str) -> Result<(), Failure> {
    let resource = context.load(name)?;
    print(&resource.dump());
    Ok(())
}
