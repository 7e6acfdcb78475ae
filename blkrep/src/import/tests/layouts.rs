//! Where hosts, volumes and connections may stand, and which two nodes become of them.

use super::*;

fn line_of<'a>(toml: &'a str, node: &str, key: &str) -> Option<&'a str> {
    let head = format!("[node.{node}]");
    let within = toml.split("\n\n").find(|part| part.starts_with(&head))?;
    within.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")))
}

#[test]
fn what_a_resource_says_for_both_hosts_holds_for_both() {
    let (toml, _) = converted_one(
        "resource r0 {
           device /dev/drbd7 minor 7;
           disk /dev/vg/r0;
           flexible-meta-disk /dev/vg/meta;
           on alpha { address ipv4 127.0.0.1:7791; disk /dev/vg/own; }
           on bravo { address ipv6 [::1]:7792; device minor 8; meta-disk internal; }
         }",
    );
    assert_eq!(line_of(&toml, "alpha", "disk"), Some("\"/dev/vg/own\""));
    assert_eq!(line_of(&toml, "alpha", "meta-disk"), Some("\"/dev/vg/meta\""));
    assert_eq!(line_of(&toml, "alpha", "device"), Some("\"/dev/nbd7\""));
    assert_eq!(line_of(&toml, "bravo", "disk"), Some("\"/dev/vg/r0\""));
    assert_eq!(line_of(&toml, "bravo", "meta-disk"), Some("\"internal\""));
    assert_eq!(line_of(&toml, "bravo", "device"), Some("\"/dev/nbd8\""));
    assert_eq!(line_of(&toml, "bravo", "address"), Some("\"[::1]:7792\""));
}

#[test]
fn metadata_are_internal_when_nothing_is_said_as_in_8_4() {
    let (toml, _) = converted_one(&resource("").replace("meta-disk internal;", ""));
    assert_eq!(line_of(&toml, "alpha", "meta-disk"), Some("\"internal\""));
}

#[test]
fn one_volume_with_a_number_keeps_the_name_of_the_resource() {
    let (toml, notes) = converted_one(
        "resource r0 {
           volume 3 { device /dev/drbd4; disk /dev/sdb; meta-disk internal; }
           on alpha { address 127.0.0.1:7791; }
           on bravo { address 127.0.0.1:7792; volume 3 { disk /dev/sdc; } }
         }",
    );
    assert!(toml.starts_with("name = \"r0\"\n"), "{toml}");
    assert_eq!(line_of(&toml, "alpha", "disk"), Some("\"/dev/sdb\""));
    assert_eq!(line_of(&toml, "bravo", "disk"), Some("\"/dev/sdc\""));
    assert!(notes.iter().all(|note| note.contains(": note: ")), "{notes:?}");
}

const TWO_VOLUMES: &str = "resource r0 {
  net { cram-hmac-alg sha1; shared-secret 0123456789abcdef; }
  volume 0 { device /dev/drbd0; disk /dev/sdb; meta-disk internal; }
  volume 1 { device /dev/drbd1; disk /dev/sdc; meta-disk internal; disk { resync-rate 5M; } }
  on alpha { address 127.0.0.1:7791; }
  on bravo { address 127.0.0.2:7791; }
}
resource r1 {
  device /dev/drbd2; disk /dev/sdd; meta-disk internal;
  on alpha { address 127.0.0.1:7792; }
  on bravo { address 127.0.0.2:7795; }
}
";

