//! Keeps an engine's panic from becoming ours.

use crate::records::error::StoreError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a call into an engine. A panic in it is damage: engines panic where their files are not what they
/// expect. Whoever gets the error drops the engine, so that state left half-changed by the panic is not used.
///
/// (In a build that aborts on panics the process ends instead, which is as safe.)
pub(super) fn guarded<T>(
    doing: &'static str,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(StoreError::damaged("the engine panicked", doing)))
}
