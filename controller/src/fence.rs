//! The right to write, asked for again right before every write.
//!
//! A process that was stopped and goes on (a suspended machine, a debugger, an exhausted
//! CPU quota) finds plans in its queues from when it led. The lease's end is a moment of
//! the monotonic clock, which went on meanwhile: whatever asks here before it sends is
//! refused. A write that began in time is given up when the lease ends, a second before
//! another may lead; what arrives later still meets the `resourceVersion` it was planned
//! from.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::lease::Leading;

/// Longest wait for the answer to a write, however long the lease still lasts.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// Why a write is not known to have happened.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// This process does not lead; nothing was sent.
    #[error("the lease is not held: nothing was written; whoever leads will")]
    NotLeading,
    /// No answer came while it was allowed to wait for one. It may have been written.
    #[error("no answer for {} ms", .0.as_millis())]
    Unanswered(Duration),
    /// The API server's answer, or why there was none.
    #[error("the API server did not take it")]
    Api(#[source] kube::Error),
}

/// Shared by everything that writes.
#[derive(Debug, Clone)]
pub struct Fence {
    leading: watch::Receiver<Leading>,
}

impl Fence {
    /// Follows what the lease task says.
    #[must_use]
    pub fn new(leading: watch::Receiver<Leading>) -> Self {
        Self { leading }
    }

    /// Whether this process may write at this very moment.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// For how long this process may still write; `None`: not at all.
    fn left(&self) -> Option<Duration> {
        let until = (*self.leading.borrow())?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Sends a request if this process leads, and waits for its answer at most as long
    /// as the lease lasts (and is not renewed) or [`TIMEOUT`].
    ///
    /// # Errors
    /// Not leading, no answer in time, or the API server's refusal.
    pub async fn write<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Unwritten> {
        if !self.holds() {
            return Err(Unwritten::NotLeading);
        }
        // A future: nothing of the request happens before it is polled below.
        let mut request = std::pin::pin!(request);
        let begun = Instant::now();
        loop {
            let left = self.left().unwrap_or_default().min(TIMEOUT.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                return Err(Unwritten::Unanswered(begun.elapsed()));
            }
            // A renewal meanwhile lets it wait on.
            if let Ok(result) = tokio::time::timeout(left, &mut request).await {
                return result.map_err(Unwritten::Api);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// What became of a write that takes `takes`, and whether anything of it began.
    async fn write(leading: watch::Receiver<Leading>, takes: Duration) -> (Result<(), Unwritten>, bool) {
        let begun = Cell::new(false);
        let request = async {
            begun.set(true);
            // tidy: sleep, because the time that a request takes is what is tested
            tokio::time::sleep(takes).await;
            Ok(())
        };
        let result = Fence::new(leading).write(request).await;
        (result, begun.get())
    }

    #[tokio::test]
    async fn nothing_is_sent_without_the_lease_or_after_its_end() {
        let now = Instant::now();
        for leading in [None, Some(now), now.checked_sub(Duration::from_secs(1))] {
            let (_sender, receiver) = watch::channel(leading);
            let (result, begun) = write(receiver, Duration::ZERO).await;
            assert!(matches!(result, Err(Unwritten::NotLeading)) && !begun, "{leading:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_write_is_given_up_when_the_lease_ends_and_waits_on_when_it_is_renewed() {
        let soon = Duration::from_millis(20);
        let (sender, receiver) = watch::channel(Some(Instant::now() + soon));
        let (result, begun) = write(receiver.clone(), Duration::from_secs(60)).await;
        assert!(matches!(result, Err(Unwritten::Unanswered(_))) && begun, "{result:?}");
        sender.send_replace(Some(Instant::now() + soon));
        let renew = async {
            // tidy: sleep, because the lease must be renewed while the request is under way
            tokio::time::sleep(soon / 2).await;
            sender.send_replace(Some(Instant::now() + Duration::from_secs(60)));
        };
        let ((result, _), ()) = tokio::join!(write(receiver, soon * 2), renew);
        assert!(result.is_ok(), "{result:?}");
    }
}
