//! From a checked configuration to what one daemon is started with.

use super::error::ConfigError;
use super::paths::{control_socket, nbd_socket};
use super::resource::{MetaDisk, PeerTrust, Resource};
use super::secret::read_secret;
use crate::daemon::{DaemonPlan, MetaPlace};
use replicator::settings::{DiskSettings, Settings, SyncSettings};
use std::path::Path;

impl Resource {
    /// What the daemon of the node called `node` is started with.
    ///
    /// # Errors
    /// The file has no such node, or the shared secret cannot be used.
    pub fn to_plan(&self, node: &str, run_dir: &Path) -> Result<DaemonPlan, ConfigError> {
        let me = self.node_index(node)?;
        let own = self.node(me);
        let secret = match &self.net.trust {
            PeerTrust::Secret(file) => Some(read_secret(file)?),
            PeerTrust::Loopback | PeerTrust::AllowInsecure => None,
        };
        let settings = Settings {
            secret,
            net: self.net.timers,
            sync: SyncSettings { rate_max: self.sync_rate_max, ..SyncSettings::default() },
            disk: DiskSettings { on_io_error: self.on_io_error, ..DiskSettings::default() },
            // Window and buffers: the event loop cuts the arena and fills them in.
            ..Settings::new(self.name.clone(), me, self.nodes.clone().map(|node| node.name))
        };
        Ok(DaemonPlan {
            settings,
            data_path: own.disk.clone(),
            meta: match &own.meta_disk {
                MetaDisk::Internal => MetaPlace::Internal,
                MetaDisk::External(path) => MetaPlace::External(path.clone()),
            },
            listen: own.address,
            peer: self.node(me.other()).address,
            nbd_socket: nbd_socket(run_dir, &self.name),
            nbd_listen: own.nbd_listen,
            control_socket: control_socket(run_dir, &self.name),
            arena_bytes: self.net.arena_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::super::parse::tests::GOOD;
    use super::*;
    use replicator::ids::NodeIndex;

    fn resource() -> Resource {
        let text = GOOD
            .replace("shared-secret-file = \"/etc/blkrep.d/r0.secret\"", "allow-insecure = true");
        parse(Path::new("r0.toml"), &text).unwrap()
    }

    #[test]
    fn the_plan_of_each_node_names_its_own_disk_and_the_other_ones_address() {
        let plan = resource().to_plan("alice", Path::new("/run/blkrep")).unwrap();
        assert_eq!(plan.settings.me, NodeIndex::Second);
        assert_eq!(plan.settings.my_name(), "alice");
        assert_eq!(plan.settings.peer_name(), "bob");
        assert_eq!(plan.data_path, Path::new("/dev/sdb1"));
        assert!(matches!(plan.meta, MetaPlace::External(path) if path == Path::new("/dev/sdc1")));
        assert_eq!(plan.listen, "192.168.0.91:7791".parse().unwrap());
        assert_eq!(plan.peer, "192.168.0.92:7791".parse().unwrap());
        assert_eq!(plan.nbd_socket, Path::new("/run/blkrep/r0.nbd"));
        assert_eq!(plan.control_socket, Path::new("/run/blkrep/r0.control"));
        let plan = resource().to_plan("bob", Path::new("/run/blkrep")).unwrap();
        assert_eq!(plan.settings.me, NodeIndex::First);
        assert!(matches!(plan.meta, MetaPlace::Internal));
    }
}
