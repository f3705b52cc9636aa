//! A call that has not been answered yet.

use crate::call::Caller;
use crate::group::shard::Shard;
use crate::serve::driver::DriverHandle;
use crate::serve::reader::refuse_torn_down;
use hapax_core::quota::QuotaLimits;
use hapax_core::request::ListAsk;
use hapax_core::{Address, Command, Fingerprint};
use std::sync::Arc;
use tokio::time::Instant;

/// What is to be done for a call, with the policy resolved.
#[derive(Debug)]
pub enum Work {
    /// A verb that may change its record.
    Command {
        /// What to propose.
        command: Box<Command>,
        /// The quotas that a grant is checked against.
        quota: QuotaLimits,
    },
    /// A read of one record.
    Get {
        /// The record.
        address: Address,
        /// Opens the record's detail when it is the same.
        fingerprint: Option<Fingerprint>,
        /// Whether the caller sees every record whole.
        is_reader: bool,
    },
    /// A read of a range.
    List(Box<ListAsk>),
}

/// A call on its way; it is answered exactly once.
pub struct Pending {
    /// Who waits.
    pub caller: Arc<Caller>,
    /// The caller's number for it.
    pub id: u64,
    /// The verb's stable name.
    pub verb: &'static str,
    /// When it arrived at this node.
    pub arrived: Instant,
    /// When its caller stops waiting for an answer.
    pub deadline: Instant,
    /// Until when it may be held while somebody else runs; absent when it may not.
    pub wait_until: Option<Instant>,
    /// It was held and woken: of several such claims on an open record only the oldest goes on.
    pub woken: bool,
    /// Which command in flight it is on its address; 0 while it is none.
    pub number: u64,
    /// Calls of its frame that must not be looked at before it is answered.
    pub followers: Option<Followers>,
    /// What to do.
    pub work: Work,
}

/// Calls of one frame on one address that stand behind a get: what they do, the get must not see.
/// They go on to the driver once the get is answered, held or refused, in whichever way it ends,
/// which is why dropping this is what sends them on.
pub struct Followers {
    calls: Vec<Pending>,
    shard: Arc<Shard>,
    driver: DriverHandle,
}

impl Followers {
    /// Nobody yet, in a shard's queue.
    #[must_use]
    pub fn new(shard: Arc<Shard>, driver: DriverHandle) -> Self {
        Self { calls: Vec::new(), shard, driver }
    }

    /// One more, behind those before.
    pub fn push(&mut self, call: Pending) {
        self.calls.push(call);
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        let left = self.driver.resume(std::mem::take(&mut self.calls));
        refuse_torn_down(&self.shard, left);
    }
}

impl Pending {
    /// The record it is about; none for a listing.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match &self.work {
            Work::Command { command, .. } => Some(&command.address),
            Work::Get { address, .. } => Some(address),
            Work::List(_) => None,
        }
    }

    /// Whether its caller is still there.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.caller.wants(self.id)
    }
}