#[test]
fn several_volumes_become_a_resource_each_with_a_free_port_and_a_warning() {
    let imported = imported(TWO_VOLUMES).unwrap();
    let names: Vec<&str> = imported.files.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["r0-0", "r0-1", "r1"]);
    let [first, second, _] = &imported.files[..] else { panic!("three files") };
    assert_eq!(line_of(&first.toml, "alpha", "address"), Some("\"127.0.0.1:7791\""));
    // 7792 is r1's.
    assert_eq!(line_of(&second.toml, "alpha", "address"), Some("\"127.0.0.1:7793\""));
    assert_eq!(line_of(&second.toml, "bravo", "address"), Some("\"127.0.0.2:7793\""));
    assert_eq!(line_of(&second.toml, "alpha", "device"), Some("\"/dev/nbd1\""));
    assert!(second.toml.contains("/etc/blkrep.d/r0-1.secret"), "{}", second.toml);
    assert!(second.toml.contains("rate = \"5M\"") && !first.toml.contains("rate"));
    let warning = "drbd.conf:1: warning: resource r0 has 2 volumes";
    assert!(shown(&imported.notes).iter().any(|note| note.starts_with(warning)));
    // The warning stays with the file.
    let is_kept = |line: &str| line.starts_with("# ") && line.contains("has 2 volumes");
    assert!(first.toml.lines().any(is_kept), "{}", first.toml);
}

#[test]
fn one_resource_of_several_can_be_chosen() {
    let only = |name: &str| {
        imported_with(TWO_VOLUMES, &Choice { resource: Some(name.to_owned()), ..choice() })
    };
    let files = only("r1").unwrap().files;
    assert_eq!(files.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["r1"]);
    let message = only("r2").unwrap_err().to_string();
    assert_eq!(message, "there is no resource 'r2'; use one of: r0, r1");
}

const FLOATING: &str = "resource r0 {
  device /dev/drbd0; disk /dev/sdb; meta-disk internal;
  floating 127.0.0.1:7791;
  floating ipv6 [::1]:7792 { disk /dev/sdc; }
}";

#[test]
fn floating_hosts_get_their_names_from_the_command_line() {
    let message = refusals(FLOATING);
    assert!(message[0].starts_with("drbd.conf:3: error: 'floating' does not tell"), "{message:?}");
    let nodes = vec!["left".to_owned(), "right".to_owned()];
    let imported = imported_with(FLOATING, &Choice { nodes, ..choice() }).unwrap();
    let toml = &imported.files[0].toml;
    assert_eq!(line_of(toml, "left", "address"), Some("\"127.0.0.1:7791\""));
    assert_eq!(line_of(toml, "right", "disk"), Some("\"/dev/sdc\""));
    assert_eq!(line_of(toml, "right", "address"), Some("\"[::1]:7792\""));
}

const THREE: &str = "resource r0 {
  device /dev/drbd0; disk /dev/sdb; meta-disk internal;
  on alpha { address 127.0.0.1:7791; node-id 0; }
  on bravo { address 127.0.0.1:7792; node-id 1; }
  on charlie { disk none; node-id 2; address 127.0.0.1:7793; }
  connection-mesh { hosts alpha bravo charlie; net { ping-timeout 7; } }
}";

#[test]
fn of_three_hosts_two_are_chosen_by_name() {
    let message = refusals(THREE);
    assert!(message[0].contains("alpha, bravo, charlie"), "{message:?}");
    let nodes = vec!["bravo".to_owned(), "alpha".to_owned()];
    let imported = imported_with(THREE, &Choice { nodes, ..choice() }).unwrap();
    let toml = &imported.files[0].toml;
    assert!(toml.find("[node.alpha]") < toml.find("[node.bravo]"), "the order of the file");
    assert!(!toml.contains("[node.charlie]") && toml.contains("ping-timeout = \"700ms\""));
    assert!(shown(&imported.notes).iter().any(|note| note.starts_with("drbd.conf:5: warning")));
    let nodes = vec!["alpha".to_owned(), "charlie".to_owned()];
    let error = imported_with(THREE, &Choice { nodes, ..choice() }).unwrap_err();
    assert!(
        said(&error).contains("drbd.conf:5: error: 'disk none' on 'charlie'"),
        "{}",
        said(&error)
    );
    let nodes = vec!["alpha".to_owned(), "brave".to_owned()];
    let error = imported_with(THREE, &Choice { nodes, ..choice() }).unwrap_err();
    assert!(error.to_string().starts_with("--node brave is no host"), "{error}");
}

