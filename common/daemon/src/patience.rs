//! When paperwork may be written: never in the way of what somebody waits for.
//!
//! An address is waited for; an event that tells of it is not, and costs the API server as
//! much. So while addresses keep coming, what only tells of them waits until none has come for
//! a moment. A few are told at once, so that of single Services nothing is late, and a storm
//! that does not end holds nothing back for ever.

use std::time::{Duration, Instant};

/// Nothing urgent for so long: the storm is over. Longer than an agent lets events gather.
const QUIET: Duration = Duration::from_millis(1200);
/// A storm holds paperwork back no longer than this.
const LONGEST: Duration = Duration::from_secs(15);
/// In a storm all the same one piece is written in so long.
const EACH: Duration = Duration::from_millis(500);
/// So many of them at once.
const CREDIT: u32 = 16;

/// What paperwork waits for. Without IO; `now` never goes back.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// When the storm began, and the last urgent thing of it.
    storm: Option<(Instant, Instant)>,
    /// What has been written uses up the credit until then.
    used: Option<Instant>,
}

impl Patience {
    /// Something urgent is being written.
    pub fn urgent(&mut self, now: Instant) {
        let begun = match self.storm {
            Some((begun, last)) if now < last + QUIET => begun,
            _ => now,
        };
        self.storm = Some((begun, now));
    }

    /// How many pieces of paperwork may be written now.
    #[must_use]
    pub fn allowance(&self, now: Instant) -> usize {
        if self.calm_at(now).is_none() {
            return usize::MAX;
        }
        let used = self.used.map_or(Duration::ZERO, |used| used.saturating_duration_since(now));
        let left = (EACH * CREDIT).saturating_sub(used);
        usize::try_from(left.as_millis() / EACH.as_millis()).unwrap_or(usize::MAX)
    }

    /// So many are being written.
    pub fn spend(&mut self, now: Instant, count: usize) {
        // More than the credit was no storm's.
        let count = u32::try_from(count).unwrap_or(CREDIT).min(CREDIT);
        let used = self.used.map_or(now, |used| used.max(now));
        self.used = Some((used + EACH * count).min(now + EACH * CREDIT));
    }

    /// When to ask again if not all that there is may be written now.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let calm = self.calm_at(now)?;
        let more = self.used.map_or(now, |used| (used + EACH).checked_sub(EACH * CREDIT).unwrap_or(now));
        Some(if more > now { more.min(calm) } else { calm.min(now + EACH) })
    }

    /// When the storm is over or has held paperwork back for long enough.
    fn calm_at(&self, now: Instant) -> Option<Instant> {
        let (begun, last) = self.storm?;
        Some((last + QUIET).min(begun + LONGEST)).filter(|at| now < *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// One urgent thing each `pause`, with as much paperwork, for ten seconds: what was told
    /// in a storm, and when the last of all was.
    fn told(pause: Duration) -> (usize, Duration) {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let (mut now, mut due, mut told) = (begin, 0, 0);
        while now < begin + MS * 10_000 {
            patience.urgent(now);
            due += 1;
            let taken = patience.allowance(now).min(due);
            patience.spend(now, taken);
            (told, due) = (told + taken, due - taken);
            now += pause;
        }
        while due > 0 {
            now = patience.next(now).unwrap_or(now);
            let taken = patience.allowance(now).min(due);
            patience.spend(now, taken);
            due -= taken;
        }
        (told, now - begin)
    }

    #[test]
    fn of_single_services_everything_is_told_at_once() {
        assert_eq!(told(MS * 500).0, 20);
        assert_eq!(told(QUIET).0, 9);
    }

    #[test]
    fn of_a_storm_little_is_told_before_it_is_over() {
        let (count, last) = told(MS * 10);
        // The credit, and what comes with time.
        assert_eq!(count, 16 + 19);
        assert_eq!(last, MS * 9990 + QUIET);
    }

    #[test]
    fn a_storm_without_end_holds_nothing_back_for_ever() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let mut now = begin;
        while now < begin + LONGEST {
            patience.urgent(now);
            patience.spend(now, 16);
            assert_eq!(patience.allowance(now), 0);
            assert!(patience.next(now).is_some_and(|at| now < at && at <= begin + LONGEST));
            now += MS * 100;
        }
        patience.urgent(now);
        assert_eq!((patience.allowance(now), patience.next(now)), (usize::MAX, None));
    }
}
