//! When paperwork may be written: never in the way of what somebody waits for.
//!
//! An address is waited for; an event that tells of it is not, and costs the API server as
//! much. So while addresses keep coming, what only tells of them waits until none has come for
//! a moment. A few are told at once, so that of single Services nothing is late, and a storm
//! that does not end holds nothing back for ever.

use std::time::{Duration, Instant};

/// Nothing urgent for so long: the storm is over.
const QUIET: Duration = Duration::from_millis(300);
/// A storm holds paperwork back no longer than this.
const LONGEST: Duration = Duration::from_secs(15);
/// Pieces of paperwork that are written in a storm all the same.
const CREDIT: usize = 16;

/// What paperwork waits for. Without IO; `now` never goes back.
#[derive(Debug, Clone)]
pub struct Patience {
    /// When the storm began, and the last urgent thing of it.
    storm: Option<(Instant, Instant)>,
    credit: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { storm: None, credit: CREDIT }
    }
}

impl Patience {
    /// Something urgent is being written.
    pub fn urgent(&mut self, now: Instant) {
        let begun = match self.storm {
            Some((begun, last)) if now < last + QUIET => begun,
            _ => {
                self.credit = CREDIT;
                now
            }
        };
        self.storm = Some((begun, now));
    }

    /// How many pieces of paperwork may be written now.
    #[must_use]
    pub fn allowance(&self, now: Instant) -> usize {
        if self.next(now).is_none() { usize::MAX } else { self.credit }
    }

    /// So many are being written.
    pub fn spend(&mut self, count: usize) {
        self.credit = self.credit.saturating_sub(count);
    }

    /// When to ask again, if all may not be written now.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let (begun, last) = self.storm?;
        Some((last + QUIET).min(begun + LONGEST)).filter(|at| now < *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn of_single_services_everything_is_told_at_once() {
        let (mut patience, mut now) = (Patience::default(), Instant::now());
        for _ in 0..100 {
            patience.urgent(now);
            assert!(patience.allowance(now) >= 2);
            patience.spend(2);
            now += QUIET;
        }
    }

    #[test]
    fn a_storm_is_told_of_when_it_is_over() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let mut now = begin;
        let mut told = 0;
        for _ in 0..1000 {
            patience.urgent(now);
            let taken = patience.allowance(now).min(2);
            patience.spend(taken);
            told += taken;
            now += MS * 10;
        }
        assert_eq!(told, CREDIT);
        let next = patience.next(now).unwrap();
        assert_eq!(next, now - MS * 10 + QUIET);
        assert_eq!((patience.allowance(next - MS), patience.allowance(next)), (0, usize::MAX));
    }

    #[test]
    fn a_storm_without_end_holds_nothing_back_for_ever() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let mut now = begin;
        while now < begin + LONGEST {
            patience.urgent(now);
            patience.spend(CREDIT);
            assert!(patience.next(now).is_some_and(|at| at <= begin + LONGEST));
            now += MS * 100;
        }
        patience.urgent(now);
        assert_eq!(patience.allowance(now), usize::MAX);
    }
}
