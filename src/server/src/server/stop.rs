//! When a node is told to stop.

use std::io::Read as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Told once; clones share it.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Not told yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Tells it.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is told.
    pub async fn requested(&self) {
        // This handle keeps the channel open.
        let _told = self.0.subscribe().wait_for(|told| *told).await.is_ok();
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// Told by SIGTERM, SIGINT or the end of standard input. A second signal ends the process at once.
pub(super) fn on_signals(end_with_stdin: bool) -> anyhow::Result<Stop> {
    let stop = Stop::new();
    let (mut terms, mut interrupts) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terms.recv() => {}
                _ = interrupts.recv() => {}
            }
            if first {
                told.request();
            } else {
                tracing::warn!("told to stop twice: at once");
                std::process::exit(1);
            }
        }
    });
    if end_with_stdin {
        let told = stop.clone();
        // A thread of its own: a read of standard input cannot be given up.
        std::thread::Builder::new().name("hapax-stdin".to_owned()).spawn(move || {
            let mut discarded = [0; 64];
            while std::io::stdin().lock().read(&mut discarded).is_ok_and(|read| read > 0) {}
            told.request();
        })?;
    }
    Ok(stop)
}
