//! The end of threads.

use std::thread::JoinHandle;

/// Waits for threads; blocks.
///
/// # Errors
/// When one of them panicked (in a process that does not abort on panics).
pub(super) fn join_all(threads: impl IntoIterator<Item = JoinHandle<()>>) -> anyhow::Result<()> {
    for thread in threads {
        let name = thread.thread().name().unwrap_or("unnamed").to_owned();
        thread.join().map_err(|_| anyhow::anyhow!("the thread {name} panicked"))?;
    }
    Ok(())
}
