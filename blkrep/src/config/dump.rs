//! Writes a resource as a normalised configuration file, every default spelled out.

use super::resource::{MetaDisk, NodeConfig, PeerTrust, Resource};
use super::units::{write_size, write_time};
use replicator::settings::OnIoError;
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
        line("\n[disk]", String::new());
        let on_io_error = match self.on_io_error {
            OnIoError::Detach => "detach",
            OnIoError::PassOn => "pass_on",
            OnIoError::CallLocalIoError => "call-local-io-error",
        };
        line("on-io-error", quote(on_io_error));
        line("\n[startup]", String::new());
        line("wfc-timeout", quote(&write_time(self.wfc_timeout)));
        if let Some(rate) = self.sync_rate_max {
            line("\n[sync]", String::new());
            line("rate", quote(&write_size(rate)));
        }
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
    use super::super::parse::parse;
    use super::super::parse::tests::GOOD;
    use super::*;

    #[test]
    fn a_dump_parses_to_the_same_resource() {
        let file = Path::new("/etc/blkrep.d/r0.toml");
        let odd = GOOD
            .replace("[node.bob]", "[node.\"bob.example\"]")
            .replace("/dev/vg0/r0", "/dev/vg0/a \\\"b\\\" c")
            .replace("[net]", "[startup]\nwfc-timeout = \"2min\"\n[net]\ntimeout = \"900ms\"");
        for text in [GOOD, &odd] {
            let resource = parse(file, text).unwrap();
            assert_eq!(parse(file, &resource.dump()).unwrap(), resource, "{}", resource.dump());
        }
    }

    #[test]
    fn a_dump_spells_out_the_defaults() {
        let dump = parse(Path::new("r0.toml"), GOOD).unwrap().dump();
        assert!(dump.starts_with("name = \"r0\"\n\n[net]\nprotocol = \"C\"\n"), "{dump}");
        assert!(dump.contains("timeout = \"6s\"\nconnect-int = \"10s\"\n"), "{dump}");
        assert!(dump.contains("on-io-error = \"detach\""), "{dump}");
        assert!(dump.contains("[node.\"alice\"]\ndisk = \"/dev/sdb1\"\n"), "{dump}");
    }
}
