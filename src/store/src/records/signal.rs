//! Wakes the writer, whether it is a thread or a task.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// A flag that is raised by many and lowered by the one who waits for it.
#[derive(Debug, Default)]
pub(super) struct Signal {
    rung: Mutex<bool>,
    condvar: Condvar,
    notify: Notify,
}

impl Signal {
    /// Wakes the writer, now or when it next waits.
    pub(super) fn ring(&self) {
        *self.rung.lock() = true;
        self.condvar.notify_one();
        self.notify.notify_one();
    }

    /// Waits on this thread, at most for `timeout`.
    pub(super) fn wait_blocking(&self, timeout: Duration) {
        let mut rung = self.rung.lock();
        if !*rung {
            self.condvar.wait_for(&mut rung, timeout);
        }
        *rung = false;
    }

    /// Rests on this thread for `time`, or until somebody rings, which is kept for the next wait.
    pub(super) fn rest(&self, time: Duration) {
        self.condvar.wait_for(&mut self.rung.lock(), time);
    }

    /// Waits as a task.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
        *self.rung.lock() = false;
    }
}
