//! How often plans are made: pure. Each costs the API server a write or two and every agent
//! a read, so in a storm of new Services they share plans; but who makes one Service after
//! another waits for the owner of each.

use std::time::{Duration, Instant};

/// Plans a storm gets: one each.
const EVERY: Duration = Duration::from_millis(60);
/// Plans that may be made at once after a pause.
const CREDIT: u32 = 5;

/// The credit, by the generic cell rate algorithm.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// When all of it is there again.
    whole: Instant,
}

impl Pace {
    /// All of it is there.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { whole: now }
    }

    /// When the next plan may be made, at the earliest: what nobody waits for waits until there
    /// was no plan for a while, and is part of the next one that somebody waits for.
    #[must_use]
    pub fn next(&self, urgent: bool) -> Instant {
        let credit = if urgent { EVERY * (CREDIT - 1) } else { Duration::ZERO };
        self.whole.checked_sub(credit).unwrap_or(self.whole)
    }

    /// A plan is made.
    pub fn spend(&mut self, now: Instant) {
        self.whole = self.whole.max(now) + EVERY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the plans for these events were made, in ms: (when, whether somebody waits).
    fn plans(events: &[(u64, bool)]) -> Vec<u128> {
        let begin = Instant::now();
        let (mut pace, mut made, mut waiting) = (Pace::new(begin), Vec::new(), None);
        let mut events = events.iter().peekable();
        for ms in 0..5000 {
            let now = begin + Duration::from_millis(ms);
            while let Some((_, urgent)) = events.next_if(|(at, _)| *at == ms) {
                waiting = Some(waiting.unwrap_or(false) || *urgent);
            }
            if waiting.is_some_and(|urgent| pace.next(urgent) <= now) {
                pace.spend(now);
                made.push((now - begin).as_millis());
                waiting = None;
            }
        }
        made
    }

    #[test]
    fn one_after_another_is_planned_at_once_and_a_storm_shares_plans() {
        let creations = |count: u64, gap: u64| (0..count).map(|n| (n * gap, true)).collect::<Vec<_>>();
        let alone = creations(20, 70);
        assert!(plans(&alone).iter().zip(&alone).all(|(made, (at, _))| *made == u128::from(*at)));
        let storm = plans(&creations(1000, 1));
        assert_eq!(storm[..5], [0, 1, 2, 3, 4]);
        assert_eq!(storm.len(), 5 + 16 + 1, "{storm:?}");
    }

    #[test]
    fn what_is_gone_never_makes_what_is_new_wait() {
        // Made and deleted in turn, faster than two plans each would allow.
        let turns = (0..40).flat_map(|n| [(n * 70, true), (n * 70 + 30, false)]);
        let made = plans(&turns.collect::<Vec<_>>());
        assert!((0..40).all(|n| made.contains(&(n * 70))), "{made:?}");
        assert!(*made.last().unwrap() > 39 * 70, "the last deletion is planned, too");
    }
}
