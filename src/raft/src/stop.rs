//! The end of a node or of one of its replicas, as its tasks see it.

use tokio::sync::watch;

/// A flag that is raised once.
#[derive(Clone, Debug)]
pub struct StopFlag(watch::Sender<bool>);

/// Waits for the flag.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl StopFlag {
    /// A flag that is down.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Raises it.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.0.borrow()
    }

    /// Something that waits for it.
    #[must_use]
    pub fn subscribe(&self) -> Stopping {
        Stopping(self.0.subscribe())
    }
}

impl Default for StopFlag {
    fn default() -> Self {
        Self::new()
    }
}

impl Stopping {
    /// Resolves once the flag is up, or whoever could raise it is gone.
    pub async fn wait(&mut self) {
        // Either way there is nothing left to run for.
        let _up_or_gone = self.0.wait_for(|up| *up).await.is_ok();
    }
}
