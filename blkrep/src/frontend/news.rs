//! What the I/O thread tells the control room about the export, so that the block device can follow
//! it.

use nbd_server::Export;
use tokio::sync::watch;

/// The state of things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// What is served; none on a Secondary.
    pub(crate) export: Option<Export>,
    /// The promotion that holds, or that a restarted Primary may still resume; none when a device
    /// of an earlier one can only be a mistake.
    pub(crate) promotion: Option<String>,
    /// The kernel's device has a session.
    pub(crate) is_attached: bool,
    /// Somebody is connected: the device of a helper that lives, or others.
    pub(crate) has_clients: bool,
}

/// The I/O thread's end.
#[derive(Debug)]
pub(crate) struct Teller(watch::Sender<News>);

/// Both ends; `promotion` is what is known at the start.
pub(crate) fn pair(promotion: Option<String>) -> (Teller, watch::Receiver<News>) {
    let (sender, receiver) = watch::channel(News { promotion, ..News::default() });
    (Teller(sender), receiver)
}

impl Teller {
    /// The export was opened, changed or closed.
    pub(crate) fn export(&self, export: Option<&Export>) {
        self.tell(|news| news.export = export.cloned());
    }

    /// A promotion, or the end of one.
    pub(crate) fn promotion(&self, promotion: Option<String>) {
        self.tell(|news| news.promotion = promotion);
    }

    /// The kernel's session has begun or ended.
    pub(crate) fn attached(&self, is_attached: bool) {
        self.tell(|news| news.is_attached = is_attached);
    }

    /// The first client has come, or the last one is gone.
    pub(crate) fn clients(&self, has_clients: bool) {
        if self.0.borrow().has_clients != has_clients {
            self.tell(|news| news.has_clients = has_clients);
        }
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        // Only at changes of role, size or session: never for a request.
        self.0.send_modify(change);
    }
}
