//! Waiting on a condition, with a deadline.

use anyhow::{Result, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at the condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` finds something; the last thing that it said instead is part of the error.
///
/// # Errors
/// When nothing was found `within`.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() >= deadline => {
                bail!("waited {within:?} in vain for {what}; last seen: {seen}")
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}
