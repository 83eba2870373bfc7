//! Writes to be tried again, and when. Pure: `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clarion_core::ServiceKey;
use clarion_daemon::LONGEST_PAUSE;

/// First pause after a failed write. Doubles each time.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause after writes that the API server did not answer as it should.
const LONGEST: Duration = Duration::from_secs(30);

/// Services whose last write failed. While an API server refuses everything that is all of
/// them, so nothing here looks at each.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    by_key: BTreeMap<ServiceKey, Retry>,
    /// Those that wait for their time, in its order.
    due: BTreeSet<(Instant, ServiceKey)>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    pause: Duration,
    /// `None`: its time has come, or something has changed.
    at: Option<Instant>,
}

impl Retries {
    /// A write has failed: not again before a pause, longer than the last.
    pub(crate) fn failed(&mut self, key: &ServiceKey, now: Instant) {
        self.postpone(key, now, LONGEST);
    }

    /// A write was refused: the same, and there is no hurry, since somebody has to do something
    /// about it first.
    pub(crate) fn refused(&mut self, key: &ServiceKey, now: Instant) {
        self.postpone(key, now, LONGEST_PAUSE);
    }

    fn postpone(&mut self, key: &ServiceKey, now: Instant, longest: Duration) {
        let pause = self.by_key.get(key).map_or(FIRST, |retry| (retry.pause * 2).min(longest));
        self.wait(key, pause, now + pause);
    }

    /// Is to wait until then, whatever happened before.
    pub(crate) fn hold(&mut self, key: &ServiceKey, until: Instant) {
        let pause = self.by_key.get(key).map_or(FIRST, |retry| retry.pause);
        self.wait(key, pause, until);
    }

    fn wait(&mut self, key: &ServiceKey, pause: Duration, at: Instant) {
        self.release(key);
        self.by_key.insert(key.clone(), Retry { pause, at: Some(at) });
        self.due.insert((at, key.clone()));
    }

    /// Nothing need wait any longer: the API server takes writes again.
    pub(crate) fn release_all(&mut self) -> Vec<ServiceKey> {
        let all = std::mem::take(&mut self.due);
        let all: Vec<_> = all.into_iter().map(|(_, key)| key).collect();
        all.iter().filter_map(|key| self.by_key.remove(key).map(|_| key.clone())).collect()
    }

    /// A write has been done, or the Service is gone.
    pub(crate) fn remove(&mut self, key: &ServiceKey) {
        self.release(key);
        self.by_key.remove(key);
    }

    /// Need not wait any longer. Should it fail again, the pause goes on growing.
    pub(crate) fn release(&mut self, key: &ServiceKey) {
        if let Some(at) = self.by_key.get_mut(key).and_then(|retry| retry.at.take()) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// Whether the Service waits for its time.
    pub(crate) fn waits(&self, key: &ServiceKey) -> bool {
        self.by_key.get(key).is_some_and(|retry| retry.at.is_some())
    }

    /// One whose time has come; it waits no longer.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<ServiceKey> {
        let key = self.due.first().filter(|(at, _)| *at <= now).map(|(_, key)| key.clone())?;
        self.release(&key);
        Some(key)
    }

    /// When the next one's time comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let (mut retries, mut now) = (Retries::default(), Instant::now());
        let key = ServiceKey::new("ns", "x");
        for pause_ms in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            retries.failed(&key, now);
            assert!(retries.waits(&key));
            now += Duration::from_millis(pause_ms - 1);
            assert_eq!(retries.take_due(now), None);
            now += Duration::from_millis(1);
            assert_eq!(retries.deadline(), Some(now));
            assert_eq!(retries.take_due(now), Some(key.clone()));
            assert!(!retries.waits(&key));
        }
        retries.remove(&key);
        retries.failed(&key, now);
        assert_eq!(retries.deadline(), Some(now + FIRST));
        retries.release(&key);
        assert_eq!(retries.deadline(), None);
    }

    #[test]
    fn what_is_refused_waits_longer_until_the_api_server_takes_writes_again() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        let (a, b) = (ServiceKey::new("ns", "a"), ServiceKey::new("ns", "b"));
        (0..20).for_each(|_| retries.refused(&a, now));
        assert_eq!(retries.deadline(), Some(now + LONGEST_PAUSE));
        retries.hold(&b, now + LONGEST_PAUSE * 2);
        assert_eq!(retries.release_all(), [a.clone(), b]);
        assert!(!retries.waits(&a) && retries.deadline().is_none());
        retries.failed(&a, now);
        assert_eq!(retries.deadline(), Some(now + FIRST), "and begins anew");
    }

    #[test]
    fn whoever_is_due_first_comes_first() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        for (name, after_ms) in [("b", 5), ("a", 9), ("c", 1)] {
            retries.failed(&ServiceKey::new("ns", name), now + Duration::from_millis(after_ms));
        }
        let due = std::iter::from_fn(|| retries.take_due(now + Duration::from_secs(1)));
        assert_eq!(due.map(|key| key.to_string()).collect::<Vec<_>>(), ["ns/c", "ns/b", "ns/a"]);
    }
}
