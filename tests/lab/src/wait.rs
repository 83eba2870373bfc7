//! Waiting for a condition: a predicate and a deadline, never a bare sleep.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Pause between two looks. Short against what is measured (milliseconds), long
/// enough not to take a core from what is measured.
pub const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Looks until `look` returns something or `deadline` is over (`Ok(None)`).
///
/// # Errors
/// Hands on the first error of `look`: a condition that can never hold any more.
pub fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = look()? {
            return Ok(Some(value));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
