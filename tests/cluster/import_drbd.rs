//! A configuration of DRBD, carried over: its files start two nodes that replicate.

use crate::bed::{MIB, options};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use testbed::Pair;

const POSTGRES: &str = include_str!("../../blkrep/src/import/tests/seeds/postgres.conf");
const SECRET: &str = "net { cram-hmac-alg \"sha1\"; shared-secret \"some-shared-string\"; }";

/// The HOWTO's file with names, disks and addresses of the pair, and a secret. The device is left
/// out: not every machine has the kernel's module.
fn drbd_conf(pair: &Pair) -> PathBuf {
    let mut text = POSTGRES
        .replace("resource postgres", "resource r0")
        .replace("common {", &format!("common {{ {SECRET}"))
        .replace("device      /dev/drbd0;", "");
    for (node, host, address) in
        [(&pair.a, "qvddb1", "192.168.0.91:7791"), (&pair.b, "qvddb2", "192.168.0.92:7791")]
    {
        assert!(text.contains(address), "the seed is as it was");
        let disk = format!("disk        {};", node.disk().display());
        text = text
            .replace(&format!("on {host}"), &format!("on {}", node.name()))
            .replacen("disk        /dev/sdb;", &disk, 1)
            .replace(address, &node.peer_address().to_string());
    }
    let file = pair.scratch().join("drbd.conf");
    fs::write(&file, text).expect("the scratch directory is writable");
    file
}

fn directory(file: &Path) -> &str {
    file.parent().and_then(Path::to_str).expect("a configuration is in a directory")
}

#[test]
fn the_howto_s_configuration_starts_two_nodes_that_replicate() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    let drbd_conf = drbd_conf(&pair);
    let drbd_conf = drbd_conf.to_str().expect("a plain path");
    for node in [&pair.a, &pair.b] {
        let file = node.config_file();
        let before = fs::read(&file).expect("a pair has a configuration");
        let import = ["import-drbd", drbd_conf, "--out", directory(&file)];
        let refused = node.run(&import).expect_code(11, "a file that is there");
        assert!(refused.stderr.contains("give --force"), "{}", refused.stderr);
        assert_eq!(fs::read(&file).expect("it is still there"), before);
        let done = node.must(&["import-drbd", drbd_conf, "--out", directory(&file), "--force"]);
        assert!(done.stdout.contains("r0.toml") && done.stdout.contains("r0.secret"), "{done:?}");
        let secret = file.with_file_name("r0.secret");
        let mode = fs::metadata(&secret).expect("the secret is written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let dump = node.must(&["dump", "r0"]).stdout;
        assert!(dump.contains("rate = \"100M\""), "{dump}");
        assert!(dump.contains("degr-wfc-timeout = \"2min\""), "{dump}");
    }
    pair.bring_into_sync();
    assert_eq!(pair.a.state().role, "Primary");
    assert!(pair.a.state().size_bytes > 60 * MIB);
    pair.expect_equal();
}

#[test]
fn what_is_printed_is_a_configuration_and_all_else_is_on_standard_error() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    let drbd_conf = drbd_conf(&pair);
    let printed = pair.a.must(&["import-drbd", drbd_conf.to_str().expect("a plain path")]);
    assert!(printed.stderr.contains("drbd.conf:2: note: 'usage-count no'"), "{}", printed.stderr);
    let secret = pair.a.config_file().with_file_name("r0.secret");
    assert!(printed.stderr.contains(&secret.display().to_string()), "{}", printed.stderr);
    assert!(!secret.exists(), "only --out writes");
    assert!(!printed.stdout.contains("some-shared-string"), "{}", printed.stdout);
    fs::write(pair.a.config_file(), &printed.stdout).expect("it can be written");
    pair.a.must(&["dump", "r0"]);
}

#[test]
fn a_mistake_is_exit_code_10_with_its_place_and_nothing_is_written() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    let file = drbd_conf(&pair);
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, text.replace("wfc-timeout 0;", "wfc-timeout \u{201c}0\u{201d};"))
        .expect("it can be written");
    let out = pair.scratch().join("out");
    let arguments =
        ["import-drbd", file.to_str().expect("plain"), "--out", out.to_str().expect("plain")];
    let refused = pair.a.run(&arguments).expect_code(10, "curly quotes");
    let place = format!("{}:10: error: found the typographic quote", file.display());
    assert!(refused.stderr.starts_with(&place), "{}", refused.stderr);
    assert!(!out.exists());
}
