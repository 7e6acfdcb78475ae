//! The resource agent as other people's programs see it: the tester of the OCF, Pacemaker's own
//! tools, and a node on which the program is missing.

use crate::agent_bed::{Cluster, mark, run_dir, script, wrapper};
use crate::bed::options;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testbed::program::{Output, run};
use testbed::skips::{find_tool, require_root, require_tool, skip};

/// Longest run of a tool, which runs some thirty actions.
const TOOL_MAX: Duration = Duration::from_secs(300);

/// The agent and the program where every user can run them: the tester does it as nobody.
fn install(cluster: &Cluster) -> PathBuf {
    let place = cluster.pair.scratch();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place, open).expect("it is ours");
    let agent = place.join("agent/blkrep");
    script(&agent, &fs::read_to_string(wrapper()).expect("the wrapper is in the tree"));
    fs::copy(env!("CARGO_BIN_EXE_blkrep"), cluster.bin().join("blkrep")).expect("it can be copied");
    agent
}

fn tool(cluster: &Cluster, program: &Path, arguments: &[&str]) -> Output {
    let mut command = cluster.command(&cluster.pair.a, "");
    // The environment of an action, without what a cluster adds.
    let variables: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .filter(|(name, _)| !name.to_string_lossy().starts_with("OCF_"))
        .collect();
    command = cluster.pair.a.command(program);
    command.args(arguments).envs(variables);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", cluster.bin().display());
    let output = run(command.env("PATH", path), TOOL_MAX);
    println!("{output:?}");
    output
}

#[test]
fn the_agent_passes_the_tester_of_the_ocf() {
    if !require_root("the tester becomes nobody") {
        return;
    }
    let Some(tester) = find_tool("ocf-tester")
        .or_else(|| Some(PathBuf::from("/usr/sbin/ocf-tester")).filter(|path| path.is_file()))
    else {
        skip("the program 'ocf-tester' is not installed");
        return;
    };
    let Some(_) = require_tool("xmllint") else { return };
    let cluster = Cluster::new(&options());
    let a = &cluster.pair.a;
    cluster.expect(a, "start", 0);
    a.must(&["primary", "--force", "r0"]);
    cluster.expect(a, "stop", 0);
    let agent = install(&cluster).display().to_string();
    let arguments =
        ["-v", "-n", "p_r0", "-o", "resource=r0", "-o", "wfc_timeout=0", "-o", "notify=true"];
    let output = tool(&cluster, &tester, &[&arguments[..], &[&agent]].concat());
    let passed = output.expect_success("ocf-tester");
    assert!(passed.stdout.contains("passed all tests"), "{}", passed.stdout);
    for way in ["does not support the notify", "does not support the demote", "does not conform"] {
        assert!(!passed.stdout.contains(way), "{}", passed.stdout);
    }
}

#[test]
fn pacemakers_own_tools_know_the_agent() {
    if !require_root("the agent is installed in a mount namespace") {
        return;
    }
    for program in ["crm_resource", "unshare"] {
        if find_tool(program).is_none() && !Path::new("/usr/sbin").join(program).is_file() {
            skip(&format!("the program '{program}' is not installed"));
            return;
        }
    }
    let cluster = Cluster::new(&options());
    let agent = install(&cluster).display().to_string();
    let inside = cluster.pair.scratch().join("inside");
    script(
        &inside,
        "#!/bin/sh\nmount -t tmpfs none /usr/lib/ocf/resource.d || exit 99\n\
         mkdir /usr/lib/ocf/resource.d/blkrep && cp \"$1\" /usr/lib/ocf/resource.d/blkrep/ || exit 98\n\
         shift; exec \"$@\"\n",
    );
    let inside = inside.display().to_string();
    let ask = |arguments: &[&str]| {
        let unshare = ["-m", "--propagation", "private", &inside, &agent, "crm_resource"];
        tool(&cluster, Path::new("unshare"), &[&unshare[..], arguments].concat())
    };
    let shown = ask(&["--show-metadata", "ocf:blkrep:blkrep"]).expect_success("--show-metadata");
    assert!(shown.stdout.contains("<action name=\"reload-agent\""), "{}", shown.stdout);
    let class = ["--validate", "--class", "ocf", "--provider", "blkrep", "--agent", "blkrep"];
    let validate = |option: &str| ask(&[&class[..], &["--option", option]].concat());
    validate("resource=r0").expect_success("--validate");
    validate("drbd_resource=r0").expect_success("--validate by the old name");
    let missing = validate("resource=nonsense").expect_code(5, "--validate of a missing one");
    assert!(missing.stdout.contains("nonsense.toml"), "the reason is shown: {missing:?}");
    ask(&class).expect_code(6, "--validate without a resource");
}

#[test]
fn without_the_program_a_stop_succeeds_where_nothing_runs() {
    let elsewhere = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/bin"];
    if elsewhere.iter().any(|folder| Path::new(folder).join("blkrep").exists()) {
        skip("blkrep is installed here");
        return;
    }
    let cluster = Cluster::new(&options());
    let a = &cluster.pair.a;
    let ask = |action: &str, code: i32| {
        let (probe, path) = (("OCF_RESKEY_CRM_meta_interval", "0"), ("PATH", "/usr/bin:/bin"));
        cluster.expect_with(a, action, &[probe, path], code)
    };
    for (action, code) in
        [("monitor", 7), ("stop", 0), ("notify", 0), ("start", 5), ("promote", 5), ("meta-data", 5)]
    {
        let said = ask(action, code);
        assert!(code != 5 || said.contains("blkrep is not in PATH"), "{action}: {said}");
    }
    cluster.expect(a, "start", 0);
    ask("monitor", 5);
    let refused = ask("stop", 1);
    assert!(refused.contains("its daemon still runs"), "{refused}");
    cluster.expect(a, "stop", 0);
    ask("stop", 0);
    // The lock stays as a file, and nobody has it; a mark is a Primary's.
    assert!(run_dir(a).join("r0.lock").exists());
    fs::write(mark(a), "").unwrap();
    let refused = ask("stop", 1);
    assert!(refused.contains("died as a Primary"), "{refused}");
    ask("monitor", 5);
}