#[test]
fn several_names_of_one_host_are_one_node() {
    let text = resource("").replace("on alpha", "on alpha spare");
    let (toml, notes) = converted_one(&text);
    assert!(toml.contains("[node.alpha]"), "{toml}");
    assert!(notes.iter().any(|note| note.contains("start it with --node alpha")), "{notes:?}");
    let nodes = vec!["spare".to_owned()];
    let imported = imported_with(&text, &Choice { nodes, ..choice() }).unwrap();
    assert!(imported.files[0].toml.contains("[node.spare]"));
}

#[test]
fn the_connection_of_drbd_9_gives_addresses_and_goes_before_the_resource() {
    let (toml, notes) = converted_one(
        "common { net { ping-int 11; timeout 50; } }
         resource r0 {
           net { timeout 51; ko-count 3; }
           volume 0 { device minor 0; disk /dev/sdb; meta-disk internal; }
           on alpha { node-id 0; }
           on bravo { node-id 1; }
           connection {
             host alpha address 127.0.0.1:7000;
             host bravo address 127.0.0.1:7001;
             net { timeout 52; }
             volume 0 { disk { c-max-rate 7M; } }
           }
         }",
    );
    assert_eq!(line_of(&toml, "alpha", "address"), Some("\"127.0.0.1:7000\""));
    for line in ["timeout = \"5200ms\"", "ping-int = \"11s\"", "ko-count = 3", "rate = \"7M\""] {
        assert!(toml.contains(line), "{line} in {toml}");
    }
    assert!(notes.iter().filter(|note| note.contains("'node-id'")).count() == 2, "{notes:?}");
}

#[test]
fn of_several_paths_the_first_is_taken_with_a_warning() {
    let (toml, notes) = converted_one(
        "resource r0 {
           device minor 0; disk /dev/sdb; meta-disk internal;
           on alpha { address 127.0.0.1:7; }
           on bravo { address 127.0.0.1:8; }
           connection {
             path { host alpha port 7100; host bravo address 127.0.0.9:7101; }
             path { host alpha address 127.1.0.1:7200; host bravo address 127.1.0.2:7201; }
           }
         }",
    );
    assert_eq!(line_of(&toml, "alpha", "address"), Some("\"127.0.0.1:7100\""));
    assert_eq!(line_of(&toml, "bravo", "address"), Some("\"127.0.0.9:7101\""));
    assert!(notes.iter().any(|note| note.starts_with("drbd.conf:5: warning: several paths")));
}

#[test]
fn slots_of_a_shared_metadata_device_are_refused_one_alone_is_taken() {
    let one = |name: &str, port: u16, slot: u32, minor: u32| {
        format!(
            "resource {name} {{\ndevice /dev/drbd{minor};\ndisk /dev/sd{name};\n\
             meta-disk /dev/sdm[{slot}];\non alpha {{ address 127.0.0.1:{port}; }}\n\
             on bravo {{ address 127.0.0.2:{port}; }}\n}}\n"
        )
    };
    let (toml, _) = converted_one(&one("a", 7791, 5, 0));
    assert_eq!(line_of(&toml, "bravo", "meta-disk"), Some("\"/dev/sdm\""));
    let both = format!("{}{}", one("a", 7791, 0, 0), one("b", 7792, 1, 1));
    let errors = refusals(&both);
    assert!(errors[0].starts_with("drbd.conf:11: error: /dev/sdm is used on alpha by resource a"));
    let choice = Choice { resource: Some("b".to_owned()), ..choice() };
    assert!(imported_with(&both, &choice).is_ok(), "one alone is no conflict");
}

#[test]
fn two_resources_share_neither_address_nor_minor_nor_disk() {
    let other = resource("").replace("r0", "r1");
    let errors = refusals(&format!("{}{other}", resource("")));
    for shared in ["127.0.0.1:7791", "127.0.0.1:7792", "the minor 0", "/dev/sdb"] {
        assert!(errors.iter().any(|error| error.contains(shared)), "{shared}: {errors:#?}");
    }
}

