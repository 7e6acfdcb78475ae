//! The helper's device as its keeper has it: attached to the export, watched, and let go (rules D16
//! and G4).
//!
//! Its server cannot be taken over: whatever a dead daemon left is dropped before anything else, so
//! that nothing that waits in it can ever be written over what came later.

use super::device::size_bytes;
use super::program::{Helper, HelperError};
use crate::frontend::keeper::{Held, Stays, blocking};
use crate::frontend::news::News;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// A detached device's connections end within this time, if they are the only ones.
const SESSIONS_END_MAX: Duration = Duration::from_secs(5);

/// A device in use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attached {
    path: PathBuf,
    size_bytes: u64,
    promotion: String,
    /// It has been seen as a client; one that keeps no connection is not missed.
    was_client: bool,
    /// The size that its users were told they do not see.
    told_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// Something of a dead daemon, or of a run that failed, may be there.
    Unknown,
    /// Nothing is.
    Absent,
    /// The device.
    Attached(Attached),
}

/// The helper, and what was done with it last.
#[derive(Debug)]
pub(crate) struct Kept {
    helper: Helper,
    state: State,
}

impl Kept {
    /// Nothing was done with it yet.
    pub(crate) const fn new(helper: Helper) -> Self {
        Self { helper, state: State::Unknown }
    }

    /// True when there is a device that this daemon has attached.
    pub(crate) const fn is_attached(&self) -> bool {
        matches!(self.state, State::Attached(_))
    }

    /// Makes the device what the export wants it to be.
    pub(crate) async fn settle(&mut self, news: &News) -> Result<(), HelperError> {
        // Whatever interrupts this, the next one begins with a drop.
        match std::mem::replace(&mut self.state, State::Unknown) {
            State::Attached(mut attached) => match attached.fault(news).await {
                None => {
                    attached.follow_size(news);
                    self.state = State::Attached(attached);
                    return Ok(());
                }
                Some(fault) => {
                    tracing::warn!(
                        "{} is dropped, {fault}; whoever still uses it gets errors",
                        attached.path.display()
                    );
                    self.helper.drop_device().await?;
                }
            },
            State::Unknown => self.helper.drop_device().await?,
            State::Absent => {}
        }
        let (Some(export), Some(promotion)) = (&news.export, &news.promotion) else {
            self.state = State::Absent;
            return Ok(());
        };
        let attached = match self.helper.attach(export).await {
            Ok(path) => Attached {
                path,
                size_bytes: export.size_bytes,
                promotion: promotion.clone(),
                was_client: false,
                told_bytes: export.size_bytes,
            },
            Err(error) => {
                // What is half done may be a client, which would keep the node from a demotion.
                self.helper.drop_device().await?;
                self.state = State::Absent;
                return Err(error);
            }
        };
        self.state = State::Attached(attached);
        Ok(())
    }

    /// What there is to let go; none when there is nothing.
    pub(crate) fn held(&self) -> Option<Held> {
        let (is_served, name) = match &self.state {
            State::Absent => return None,
            State::Unknown => (false, "what is left of the attach helper's device".to_owned()),
            State::Attached(attached) => (true, attached.path.display().to_string()),
        };
        Some(Held { is_served, clients: None, name })
    }

    /// Has the device ended in order, unless somebody uses it.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn let_go(&mut self, news: &mut watch::Receiver<News>) -> Result<(), Stays> {
        let failed = |error: HelperError| Stays::Failed(error.to_string());
        match std::mem::replace(&mut self.state, State::Unknown) {
            State::Absent => {}
            State::Unknown => self.helper.drop_device().await.map_err(failed)?,
            State::Attached(attached) => {
                let detached = self.helper.detach(true).await;
                if let Err(error) = detached {
                    self.state = State::Attached(attached);
                    return Err(match error {
                        HelperError::Refused { .. } => {
                            Stays::InUse(format!("{error}; unmount or close it first"))
                        }
                        HelperError::Broken { .. } | HelperError::Useless { .. } => failed(error),
                    });
                }
                tracing::info!("{} is detached", attached.path.display());
            }
        }
        self.state = State::Absent;
        // Others may be connected as well: the engine says so.
        let ended = news.wait_for(|news| !news.has_clients);
        tokio::time::timeout(SESSIONS_END_MAX, ended).await.ok();
        Ok(())
    }

    /// What becomes of it when the daemon ends under its users.
    pub(crate) fn fate(&self) -> String {
        "whoever uses the attach helper's device gets errors from now on, since no daemon can take \
         it over; end its users, and start the next daemon, which attaches a new one, or run \
         'blkrep down'"
            .to_owned()
    }
}

impl Attached {
    /// Why it is of no use any more.
    async fn fault(&mut self, news: &News) -> Option<&'static str> {
        if news.promotion.as_ref() != Some(&self.promotion) {
            return Some("it is left from an earlier promotion");
        }
        if self.was_client && !news.has_clients {
            return Some("its server has ended");
        }
        self.was_client |= news.has_clients;
        let path = self.path.clone();
        match blocking(move || size_bytes(&path)).await {
            Ok(size_bytes) if size_bytes == self.size_bytes => None,
            Ok(_) | Err(_) => Some("it is not there any more"),
        }
    }

    /// Nobody can tell it a new size.
    fn follow_size(&mut self, news: &News) {
        let Some(export) = &news.export else { return };
        if export.size_bytes != self.told_bytes {
            self.told_bytes = export.size_bytes;
            tracing::warn!(
                "{} keeps its size of {} bytes until the next promotion, the resource has {}; clients of \
                 the NBD socket see that at once",
                self.path.display(),
                self.size_bytes,
                export.size_bytes
            );
        }
    }
}
