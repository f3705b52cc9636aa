//! The end of the process when something is wrong that cannot be gone on from.

/// From now on a panic ends the process, after it was logged. An engine's panic, caught where the
/// engine is called, is damage of that store and handled as such.
pub(super) fn abort_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        if hapax_store::records::is_guarded() {
            tracing::error!("the engine panicked; its store counts as damaged");
            return;
        }
        tracing::error!("panicked: the process ends, and starts again from what is durable");
        std::process::abort();
    }));
}

/// Ends the process at once: what is not durable now never will be.
pub(super) fn end(why: &str) -> ! {
    tracing::error!(why, "the process ends at once, and starts again from what is durable");
    std::process::abort()
}
