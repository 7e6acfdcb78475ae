//! The cookie of a device: which promotion, of which node, in which boot, connected it (D16). The
//! kernel keeps it with the device; a daemon that comes back compares.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// The kernel draws it when it starts.
const BOOT_ID: &str = "sys/kernel/random/boot_id";

/// Whose a device can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The resource.
    pub(crate) resource: String,
    /// The node; tests run both of them on one kernel.
    pub(crate) node: String,
}

impl Owner {
    /// The cookie of one of its promotions, in this boot.
    ///
    /// # Errors
    /// The boot identifier cannot be read under `proc`.
    pub(crate) fn cookie(&self, proc: &Path, promotion: &str) -> io::Result<Cookie> {
        let boot = fs::read_to_string(proc.join(BOOT_ID))?;
        Ok(Cookie(format!("{}{}:{promotion}", self.prefix(), boot.trim())))
    }

    /// True when a device with this cookie was connected by this node for this resource, by
    /// whatever promotion.
    pub(crate) fn made(&self, cookie: &str) -> bool {
        cookie.starts_with(&self.prefix())
    }

    /// Names have neither of the two marks in them, so no prefix is that of another owner.
    fn prefix(&self) -> String {
        format!("blkrep:{}@{}:", self.resource, self.node)
    }
}

/// A cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cookie(String);

impl Cookie {
    /// As the kernel keeps it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    fn owner(resource: &str, node: &str) -> Owner {
        Owner { resource: resource.to_owned(), node: node.to_owned() }
    }

    #[test]
    fn a_cookie_changes_with_promotion_boot_node_and_resource() {
        let dir = ScratchDir::new("cookie");
        let boot = |id: &str| {
            let file = dir.path().join(BOOT_ID);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{id}\n")).unwrap();
        };
        boot("b1");
        let first = owner("r0", "alice").cookie(dir.path(), "p1").unwrap();
        assert_eq!(first.as_str(), "blkrep:r0@alice:b1:p1");
        assert_eq!(owner("r0", "alice").cookie(dir.path(), "p1").unwrap(), first);
        assert_ne!(owner("r0", "alice").cookie(dir.path(), "p2").unwrap(), first);
        assert_ne!(owner("r0", "bob").cookie(dir.path(), "p1").unwrap(), first);
        assert_ne!(owner("r1", "alice").cookie(dir.path(), "p1").unwrap(), first);
        boot("b2");
        assert_ne!(owner("r0", "alice").cookie(dir.path(), "p1").unwrap(), first);
    }

    #[test]
    fn an_owner_knows_its_cookies_of_any_promotion_and_no_others() {
        let me = owner("r0", "alice");
        assert!(me.made("blkrep:r0@alice:b1:p1") && me.made("blkrep:r0@alice:b0:p9"));
        for other in ["", "blkrep:r0@alice", "blkrep:r0@alice2:b1:p1", "blkrep:r01@alice:b:p", "x"]
        {
            assert!(!me.made(other), "{other}");
        }
    }
}
