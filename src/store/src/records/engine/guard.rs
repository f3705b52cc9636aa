//! Keeps an engine's panic from becoming ours.

use crate::records::error::StoreError;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// How many guarded calls this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is in a call into an engine, whose panic is caught: for a panic hook that ends the
/// process on any other.
#[must_use]
pub fn is_guarded() -> bool {
    DEPTH.get() > 0
}

/// Runs a call into an engine. A panic in it is damage: engines panic where their files are not what they
/// expect. Whoever gets the error drops the engine, so that state left half-changed by the panic is not used.
///
/// (In a build that aborts on panics the process ends instead, which is as safe.)
pub(super) fn guarded<T>(
    doing: &'static str,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    DEPTH.set(DEPTH.get() + 1);
    let ended = catch_unwind(AssertUnwindSafe(call));
    DEPTH.set(DEPTH.get() - 1);
    ended.unwrap_or_else(|_| Err(StoreError::damaged("the engine panicked", doing)))
}
