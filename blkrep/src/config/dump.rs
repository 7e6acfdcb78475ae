//! Writes a resource as a normalised configuration file, every default spelled out.

use super::resource::{MetaDisk, NodeConfig, PeerTrust, Resource};
use super::units::{write_size, write_time};
use super::words::{self, word};
use std::fmt::Write as _;
use std::path::Path;

impl Resource {
    /// The file that means the same, with all defaults written out; it parses to this resource
    /// again.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            text +=
                &if value.is_empty() { format!("{key}\n") } else { format!("{key} = {value}\n") };
        };
        let timers = &self.net.timers;
        line("name", quote(&self.name));
        line("\n[net]", String::new());
        line("protocol", quote("C"));
        match &self.net.trust {
            PeerTrust::Secret(file) => line("shared-secret-file", quote_path(file)),
            PeerTrust::AllowInsecure => line("allow-insecure", "true".to_owned()),
            PeerTrust::Loopback => {}
        }
        line("timeout", quote(&write_time(timers.timeout)));
        line("connect-int", quote(&write_time(timers.connect_int)));
        line("ping-int", quote(&write_time(timers.ping_int)));
        line("ping-timeout", quote(&write_time(timers.ping_timeout)));
        line("ko-count", timers.ko_count.to_string());
        line("max-buffers", quote(&write_size(self.net.arena_bytes as u64)));
        let split_brain = &self.net.split_brain;
        let names = [self.nodes[0].name.as_str(), self.nodes[1].name.as_str()];
        let zero_words = words::after_sb_0pri(names);
        line("after-sb-0pri", quote(&word(&zero_words, &split_brain.zero_primaries)));
        line("after-sb-1pri", quote(&word(&words::AFTER_SB_1PRI, &split_brain.one_primary)));
        line("after-sb-2pri", quote(&word(&words::AFTER_SB_2PRI, &split_brain.two_primaries)));
        line("always-asbp", split_brain.always.to_string());
        line("rr-conflict", quote(&word(&words::RR_CONFLICT, &split_brain.rr_conflict)));
        line("\n[disk]", String::new());
        let disk = &self.disk;
        line("on-io-error", quote(&word(&words::ON_IO_ERROR, &disk.on_io_error)));
        line("fencing", quote(&word(&words::FENCING, &disk.fencing)));
        line("on-no-data-accessible", quote(&word(&words::ON_NO_DATA, &disk.on_no_data)));
        line("disk-timeout", quote(&write_time(disk.timeout.unwrap_or_default())));
        line("al-extents", self.log.slots().to_string());
        line("device-timeout", quote(&write_time(self.device_timeout)));
        line("\n[startup]", String::new());
        let startup = &self.startup;
        line("wfc-timeout", quote(&write_time(startup.wfc_timeout)));
        line("degr-wfc-timeout", quote(&write_time(startup.degr_wfc_timeout)));
        line("outdated-wfc-timeout", quote(&write_time(startup.outdated_wfc_timeout)));
        line("wait-after-sb", startup.wait_after_sb.to_string());
        line("\n[sync]", String::new());
        if let Some(rate) = self.sync.rate_max {
            line("rate", quote(&write_size(rate)));
        }
        line("min-rate", quote(&write_size(self.sync.rate_floor)));
        line("checksums", quote(&word(&words::CHECKSUMS, &self.sync.checksums)));
        line("\n[handlers]", String::new());
        for (handler, command) in &self.handlers.commands {
            line(handler.name(), quote(command));
        }
        line("handler-timeout", quote(&write_time(self.handlers.timeout)));
        for node in &self.nodes {
            text += &dump_node(node);
        }
        text
    }
}