#[test]
fn what_blkrep_cannot_be_is_refused_by_name_and_only_where_it_is_asked_for() {
    let stacked = "resource r0-U {
  stacked-on-top-of r0 { device /dev/drbd10; address 127.0.0.1:7900; }
  on charlie { device /dev/drbd10; disk /dev/sdz; address 127.0.0.1:7901; meta-disk internal; }
}
";
    let text = format!("{}{stacked}", resource(""));
    let errors = refusals(&text);
    assert!(errors[0].starts_with("drbd.conf:7: error: 'stacked-on-top-of r0'"), "{errors:?}");
    let choice = Choice { resource: Some("r0".to_owned()), ..choice() };
    assert!(imported_with(&text, &choice).is_ok());
    let proxy = HOSTS.replacen(
        "meta-disk internal;",
        "meta-disk internal; proxy on alpha { inside 127.0.0.1:1; }",
        1,
    );
    let errors = refusals(&format!("resource r0 {{\n{proxy}}}\n"));
    assert!(errors[0].starts_with("drbd.conf:2: error: 'proxy'"), "{errors:?}");
    let sdp = resource("").replace("address 127.0.0.1:7791", "address sdp 127.0.0.1:7791");
    assert!(converted_one(&sdp).1.iter().any(|note| note.contains("warning: 'sdp'")));
}

#[test]
fn a_short_secret_is_not_carried_over_and_a_long_one_is() {
    let with = |secret: &str| {
        imported(&resource(&format!("net {{ cram-hmac-alg sha1; shared-secret \"{secret}\"; }}")))
            .unwrap()
    };
    let short = with("FooFunFactory");
    assert_eq!(short.files[0].secret, None);
    assert!(short.files[0].toml.contains("shared-secret-file"), "the daemon then asks for it");
    assert!(!short.files[0].toml.contains("FooFun"), "{}", short.files[0].toml);
    assert!(shown(&short.notes).iter().any(|note| note.contains("has 13 bytes")));
    let long = with("0123456789abcdef");
    assert_eq!(long.files[0].secret.as_ref().unwrap().0, "0123456789abcdef");
    assert!(!long.files[0].toml.contains("0123456789abcdef"), "{}", long.files[0].toml);
}

#[test]
fn what_is_skipped_is_said_and_what_overrules_is_taken() {
    let (toml, notes) = converted_one(&format!(
        "skip {{ resource x {{ \u{201c}anything\u{201d} }} }}
         common {{ net {{ ko-count 3; ko-count 4; }} }}
         {}",
        resource("net { ping-int 9; }")
    ));
    assert!(toml.contains("ko-count = 4") && toml.contains("ping-int = \"9s\""), "{toml}");
    assert!(
        notes.iter().any(|note| note.starts_with("drbd.conf:1: note: the block behind 'skip'"))
    );
    assert!(notes.iter().any(|note| note.contains("'ko-count' is given again on line 2")));
}

#[test]
fn unfence_peer_lifts_what_fence_peer_has_placed() {
    let (toml, notes) = converted_one(&resource(
        "handlers {
           fence-peer \"/usr/lib/drbd/crm-fence-peer.sh\";
           after-resync-target \"/usr/lib/drbd/crm-unfence-peer.sh\";
         }
         disk { fencing resource-and-stonith; }",
    ));
    for line in [
        "fence-peer = \"/usr/lib/blkrep/blkrep-fence-peer\"",
        "unfence-peer = \"/usr/lib/blkrep/blkrep-unfence-peer\"",
        "after-resync-target = \"/usr/lib/blkrep/blkrep-unfence-peer\"",
    ] {
        assert!(toml.lines().any(|found| found == line), "{line} in {toml}");
    }
    assert!(notes.iter().any(|note| note.contains("unfence-peer is set")), "{notes:?}");
}
