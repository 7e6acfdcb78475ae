//! From a checked configuration to what one daemon is started with.

use super::error::ConfigError;
use super::paths::{control_socket, disk_ends, nbd_socket};
use super::resource::{MetaDisk, NodeConfig, PeerTrust, Resource};
use super::secret::read_secret;
use crate::daemon::{BlockDevicePlan, DaemonPlan, KernelDevicePlan, MetaPlace};
use crate::disk_ends::DiskEnds;
use replicator::settings::{Handlers, Settings};
use std::path::Path;

impl Resource {
    /// What the daemon of the node called `node` is started with.
    ///
    /// # Errors
    /// The file has no such node, or the shared secret cannot be used.
    pub fn to_plan(&self, node: &str, run_dir: &Path) -> Result<DaemonPlan, ConfigError> {
        let secret = match &self.net.trust {
            PeerTrust::Secret(file) => Some(read_secret(file)?),
            PeerTrust::Loopback | PeerTrust::AllowInsecure => None,
        };
        let plan = self.to_plan_without_secret(node, run_dir)?;
        Ok(DaemonPlan { settings: Settings { secret, ..plan.settings }, ..plan })
    }

    /// The same for whoever tidies up after a daemon and talks to no peer.
    ///
    /// # Errors
    /// The file has no such node.
    pub(crate) fn to_plan_without_secret(
        &self,
        node: &str,
        run_dir: &Path,
    ) -> Result<DaemonPlan, ConfigError> {
        let me = self.node_index(node)?;
        let own = self.node(me);
        let settings = Settings {
            net: self.net.timers,
            sync: self.sync,
            disk: self.disk,
            split_brain: self.net.split_brain,
            handlers: self
                .handlers
                .commands
                .iter()
                .fold(Handlers::default(), |all, (handler, _)| all.with(*handler)),
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
            block_device: self.block_device(own),
            disk_ends: DiskEnds::at(disk_ends(run_dir, &self.name, node)),
            control_socket: control_socket(run_dir, &self.name),
            arena_bytes: self.net.arena_bytes,
            handlers: self.handlers.clone(),
            config_file: self.file.clone(),
        })
    }

    fn block_device(&self, node: &NodeConfig) -> Option<BlockDevicePlan> {
        let dead_connection = self.device_timeout;
        let kernel = node
            .device
            .map(|index| BlockDevicePlan::Kernel(KernelDevicePlan { index, dead_connection }));
        kernel.or_else(|| node.attach_helper.clone().map(BlockDevicePlan::Helper))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::super::parse::tests::GOOD;
    use super::*;
    use replicator::event::Handler;
    use replicator::ids::NodeIndex;
    use replicator::settings::{Fencing, OnIoError};

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
    #[test]
    fn policies_and_handlers_reach_the_engine() {
        let text = GOOD
            .replace("shared-secret-file = \"/etc/blkrep.d/r0.secret\"", "allow-insecure = true")
            .replace(
                "[sync]",
                "[disk]\nfencing = \"resource-and-stonith\"\n\
                      on-io-error = \"pass_on\"\n[handlers]\nfence-peer = \"/bin/true\"\n[sync]",
            );
        let resource = parse(Path::new("r0.toml"), &text).unwrap();
        let plan = resource.to_plan("bob", Path::new("/run/blkrep")).unwrap();
        let settings = &plan.settings;
        assert_eq!(settings.disk.fencing, Fencing::ResourceAndStonith);
        assert_eq!(settings.disk.on_io_error, OnIoError::PassOn);
        assert_eq!(settings.sync.rate_max, Some(100 << 20));
        assert!(settings.handlers.has(Handler::FencePeer));
        assert!(!settings.handlers.has(Handler::SplitBrain));
        assert_eq!(plan.handlers.get(Handler::FencePeer), Some("/bin/true"));
    }
}
