//! What the work is given.

use super::ending::HoldError;
use super::holding::Holding;
use hapax_core::reply::Granted;
use hapax_core::{Address, Blob, Invalid, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// The work's hold on its claim; cheap to clone.
#[derive(Clone, Debug)]
pub struct Execution {
    granted: Arc<Granted>,
    holding: Arc<Holding>,
}

impl Execution {
    pub(super) fn new(granted: Granted, holding: Arc<Holding>) -> Self {
        Self { granted: Arc::new(granted), holding }
    }

    /// What is run.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.holding.address()
    }

    /// The fencing token: hand it to whatever the work writes to, and have that refuse a lower one
    /// than it has seen. [`Token::NONE`] for a shadow.
    #[must_use]
    pub fn token(&self) -> Token {
        self.holding.token()
    }

    /// Which attempt this is, from 1; 0 for a shadow.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.granted.attempt
    }

    /// Whether an earlier attempt began and did not complete.
    #[must_use]
    pub fn is_takeover(&self) -> bool {
        self.granted.takeover
    }

    /// Whether the earlier attempt was marked: its effect may have happened, so look before doing
    /// it again.
    #[must_use]
    pub fn prior_mark(&self) -> bool {
        self.granted.prior_mark
    }

    /// A shadow run under observe or off: it runs, and nothing is kept or held.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.holding.is_shadow()
    }

    /// The last attempt's recovery point: where to go on.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<&Blob> {
        self.granted.checkpoint.as_ref().filter(|checkpoint| !checkpoint.is_empty())
    }

    /// The last attempt's recovery point as [`Execution::checkpoint_json`] kept it.
    ///
    /// # Errors
    /// [`Invalid`] names `checkpoint` when it is not the JSON of the type asked for.
    pub fn last_checkpoint_json<T: DeserializeOwned>(&self) -> Result<Option<T>, Invalid> {
        let unlike = |_| Invalid::new("checkpoint", "is not the json of the type asked for");
        self.last_checkpoint()
            .map(|bytes| serde_json::from_slice(bytes.as_slice()).map_err(unlike))
            .transpose()
    }

    /// Keeps a recovery point (at most 4 KiB) and renews the lease. Once this returned, a later
    /// attempt goes on from here.
    ///
    /// # Errors
    /// [`HoldError::Lost`], or the call's own error: the recovery point may then be the old or this.
    pub async fn checkpoint(&self, point: impl Into<Blob>) -> Result<(), HoldError> {
        self.holding.renew_in_time(Some(point.into()), false).await
    }

    /// Keeps a recovery point as JSON.
    ///
    /// # Errors
    /// As [`Execution::checkpoint`], and `invalid{checkpoint}` for a value without JSON form.
    pub async fn checkpoint_json<T: Serialize>(&self, point: &T) -> Result<(), HoldError> {
        let unlike = |_| crate::Error::from(Invalid::new("checkpoint", "has no json form"));
        self.checkpoint(serde_json::to_vec(point).map_err(unlike)?).await
    }

    /// Says that from here on the effect may have happened. Returns only once that is kept: a
    /// worker that dies later leaves the record in doubt instead of to the next caller. It cannot
    /// be taken back but by completing, or by ending with [`super::Ending::TryAgain`].
    ///
    /// # Errors
    /// [`HoldError::Lost`], or the call's own error: do not begin the effect then.
    pub async fn mark(&self) -> Result<(), HoldError> {
        self.holding.renew_in_time(None, true).await
    }

    /// How long the work may still act without a renewal; zero once the lease is lost. For a shadow
    /// nothing runs out, and this says so with [`Duration::MAX`].
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        if self.is_shadow() { Duration::MAX } else { self.holding.lease_left() }
    }

    /// Whether the lease is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.holding.is_lost()
    }

    /// Returns when the lease is lost, and not before: for a `select!` beside the work. Stop acting
    /// then; what has been done may still be returned and is kept if nobody has taken over.
    pub async fn lost(&self) {
        self.holding.lost().await;
    }
}
