//! What a worker may do next with a key; each act is a few calls that belong together.

mod adversity;
mod lifecycle;
mod reads;
mod refusals;
mod replays;

use super::caller::Caller;
use super::keys::{Key, Keys};
use std::sync::Arc;

/// The acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Lifecycle,
    ClaimAgain,
    OtherRequest,
    OldToken,
    SaidAgain,
    Resolve,
    Forget,
    Get,
    List,
    Refused,
    NotAfter,
    Batch,
    Twice,
    Cancel,
    Cut,
}

/// How often each comes.
const WEIGHTS: [(u64, Act); 15] = [
    (34, Act::Lifecycle),
    (8, Act::ClaimAgain),
    (6, Act::OtherRequest),
    (9, Act::OldToken),
    (8, Act::SaidAgain),
    (3, Act::Resolve),
    (3, Act::Forget),
    (10, Act::Get),
    (1, Act::List),
    (3, Act::Refused),
    (3, Act::NotAfter),
    (6, Act::Batch),
    (3, Act::Twice),
    (2, Act::Cancel),
    (1, Act::Cut),
];

/// A worker's hands.
pub(super) struct Worker {
    pub(super) caller: Caller,
    pub(super) keys: Arc<Keys>,
    /// The largest result that it makes, bytes.
    pub(super) largest: u64,
}

impl Worker {
    /// One act on one key.
    pub(super) async fn act(&mut self) {
        let rng = &mut self.caller.rng;
        let Some(act) = rng.weighted(&WEIGHTS) else { return };
        let is_old = matches!(act, Act::OldToken | Act::SaidAgain | Act::ClaimAgain) && rng.chance(250);
        let old = if is_old { self.keys.old(rng) } else { None };
        let Some(key) = old.or_else(|| self.keys.pick(rng)) else { return };
        if let Some(_acting) = key.act() {
            self.perform(act, &key).await;
        }
    }

    async fn perform(&mut self, act: Act, key: &Key) {
        match act {
            Act::Lifecycle => self.lifecycle(key).await,
            Act::ClaimAgain => self.claim_again(key).await,
            Act::OtherRequest => self.other_request(key).await,
            Act::OldToken => self.old_token(key).await,
            Act::SaidAgain => self.said_again(key).await,
            Act::Resolve => self.resolve(key).await,
            Act::Forget => self.forget(key).await,
            Act::Get => self.get(key).await,
            Act::List => self.list(key).await,
            Act::Refused => self.refused(key).await,
            Act::NotAfter => self.not_after(key).await,
            Act::Batch => self.batch(key).await,
            Act::Twice => self.twice(key).await,
            Act::Cancel => self.cancel(key).await,
            Act::Cut => self.cut(key).await,
        }
    }
}
