//! What Pacemaker's own programs make of the constraint.

use super::*;
use crate::fence::cib::{self, Asker};
use crate::fence::scripted::{Cluster, MEMBER};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testbed::program::{Output, run};
use testbed::scratch::Scratch;
use testbed::skips::require_tool;

const LIMIT: Duration = Duration::from_secs(60);
const SCHEMAS: [(&str, RoleName); 3] = [
    ("pacemaker-2.10", RoleName::Master),
    ("pacemaker-3.6", RoleName::Master),
    ("pacemaker-3.9", RoleName::Promoted),
];

#[test]
fn the_role_is_named_as_the_schema_allows() {
    for (schema, role) in SCHEMAS {
        assert_eq!(RoleName::of_schema(Some(schema)), role, "{schema}");
    }
    assert_eq!(RoleName::of_schema(Some("pacemaker-3.7")), RoleName::Promoted);
    assert_eq!(RoleName::of_schema(Some("pacemaker-4.0")), RoleName::Promoted);
    assert_eq!(RoleName::of_schema(Some("none")), RoleName::Master);
    assert_eq!(RoleName::of_schema(None), RoleName::Master);
}

/// A CIB in which node b would be promoted; an agent of Pacemaker's own stands for ours.
fn cluster(schema: &str, constraints: &str) -> String {
    let score = |node: u8, score: u32| {
        format!(
            "<transient_attributes id=\"{node}\"><instance_attributes id=\"s{node}\"><nvpair \
             id=\"s{node}m\" name=\"master-p\" value=\"{score}\"/></instance_attributes>\
             </transient_attributes>"
        )
    };
    let mut cluster = Cluster::with_peer(MEMBER);
    (cluster.stonith, cluster.constraints) = ("false", constraints.to_owned());
    cluster
        .text()
        .replace("pacemaker-3.9", schema)
        .replace("provider=\"blkrep\" type=\"blkrep\"", "provider=\"pacemaker\" type=\"Stateful\"")
        .replace("expected=\"member\"/>", &format!("expected=\"member\">{}</node_state>", score(1, 10)))
        .replace("<lrm id=\"2\"><lrm_resources><lrm_resource id=\"p\">\n</lrm_resource></lrm_resources></lrm>", &score(2, 1000))
}

fn tool(program: &str, cib: &Path, arguments: &[&str]) -> Output {
    run(Command::new(program).args(arguments).env("CIB_file", cib), LIMIT)
}

/// The node that Pacemaker would promote.
fn promoted(cib: &Path) -> String {
    let file = cib.to_str().unwrap();
    let output = tool("crm_simulate", cib, &["--simulate", "--xml-file", file]);
    let line = output.stdout.lines().find(|line| line.contains("Promote ")).unwrap_or_default();
    let node = line.split("Promoted ").nth(1).and_then(|rest| rest.split(' ').next());
    node.unwrap_or("nobody").to_owned()
}

#[test]
fn pacemaker_takes_the_constraint_and_promotes_its_owner_alone() {
    for program in ["crm_verify", "crm_simulate", "cibadmin"] {
        if require_tool(program).is_none() {
            return;
        }
    }
    let dir = Scratch::new();
    let file = dir.path().join("cib.xml");
    for (schema, role) in SCHEMAS {
        std::fs::write(&file, cluster(schema, "")).unwrap();
        assert_eq!(promoted(&file), "b", "{schema}: without a constraint the higher score wins");
        let id = id("r0", "ms");
        let xml = xml(&id, "ms", role, "a", "0123456789abcdef");
        let create = ["--create", "--scope", "constraints", "--xml-text", &xml];
        tool("cibadmin", &file, &create).expect_success(schema);
        let path = file.to_str().unwrap();
        let verified = tool("crm_verify", &file, &["--verbose", "--xml-file", path]);
        assert_eq!((verified.code, &*verified.stderr), (0, ""), "{schema}: {verified:?}");
        assert_eq!(promoted(&file), "a", "{schema}: the constraint goes before the score");
        // Who comes second fails.
        assert_ne!(tool("cibadmin", &file, &create).code, 0, "{schema}");
        let text = tool("cibadmin", &file, &["--query", "--local"]).stdout;
        let ours = text.replace("provider=\"pacemaker\" type=\"Stateful\"", {
            "provider=\"blkrep\" type=\"blkrep\""
        });
        let asker = Asker { resource: "r0", me: ["a", "a"], peer: "b" };
        let standing = cib::scene(&ours, asker).unwrap().standing.expect("it is found again");
        assert_eq!(standing.owner.as_deref(), Some("a"));
        let other = Standing { rule: format!("{id}-rule-other"), ..standing.clone() };
        let delete = |standing: &Standing| {
            tool("cibadmin", &file, &["--delete", "--xpath", &super::path(standing)])
                .expect_success(schema);
            std::fs::read_to_string(&file).unwrap().contains("rsc_location")
        };
        assert!(delete(&other), "{schema}: another placing's path finds nothing");
        assert!(!delete(&standing), "{schema}: it is gone");
    }
}
