//! Shapes of the CIB in which the clone, the nodes and the peer's state are found, and those in
//! which they are not.

use super::*;
use crate::fence::scripted::{Cluster, DOWN, LOST, MEMBER};

const ASKER: Asker<'_> = Asker { resource: "r0", me: ["a", "host"], peer: "b" };

/// The CIB with these resources.
fn with_resources(resources: &str) -> String {
    let text = Cluster::with_peer(MEMBER).text();
    let (begin, end) = ("<resources>", "</resources>");
    let from = text.find(begin).unwrap() + begin.len();
    let to = text.find(end).unwrap();
    format!("{}{resources}{}", &text[..from], &text[to..])
}

fn clone_in(resources: &str) -> Result<String, String> {
    scene(&with_resources(resources), ASKER).map(|scene| scene.clone)
}

const OURS: &str = r#"class="ocf" provider="blkrep" type="blkrep""#;

fn primitive(id: &str, parameter: &str, resource: &str) -> String {
    format!(
        r#"<primitive id="{id}" {OURS}><instance_attributes id="{id}-i">
<nvpair id="{id}-n" name="{parameter}" value="{resource}"/></instance_attributes></primitive>"#
    )
}

#[test]
fn the_clone_is_found_by_its_parameter_alone_or_in_a_group() {
    let other = primitive("p1", "resource", "r1");
    for parameter in ["resource", "drbd_resource"] {
        let ours = primitive("p0", parameter, "r0");
        for shape in [
            format!(r#"<clone id="other">{other}</clone><clone id="ms">{ours}</clone>"#),
            format!(r#"<clone id="other">{other}</clone><master id="ms">{ours}</master>"#),
            format!(r#"<clone id="ms"><group id="g">{other}{ours}</group></clone>"#),
        ] {
            assert_eq!(clone_in(&shape).as_deref(), Ok("ms"), "{shape}");
        }
    }
}

#[test]
fn what_a_primitive_does_not_say_its_template_or_a_reference_does() {
    let set = r#"<instance_attributes id="s"><nvpair id="n" name="resource" value="r0"/>
</instance_attributes>"#;
    let by_template = format!(
        r#"<template id="t" {OURS}>{set}</template><clone id="ms"><primitive id="p" template="t"/>
</clone>"#
    );
    let by_set = format!(
        r#"<primitive id="q" class="ocf" provider="heartbeat" type="Dummy">{set}</primitive>
<clone id="ms"><primitive id="p" {OURS}><instance_attributes id-ref="s"/></primitive></clone>"#
    );
    let by_pair = format!(
        r#"<primitive id="q" class="ocf" provider="heartbeat" type="Dummy">{set}</primitive>
<clone id="ms"><primitive id="p" {OURS}><instance_attributes id="own">
<nvpair id-ref="n"/></instance_attributes></primitive></clone>"#
    );
    for shape in [by_template, by_set, by_pair] {
        assert_eq!(clone_in(&shape).as_deref(), Ok("ms"), "{shape}");
    }
    // What it says itself goes before its template.
    let own = primitive("p", "resource", "r1").replace("<primitive", "<primitive template=\"t\"");
    let shape = format!(r#"<template id="t" {OURS}>{set}</template><clone id="ms">{own}</clone>"#);
    assert!(clone_in(&shape).unwrap_err().contains("no resource of the cluster runs r0"));
}

#[test]
fn no_clone_no_agent_of_ours_and_two_clones_are_told() {
    let ours = primitive("p0", "resource", "r0");
    let error = clone_in(&ours).unwrap_err();
    assert!(error.contains("p0 runs r0 and is no clone"), "{error}");
    let foreign = ours.replace("provider=\"blkrep\" type=\"blkrep\"", "provider=\"x\" type=\"y\"");
    let error = clone_in(&format!(r#"<clone id="ms">{foreign}</clone>"#)).unwrap_err();
    assert!(error.contains("no resource of the cluster runs r0"), "{error}");
    let second = primitive("p9", "resource", "r0");
    let two = format!(r#"<clone id="one">{ours}</clone><clone id="two">{second}</clone>"#);
    let error = clone_in(&two).unwrap_err();
    assert!(error.contains("one and two"), "{error}");
}

#[test]
fn nodes_are_found_by_the_whole_or_the_short_name() {
    let ask = |me: [&str; 2], peer: &str, [first, second]: [&str; 2]| {
        let text = Cluster::with_peer(MEMBER)
            .text()
            .replace("uname=\"a\"", &format!("uname=\"{first}\""))
            .replace("uname=\"b\"", &format!("uname=\"{second}\""));
        scene(&text, Asker { resource: "r0", me, peer })
            .map(|scene| (scene.me, scene.peer, scene.peer_state))
    };
    let found = |me: &str, peer: &str| Ok((me.to_owned(), peer.to_owned(), PeerState::Member));
    assert_eq!(ask(["a", "a"], "b", ["a", "b"]), found("a", "b"));
    assert_eq!(ask(["a", "a"], "b", ["a.example.org", "b.example.org"]), {
        found("a.example.org", "b.example.org")
    });
    // The name in the configuration is not the cluster's: the host's own is.
    assert_eq!(ask(["left", "a"], "b", ["a", "b"]), found("a", "b"));
    for (me, peer, words) in [
        (["a", "a"], "c", "no node c"),
        (["x", "y"], "b", "no node x or y"),
        (["b", "b"], "b", "both nodes"),
    ] {
        let error = ask(me, peer, ["a", "b"]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    // Two nodes of the same short name: nobody knows which.
    let error = ask(["n.left", "a"], "n", ["n.left", "n.right"]).unwrap_err();
    assert!(error.contains("no node n;"), "{error}");
}

#[test]
fn a_peer_is_a_member_lost_or_down() {
    let down = |machine| PeerState::Down { machine };
    for (attributes, expected) in [
        (MEMBER, PeerState::Member),
        (LOST, PeerState::Lost),
        (DOWN, down(true)),
        // As Pacemaker 2.1.7 and later write it.
        (
            r#"in_ccm="1700000000" crmd="1700000002" join="member" expected="member""#,
            PeerState::Member,
        ),
        (r#"in_ccm="0" crmd="0" join="down" expected="member""#, PeerState::Lost),
        (r#"in_ccm="0" crmd="0" join="down" expected="down""#, down(true)),
        // Booting after it was fenced: Pacemaker does not run there yet.
        (r#"in_ccm="true" crmd="offline" join="down" expected="down""#, down(false)),
        // Just lost: the cluster has not taken it out of its groups.
        (r#"in_ccm="false" crmd="offline" join="member" expected="member""#, PeerState::Lost),
        // Joining, leaving, its controller dead.
        (r#"in_ccm="true" crmd="online" join="pending" expected="member""#, PeerState::Lost),
        (r#"in_ccm="true" crmd="online" join="member" expected="down""#, PeerState::Lost),
        (r#"in_ccm="true" crmd="offline" join="down" expected="member""#, PeerState::Lost),
        // Never seen.
        ("", PeerState::Lost),
    ] {
        let seen = scene(&Cluster::with_peer(attributes).text(), ASKER).unwrap();
        assert_eq!(seen.peer_state, expected, "{attributes}");
    }
    let unseen = Cluster::with_peer(MEMBER)
        .text()
        .replace("<node_state id=\"2\" uname=\"b\"", "<node_state id=\"3\" uname=\"c\"");
    assert_eq!(scene(&unseen, ASKER).unwrap().peer_state, PeerState::Lost);
}

#[test]
fn a_member_that_is_to_be_fenced_counts_as_lost() {
    let mark = |value: &str| {
        let transient = format!(
            "<transient_attributes id=\"2\"><instance_attributes id=\"t\"><nvpair id=\"t1\" \
             name=\"terminate\" value=\"{value}\"/></instance_attributes></transient_attributes>\
             <lrm id=\"2\">"
        );
        let text = Cluster::with_peer(MEMBER).text().replace("<lrm id=\"2\">", &transient);
        scene(&text, ASKER).unwrap().peer_state
    };
    assert_eq!(mark("true"), PeerState::Lost);
    assert_eq!(mark("false"), PeerState::Member);
}

#[test]
fn quorum_and_fencing_are_read_as_pacemaker_reads_them() {
    let read = |text: &str| {
        let seen = scene(text, ASKER).unwrap();
        (seen.may_act, seen.stonith)
    };
    let cluster = Cluster::with_peer(MEMBER);
    assert_eq!(read(&cluster.text()), (true, true));
    let headless = Cluster { quorum: "0", stonith: "off", ..cluster }.text();
    assert_eq!(read(&headless), (false, false));
    // Nothing said: nodes are fenced, and there is no quorum.
    let silent = headless
        .replace("have-quorum=\"0\"", "")
        .replace("name=\"stonith-enabled\"", "name=\"something-else\"");
    assert_eq!(read(&silent), (false, true));
    let ignoring =
        headless.replace("stonith-enabled\" value=\"off\"", "no-quorum-policy\" value=\"ignore\"");
    assert_eq!(read(&ignoring), (true, true));
}

#[test]
fn the_last_operation_says_whether_the_peer_is_promoted() {
    let promoted = |operations: &'static str| {
        let text = Cluster { operations, ..Cluster::with_peer(MEMBER) }.text();
        scene(&text, ASKER).unwrap().peer_promoted
    };
    let cases = [
        ("", false),
        (r#"<lrm_rsc_op operation="promote" call-id="9" rc-code="0" op-status="0"/>"#, true),
        (r#"<lrm_rsc_op operation="promote" call-id="9" rc-code="1" op-status="4"/>"#, false),
        (
            r#"<lrm_rsc_op operation="monitor" call-id="12" rc-code="8" op-status="0"/>
<lrm_rsc_op operation="promote" call-id="9" rc-code="0" op-status="0"/>
<lrm_rsc_op operation="notify" call-id="15" rc-code="0" op-status="0"/>"#,
            true,
        ),
        (
            r#"<lrm_rsc_op operation="monitor" call-id="12" rc-code="8" op-status="0"/>
<lrm_rsc_op operation="stop" call-id="20" rc-code="0" op-status="0"/>"#,
            false,
        ),
        (r#"<lrm_rsc_op operation="monitor" call-id="5" rc-code="0" op-status="0"/>"#, false),
    ];
    for (operations, expected) in cases {
        assert_eq!(promoted(operations), expected, "{operations}");
    }
}

#[test]
fn what_is_no_cib_is_told() {
    for (text, words) in [
        ("", "no XML"),
        ("Call failed: Transport endpoint is not connected", "no XML"),
        ("<html/>", "no CIB"),
        ("<cib/>", "no configuration"),
    ] {
        let error = scene(text, ASKER).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
