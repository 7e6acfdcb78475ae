//! What Pacemaker and its shells know of the agent: its metadata, as XML.

use super::action::{ADVICE, Advice};
use super::parameters::{PARAMETERS, Parameter};
use std::fmt::Write as _;

/// The version of the resource agent API that the agent keeps to.
const API_VERSION: &str = "1.1";
/// The document type that tools validate against is that of API 1.0; what 1.1 has beyond it is
/// declared here, and a declaration here goes before one there (XML 1.0, section 3.3).
const HEAD: &str = "\
<?xml version=\"1.0\"?>
<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\" [
<!ATTLIST parameter reloadable (0|1) #IMPLIED>
<!ATTLIST action name CDATA #REQUIRED>
]>
";
const SHORT: &str = "One block device on two nodes";
const LONG: &str = "\
Runs a blkrep resource as a promotable clone: one block device, the same bytes on two nodes. The Promoted \
instance is the Primary, on which the device can be used. Promotion scores follow the state of the data, so \
that the node with the best data is promoted and one with old data never is.";

/// The whole document.
pub(super) fn metadata() -> String {
    let mut xml = String::from(HEAD);
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(xml, "<resource-agent name=\"blkrep\" version=\"{version}\">");
    let _ = writeln!(xml, "<version>{API_VERSION}</version>");
    texts(&mut xml, LONG, SHORT);
    xml.push_str("<parameters>\n");
    for parameter in PARAMETERS {
        put_parameter(&mut xml, parameter);
    }
    xml.push_str("</parameters>\n<actions>\n");
    for advice in ADVICE {
        put_action(&mut xml, advice);
    }
    xml.push_str("</actions>\n</resource-agent>\n");
    xml
}

fn put_parameter(xml: &mut String, parameter: Parameter) {
    let Parameter { name, kind, default, unique, reloadable, short, long } = parameter;
    let digit = |truth: bool| if truth { "1" } else { "0" };
    let _ = writeln!(
        xml,
        "<parameter name=\"{name}\" unique=\"{}\" required=\"0\" reloadable=\"{}\">",
        digit(unique),
        digit(reloadable)
    );
    texts(xml, long, short);
    let default = default.map(|value| format!(" default=\"{}\"", escaped(value)));
    let _ = writeln!(xml, "<content type=\"{kind}\"{}/>", default.unwrap_or_default());
    xml.push_str("</parameter>\n");
}

fn put_action(xml: &mut String, advice: Advice) {
    let Advice { action, timeout_s, recurs } = advice;
    let _ = write!(xml, "<action name=\"{}\" timeout=\"{timeout_s}s\"", action.name());
    if let Some((interval_s, role)) = recurs {
        let _ = write!(xml, " interval=\"{interval_s}s\" role=\"{role}\" depth=\"0\"");
    }
    xml.push_str("/>\n");
}

fn texts(xml: &mut String, long: &str, short: &str) {
    let _ = writeln!(xml, "<longdesc lang=\"en\">{}</longdesc>", escaped(long));
    let _ = writeln!(xml, "<shortdesc lang=\"en\">{}</shortdesc>", escaped(short));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the open elements at the end of `xml`, and of all elements that were opened.
    /// Enough of a parser for a document without comments and entities in tags.
    fn elements(xml: &str) -> (Vec<&str>, Vec<&str>) {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        let body = xml.split_once("]>").expect("the head ends").1;
        for tag in body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "closed in another order");
            } else {
                all.push(name);
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
        }
        (open, all)
    }

    #[test]
    fn the_document_is_well_formed_and_has_every_parameter_and_action() {
        let xml = metadata();
        let (open, all) = elements(&xml);
        assert!(open.is_empty(), "{open:?}");
        let count = |name: &str| all.iter().filter(|found| **found == name).count();
        assert_eq!(count("parameter"), PARAMETERS.len());
        assert_eq!(count("action"), ADVICE.len());
        assert_eq!(count("longdesc"), PARAMETERS.len() + 1);
        for parameter in PARAMETERS {
            assert!(xml.contains(&format!("<parameter name=\"{}\"", parameter.name)));
        }
        for advice in ADVICE {
            assert!(xml.contains(&format!("<action name=\"{}\"", advice.action.name())));
        }
        assert!(xml.contains("<version>1.1</version>"));
    }

    #[test]
    fn the_timeouts_are_those_of_the_tuning_table() {
        let xml = metadata();
        for line in [
            "name=\"start\" timeout=\"240s\"",
            "name=\"stop\" timeout=\"100s\"",
            "name=\"promote\" timeout=\"60s\"",
            "name=\"demote\" timeout=\"30s\"",
            "name=\"notify\" timeout=\"30s\"",
            "name=\"monitor\" timeout=\"20s\" interval=\"10s\" role=\"Promoted\"",
            "name=\"monitor\" timeout=\"20s\" interval=\"20s\" role=\"Unpromoted\"",
            "name=\"reload-agent\" timeout=\"5s\"",
        ] {
            assert!(xml.contains(line), "{line}");
        }
    }

    #[test]
    fn the_manual_has_every_parameter_action_and_code() {
        use super::super::exit::Exit;
        let manual = include_str!("../../../docs/pacemaker-agent.md");
        let rows: Vec<&str> = manual.lines().filter(|line| line.starts_with("| ")).collect();
        let row = |begin: &str| {
            let found = rows.iter().find(|row| row.starts_with(begin));
            *found.unwrap_or_else(|| panic!("no row {begin}"))
        };
        for Parameter { name, default, .. } in PARAMETERS {
            let row = row(&format!("| `{name}` |"));
            if let Some(default) = default {
                assert!(row.contains(&format!("| `{default}` |")), "{row}");
            }
        }
        for Advice { action, timeout_s, recurs: _ } in ADVICE {
            row(&format!("| `{}` | {timeout_s} s |", action.name()));
        }
        for exit in [
            Exit::Success,
            Exit::Generic,
            Exit::Arguments,
            Exit::Unimplemented,
            Exit::Permission,
            Exit::NotInstalled,
            Exit::NotConfigured,
            Exit::NotRunning,
            Exit::RunningPromoted,
            Exit::FailedPromoted,
        ] {
            row(&format!("| {} |", exit.code()));
        }
    }

    #[test]
    fn texts_cannot_break_the_document() {
        assert_eq!(escaped("a < \"b\" & c"), "a &lt; &quot;b&quot; &amp; c");
    }
}
