//! The kernel's device as its keeper has it: attached to the export, and let go (rules D16 and G4).

use super::attach::KernelDevice;
use super::faults::AttachError;
use crate::dataplane::handle::Handle;
use crate::frontend::keeper::{Held, Stays, blocking};
use crate::frontend::news::News;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A disconnected device's session ends within this time: its socket is closed.
const SESSION_END_MAX: Duration = Duration::from_secs(5);

/// The device, and what was done with it last.
#[derive(Debug)]
pub(crate) struct Kept {
    device: Arc<KernelDevice>,
    size_bytes: u64,
}

impl Kept {
    /// Nothing was done with it yet.
    pub(crate) fn new(device: KernelDevice) -> Self {
        Self { device: Arc::new(device), size_bytes: 0 }
    }

    /// Makes the device what the export wants it to be.
    pub(crate) async fn settle(&mut self, news: &News, handle: &Handle) -> Result<(), AttachError> {
        let device = Arc::clone(&self.device);
        let (Some(export), Some(promotion)) = (news.export.clone(), news.promotion.clone()) else {
            // Not Primary. What may still be resumed is left waiting.
            let promotion = news.promotion.clone();
            return blocking(move || device.drop_old(promotion.as_deref()).map(drop)).await;
        };
        let size_bytes = export.size_bytes;
        if !news.is_attached {
            let handle = handle.clone();
            let adopt = move |socket| handle.adopt_kernel(socket);
            blocking(move || device.attach(&export, &promotion, adopt)).await?;
        } else if self.size_bytes != size_bytes {
            blocking(move || device.resize(&export, &promotion)).await?;
        }
        self.size_bytes = size_bytes;
        Ok(())
    }

    /// What there is to let go; none when there is nothing.
    pub(crate) async fn held(&self, news: &News) -> Option<Held> {
        let is_served = news.is_attached;
        let device = Arc::clone(&self.device);
        // A kernel that keeps no cookies does not know whose it is.
        if !is_served && !blocking(move || device.is_ours()).await {
            return None;
        }
        Some(Held { is_served, clients: Some(u32::from(is_served)), name: self.device.name() })
    }

    /// Takes it from everybody and disconnects it.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn let_go(&mut self, news: &mut watch::Receiver<News>) -> Result<(), Stays> {
        let is_attached = news.borrow_and_update().is_attached;
        let device = Arc::clone(&self.device);
        let taken = blocking(move || device.take(is_attached)).await;
        let taken =
            taken.map_err(|held| Stays::InUse(format!("{held}; unmount or close it first")))?;
        let device = Arc::clone(&self.device);
        let disconnected = blocking(move || device.disconnect(taken)).await;
        disconnected.map_err(|error| Stays::Failed(error.to_string()))?;
        self.size_bytes = 0;
        let ended = news.wait_for(|news| !news.is_attached);
        match tokio::time::timeout(SESSION_END_MAX, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stays::Failed("the device's session has not ended".to_owned())),
        }
    }

    /// What becomes of it when the daemon ends under its users.
    pub(crate) fn fate(&self) -> String {
        format!(
            "{} waits up to {} s for the next one: start it, or end what uses the device and run \
             'blkrep down'",
            self.device.name(),
            self.device.dead_connection().as_secs()
        )
    }
}
