//! A writer that is slow, because its disk is.
//!
//! Contract: a gated future is polled only after the time that its disk takes at that moment, and
//! never loses a wake-up: after each pause it is polled whether or not it was woken.

use crate::random::Random;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// How long a disk takes for one batch, ms: from, to (excluded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(pub u64, pub u64);

/// The pace of one machine's disk.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    random: Random,
    latency: Latency,
    /// Batches that waited while the disk was slower than usual.
    held_up: u64,
    usual: Latency,
}

impl Pace {
    /// A disk that takes this long.
    #[must_use]
    pub fn new(seed: u64, usual: Latency) -> Self {
        let random = Random::new(seed);
        Self(Arc::new(Mutex::new(Inner { random, latency: usual, held_up: 0, usual })))
    }

    /// From now on it takes this long; `None` for as long as usual.
    pub fn set(&self, latency: Option<Latency>) {
        let mut inner = self.0.lock();
        inner.latency = latency.unwrap_or(inner.usual);
    }

    /// Batches that a slower disk held up.
    #[must_use]
    pub fn held_up(&self) -> u64 {
        self.0.lock().held_up
    }

    fn draw(&self) -> Duration {
        let mut inner = self.0.lock();
        let Latency(from, to) = inner.latency;
        inner.held_up += u64::from(inner.latency != inner.usual);
        if to == 0 { Duration::ZERO } else { Duration::from_millis(inner.random.between(from, to)) }
    }

    /// The future at this pace.
    pub fn gate<F: Future + Send>(&self, future: F) -> Gated<F> {
        Gated { pace: self.clone(), pause: None, future: Box::pin(future) }
    }
}

/// A future at the pace of a disk.
#[derive(Debug)]
pub struct Gated<F> {
    pace: Pace,
    pause: Option<Pin<Box<Sleep>>>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if this.pause.is_none() {
            let pause = this.pace.draw();
            if !pause.is_zero() {
                this.pause = Some(Box::pin(tokio::time::sleep(pause)));
            }
        }
        if let Some(pause) = &mut this.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.pause = None;
        }
        this.future.as_mut().poll(context)
    }
}
