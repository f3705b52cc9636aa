//! Records that only the disk has, read before anybody looks at them.
//!
//! The driver and the reader of a shard are a task each, and a look into the engine may wait for the disk. Made in
//! turn by one of them, those looks would hold up every call of the shard: a retry of an old key behind another,
//! and all new keys behind both. So calls whose record is neither pending nor cached step aside. Their records are read on
//! threads for that, several at a time, into the cache; then the calls go back to the reader, which finds them there.
//!
//! Contract:
//! - Calls of one frame on one address stay in their order: what comes behind one that steps aside steps aside with it.
//! - Their lead was confirmed after they came, before they stepped aside. What they are answered from is applied state
//!   of a later time, which holds all that was committed when they came.
//! - A deadline never waits for the disk: a call is refused in time, and definitely, since it was never proposed. The
//!   look goes on alone, and keeps its place among those at a time until the disk has answered.
//! - At most so many calls wait aside as may gather in the reader; one more is refused as overloaded.
//! - A look that fails is no error here: whoever answers the call meets it again, and tells.

use crate::env;
use crate::group::shard::Shard;
use crate::serve::outbox::Outbox;
use crate::serve::pending::Pending;
use crate::serve::reader::{Reads, refuse_torn_down};
use futures_util::future::join_all;
use hapax_core::{Address, ErrorCode, Refusal};
use hapax_store::address_map::AddressSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// Looks of a node into its engine at a time, in a thread each: as many as make a disk busy.
pub const LOOKS_AT_ONCE: usize = 16;

/// Addresses that one thread looks up in a row: a look that the kernel's cache answers takes less than the way to a thread.
const ADDRESSES_PER_LOOK: usize = 4;

/// The calls of one shard that wait for the disk.
pub struct Cold {
    shard: Arc<Shard>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Cold {
    /// Nobody yet.
    #[must_use]
    pub fn new(shard: Arc<Shard>, waiting_max: usize) -> Self {
        Self { shard, waiting: Arc::default(), waiting_max }
    }

    /// Lets the calls step aside whose records only the disk has; gives the others back, in their order.
    #[must_use]
    pub fn step_aside(&self, calls: Vec<Pending>) -> Vec<Pending> {
        let mut addresses = AddressSet::default();
        let (mut aside, mut warm, mut over) = (Vec::new(), Vec::with_capacity(calls.len()), Vec::new());
        let room = self.waiting_max.saturating_sub(self.waiting.load(Ordering::Relaxed));
        for call in calls {
            match call.address() {
                Some(address) if addresses.contains(address) || self.shard.records.is_cold(address) => {
                    if aside.len() < room {
                        addresses.insert(address.clone());
                        aside.push(call);
                    } else {
                        over.push(call);
                    }
                }
                _ => warm.push(call),
            }
        }
        if !aside.is_empty() {
            self.waiting.fetch_add(aside.len(), Ordering::Relaxed);
            let waiting = Waiting { count: aside.len(), all: Arc::clone(&self.waiting) };
            let looks = Looks { shard: Arc::clone(&self.shard), waiting };
            tokio::spawn(looks.run(aside, addresses.into_iter().collect()));
        }
        if !over.is_empty() {
            let full = Refusal::definite(ErrorCode::Overloaded, "too many calls wait for the disk");
            refuse(&self.shard, over, &full);
        }
        warm
    }
}

/// Calls that wait together.
struct Looks {
    shard: Arc<Shard>,
    waiting: Waiting,
}

/// Places among those who wait, given back when it is dropped.
struct Waiting {
    count: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Looks {
    async fn run(self, mut calls: Vec<Pending>, addresses: Vec<Address>) {
        let looks = addresses.chunks(ADDRESSES_PER_LOOK).map(|some| look(&self.shard, some.to_vec()));
        let mut looks = std::pin::pin!(join_all(looks));
        while let Some(earliest) = calls.iter().map(|call| call.deadline).min() {
            tokio::select! {
                biased;
                _ = &mut looks => break,
                () = sleep_until(earliest) => {
                    let now = Instant::now();
                    let late = calls.extract_if(.., |call| call.deadline <= now).collect();
                    let why = "the disk did not give the record before the deadline";
                    refuse(&self.shard, late, &Refusal::definite(ErrorCode::Unavailable, why));
                }
            }
        }
        drop(self.waiting);
        if !calls.is_empty()
            && let Err(error) = self.shard.woken.send(Reads::Looked(calls))
        {
            refuse_torn_down(&self.shard, error.0.into_calls());
        }
    }
}

/// Reads records into the cache.
async fn look(shard: &Arc<Shard>, addresses: Vec<Address>) {
    let Ok(place) = Arc::clone(&shard.looks).acquire_owned().await else { return };
    let records = Arc::clone(&shard.records);
    env::aside(move || {
        for address in &addresses {
            let _met_again = records.get(address);
        }
        drop(place);
    })
    .await;
}

fn refuse(shard: &Shard, calls: Vec<Pending>, refusal: &Refusal) {
    let mut outbox = Outbox::new(shard.shard, &*shard.observer);
    for call in calls {
        outbox.refuse(call, refusal.clone());
    }
}

/// Places for a node's looks.
#[must_use]
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKS_AT_ONCE))
}
