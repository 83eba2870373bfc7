//! What of a session's life goes into the log: pure. A peer that is away, or that refuses us
//! now for one reason and now for another, must not fill the log with its attempts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clarion_bgp::session::{Cause, StateName};

/// A session that held for so long ends an outage.
const STABLE: Duration = Duration::from_secs(30);
/// Reasons told apart during one outage.
const REASONS: usize = 8;

/// What to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The session is up, after so many failures since it last held.
    Up { failures: u64 },
    /// It went down, or an attempt failed, for a reason that was not told yet.
    Failed,
    /// A step on the way, or what was told already.
    Detail,
}

/// What was said since the session last held.
#[derive(Debug, Default)]
pub(super) struct Journal {
    told: BTreeSet<String>,
    failures: u64,
    up_since: Option<Instant>,
    told_up: bool,
}

impl Journal {
    /// The session went from one state to another.
    pub(super) fn changed(&mut self, from: StateName, to: StateName, cause: &Cause, now: Instant) -> Line {
        if to == StateName::Established {
            self.up_since = Some(now);
            return if std::mem::replace(&mut self.told_up, true) {
                Line::Detail
            } else {
                Line::Up { failures: self.failures }
            };
        }
        if from == StateName::Established
            && self.up_since.take().is_some_and(|since| now.saturating_duration_since(since) >= STABLE)
        {
            *self = Self::default();
        }
        // The pause before the next attempt begins where something failed.
        if !matches!(to, StateName::Idle | StateName::Active) {
            return Line::Detail;
        }
        self.failures += 1;
        let news = self.told.len() < REASONS && self.told.insert(cause.to_string());
        if news { Line::Failed } else { Line::Detail }
    }

    /// The failures before a session that holds now, to be said once if the log's last word was
    /// that it is down.
    pub(super) fn holds(&mut self, now: Instant) -> Option<u64> {
        let since = self.up_since.filter(|since| now.saturating_duration_since(*since) >= STABLE)?;
        let failures = self.failures;
        *self = Self { up_since: Some(since), told_up: true, ..Self::default() };
        (failures > 0).then_some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StateName::{Active, Connect, Established, Idle, OpenSent};

    fn refused() -> Cause {
        Cause::ConnectFailed("refused".to_owned())
    }

    #[test]
    fn alternating_failures_are_told_once_each_and_counted() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let mut told = 0;
        for _ in 0..1000 {
            for cause in [refused(), Cause::ClosedByPeer] {
                assert_eq!(journal.changed(Active, Connect, &Cause::RetryDue, now), Line::Detail);
                told += u32::from(journal.changed(Connect, Active, &cause, now) == Line::Failed);
            }
        }
        assert_eq!(told, 2);
        assert_eq!(
            journal.changed(OpenSent, Established, &Cause::OpenConfirmed, now),
            Line::Up { failures: 2000 }
        );
    }

    #[test]
    fn reasons_are_bounded_whatever_the_peer_says() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let failed = |n: u32| Cause::TransportFailed(n.to_string());
        let told = (0..1000).filter(|n| journal.changed(OpenSent, Idle, &failed(*n), now) == Line::Failed);
        assert_eq!(told.count(), REASONS);
    }

    #[test]
    fn a_session_that_comes_and_goes_is_told_once_and_again_when_it_holds() {
        let (mut journal, begin) = (Journal::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..100 {
            let now = begin + Duration::from_secs(second);
            told.push(journal.changed(OpenSent, Established, &Cause::OpenConfirmed, now));
            assert_eq!(journal.holds(now), None);
            told.push(journal.changed(Established, Idle, &Cause::ClosedByPeer, now));
        }
        told.retain(|line| *line != Line::Detail);
        assert_eq!(told, [Line::Up { failures: 0 }, Line::Failed]);
        let up = begin + Duration::from_secs(200);
        journal.changed(OpenSent, Established, &Cause::OpenConfirmed, up);
        assert_eq!(journal.holds(up + STABLE), Some(100));
        assert_eq!(journal.holds(up + STABLE * 2), None);
        // It held: its end is news, and so is the next beginning.
        assert_eq!(journal.changed(Established, Idle, &Cause::ClosedByPeer, up + STABLE * 3), Line::Failed);
        let again = journal.changed(OpenSent, Established, &Cause::OpenConfirmed, up + STABLE * 3);
        assert_eq!(again, Line::Up { failures: 1 });
    }
}