fn dump_node(node: &NodeConfig) -> String {
    // The name is quoted: a dot in it would otherwise open another table.
    let mut text = format!("\n[node.{}]\ndisk = {}\n", quote(&node.name), quote_path(&node.disk));
    let meta_disk = match &node.meta_disk {
        MetaDisk::Internal => quote("internal"),
        MetaDisk::External(path) => quote_path(path),
    };
    let mut line = |key: &str, value: &str| {
        writeln!(text, "{key} = {value}").expect("invariant: a string takes every line");
    };
    line("meta-disk", &meta_disk);
    line("address", &quote(&node.address.to_string()));
    if let Some(index) = node.device {
        line("device", &quote(&format!("/dev/nbd{index}")));
    }
    if let Some(command) = &node.attach_helper {
        line("attach-helper", &quote(command));
    }
    if let Some(address) = node.nbd_listen {
        line("nbd-listen", &quote(&address.to_string()));
    }
    text
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::super::parse::tests::GOOD;
    use super::super::parse::{parse, tables};
    use super::*;

    #[test]
    fn a_dump_parses_to_the_same_resource() {
        let file = Path::new("/etc/blkrep.d/r0.toml");
        let odd = GOOD
            .replace("[node.bob]", "[node.\"bob.example\"]")
            .replace("[node.bob]", "[node.bob]\ndevice = \"/dev/nbd12\"")
            .replace("[node.alice]", "[node.alice]\nattach-helper = \"/usr/lib/x --y \\\"z\\\"\"")
            .replace("/dev/vg0/r0", "/dev/vg0/a \\\"b\\\" c")
            .replace("[net]", "[startup]\nwfc-timeout = \"2min\"\ndegr-wfc-timeout = \"5min\"\noutdated-wfc-timeout = \"1500ms\"\nwait-after-sb = true\n[net]\ntimeout = \"900ms\"");
        let policies = GOOD
            .replace("[sync]", "[disk]\non-io-error = \"pass_on\"\nfencing = \"resource-only\"\non-no-data-accessible = \"suspend-io\"\ndisk-timeout = \"1min\"\nal-extents = 67\ndevice-timeout = \"7min\"\n[handlers]\nfence-peer = \"/usr/lib/fence \\\"x\\\"\"\nhandler-timeout = \"90s\"\n[sync]\nmin-rate = \"1M\"\nchecksums = \"always\"")
            .replace("[net]", "[net]\nafter-sb-0pri = \"discard-node-alice\"\nafter-sb-1pri = \"discard-secondary\"\nafter-sb-2pri = \"violently-as0p\"\nalways-asbp = true\nrr-conflict = \"retry-connect\"");
        for text in [GOOD, &odd, &policies] {
            let resource = parse(file, text).unwrap();
            assert_eq!(parse(file, &resource.dump()).unwrap(), resource, "{}", resource.dump());
        }
    }

    #[test]
    fn a_dump_spells_out_the_defaults() {
        let dump = parse(Path::new("r0.toml"), GOOD).unwrap().dump();
        assert!(dump.starts_with("name = \"r0\"\n\n[net]\nprotocol = \"C\"\n"), "{dump}");
        assert!(dump.contains("timeout = \"6s\"\nconnect-int = \"10s\"\n"), "{dump}");
        assert!(dump.contains("on-io-error = \"detach\"\nfencing = \"dont-care\"\n"), "{dump}");
        assert!(dump.contains("after-sb-0pri = \"disconnect\""), "{dump}");
        for (table, keys) in tables() {
            let is_optional = [
                "shared-secret-file",
                "allow-insecure",
                "rate",
                "device",
                "attach-helper",
                "nbd-listen",
            ];
            for key in keys.into_iter().filter(|key| !is_optional.contains(key)) {
                let is_there = match table {
                    "the file" | "[node.NODE]" | "[handlers]" => true,
                    _ => dump.contains(&format!("\n{key} = ")),
                };
                assert!(is_there, "{table} {key}: {dump}");
            }
        }
        assert!(dump.contains("[node.\"alice\"]\ndisk = \"/dev/sdb1\"\n"), "{dump}");
    }
}
