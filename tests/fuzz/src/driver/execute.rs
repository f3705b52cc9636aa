//! Runs a target over one input and catches its failure.

use crate::seen::Seen;
use crate::targets::Target;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST_PANIC: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// How a target failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it panicked: two failures at one place are taken for one.
    pub place: String,
    /// What it said.
    pub message: String,
}

/// From here on a panic is noted and not printed.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place =
            info.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
        let failure = Failure { place, message: info.to_string() };
        LAST_PANIC.set(Some(failure));
    }));
}

/// Runs a target over one input.
///
/// # Errors
/// [`Failure`] when it panicked.
pub fn execute(target: &Target, input: &[u8], seen: &mut Seen) -> Result<usize, Failure> {
    seen.clear();
    catch_unwind(AssertUnwindSafe(|| (target.run)(input, seen))).map_err(|_| {
        let unknown = || Failure { place: String::new(), message: "a panic that was not noted".to_owned() };
        LAST_PANIC.take().unwrap_or_else(unknown)
    })
}
