//! How long to wait before the next attempt, and jitter for every timer.

use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// Where the pause stops to grow while TCP does not come up: a router that was
/// away is found again within half a minute, at the cost of one SYN each time.
const UNREACHABLE: Duration = Duration::from_secs(30);
/// Where it stops to grow when sessions come up and break: the peer's CPU is
/// worth more than our routes that it refuses.
const REFUSED: Duration = Duration::from_secs(120);
/// A session that held this long was a good one; the next pause is the first again.
const STABLE: Duration = Duration::from_secs(30);

/// SplitMix64: enough for jitter, and the seed makes every run repeatable.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// RFC 4271 §10: a timer times a random number of 0.75 to 1.0.
    pub(super) fn apply(&mut self, timer: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let quarter = u32::try_from((mixed ^ (mixed >> 31)) >> 56).unwrap_or_default(); // 0..=255
        timer / 1024 * (768 + quarter)
    }
}

/// Why there is to be another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// TCP did not come up.
    Unreachable,
    /// TCP came up, the session did not, or broke.
    Session,
}

/// Growing pauses. Only a session that held brings the first one back, not one
/// that comes up and closes at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next attempt, without jitter.
    pub(super) fn pause(&mut self, failure: Failure, fixed: Option<Duration>) -> Duration {
        let grown = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let limit = match failure {
            Failure::Unreachable => UNREACHABLE,
            Failure::Session => REFUSED,
        };
        fixed.unwrap_or(grown.min(limit))
    }

    /// An established session ended.
    pub(super) fn ended(&mut self, since: Instant, now: Instant) {
        if now.saturating_duration_since(since) >= STABLE {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_of_their_failure() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause(Failure::Unreachable, None).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(backoff.pause(Failure::Session, None).as_secs(), 120);
        for _ in 0..100 {
            assert!(backoff.pause(Failure::Session, None) <= REFUSED);
        }
    }

    #[test]
    fn only_a_session_that_held_resets_the_pause() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.pause(Failure::Session, None);
            backoff.ended(now, now + Duration::from_secs(1));
        }
        assert_eq!(backoff.pause(Failure::Session, None).as_secs(), 16);
        backoff.ended(now, now + STABLE);
        assert_eq!(backoff.pause(Failure::Session, None), FIRST);
    }

    #[test]
    fn jitter_is_between_three_quarters_and_all_and_repeats_with_its_seed() {
        let (mut one, mut two) = (Jitter::new(7), Jitter::new(7));
        let timer = Duration::from_secs(90);
        for _ in 0..1000 {
            let jittered = one.apply(timer);
            assert!(jittered >= timer * 3 / 4 && jittered <= timer, "{jittered:?}");
            assert_eq!(jittered, two.apply(timer));
        }
    }

    #[test]
    fn a_configured_pause_is_kept() {
        let fixed = Some(Duration::from_secs(10));
        let mut backoff = Backoff::default();
        assert!((0..9).all(|_| backoff.pause(Failure::Unreachable, fixed).as_secs() == 10));
    }
}
