//! What a store must offer to be loaded.

use bytes::Bytes;
use std::future::Future;

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed<T> {
    /// This caller is to run, and completes with this token.
    Granted(T),
    /// Somebody else runs.
    Running,
    /// It ran; this is what it gave.
    Done(Bytes),
    /// What the work never leads to.
    Other(String),
}

/// Why an operation was not answered, or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error's stable name.
    pub code: String,
    /// All of it, for the first few.
    pub text: String,
}

/// A store under load; clones share connections.
pub trait Store: Clone + Send + Sync + 'static {
    /// What a grant is completed with.
    type Token: Send + Sync;

    /// Asks to run under a key. `caller` names the logical call.
    fn claim(
        &self,
        key: &str,
        caller: [u8; 16],
    ) -> impl Future<Output = Result<Claimed<Self::Token>, Failure>> + Send;

    /// Asks what is kept under a key that was completed. For a store whose claim tells just that, it is a claim; for
    /// others it is what a caller reads once a claim was refused.
    fn replay(
        &self,
        key: &str,
        caller: [u8; 16],
    ) -> impl Future<Output = Result<Claimed<Self::Token>, Failure>> + Send {
        self.claim(key, caller)
    }

    /// Keeps a result; true when it was kept by this call.
    fn complete(
        &self,
        key: &str,
        token: Self::Token,
        result: Bytes,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;
}
