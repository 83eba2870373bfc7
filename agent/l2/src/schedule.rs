//! When gratuitous frames are sent.
//!
//! At once when an address is gained, then four more rounds within five seconds
//! (MetalLB's 0, 1.1, 2.2, 3.3, 4.4 s: a frame may be lost, and some switches
//! hold ports back), then once a period, since switches forget where a MAC that
//! only receives lives (MetalLB issue #2910). All rounds share one pace, so that
//! a node that gains thousands of addresses does not drown the segment, and first
//! rounds go before repeats: being found comes before being found again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Rounds for a newly gained key, the first at once.
    pub rounds: u32,
    /// Between two of these rounds.
    pub gap: Duration,
    /// Between the rounds afterwards; `None` = none.
    pub period: Option<Duration>,
    /// Rounds a second at most, of all keys together. At least 1.
    pub per_second: u32,
    /// Rounds that may be sent at one moment after a pause. At least 1.
    pub burst: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rounds: 5,
            gap: Duration::from_millis(1100),
            period: Some(Duration::from_secs(60)),
            per_second: 10_000,
            burst: 256,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    /// When the next round is due; `None` when the rounds are over.
    due: Option<Duration>,
    /// Rounds sent since the key was gained.
    sent: u32,
}

/// The schedule of keys of type `K`, one per address and interface.
#[derive(Debug, Clone)]
pub struct Schedule<K> {
    pace: Pace,
    jobs: BTreeMap<K, Job>,
    /// Keys that were never sent, by when they were gained.
    first: BTreeSet<(Duration, K)>,
    /// The others, by when they are due.
    repeat: BTreeSet<(Duration, K)>,
    /// When a sender at exactly the pace would be done with what was sent (the
    /// "theoretical arrival time" of the generic cell rate algorithm).
    paced_until: Duration,
}

impl<K: Clone + Ord> Schedule<K> {
    /// An empty schedule.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        let (first, repeat) = (BTreeSet::new(), BTreeSet::new());
        Self { pace, jobs: BTreeMap::new(), first, repeat, paced_until: Duration::ZERO }
    }

    /// The key was gained at `now`: its first round is due. A key that is known
    /// starts over (its MAC may have changed).
    pub fn gain(&mut self, key: K, now: Duration) {
        self.lose(&key);
        self.first.insert((now, key.clone()));
        self.jobs.insert(key, Job { due: Some(now), sent: 0 });
    }

    /// The key is no longer ours: nothing more is sent.
    pub fn lose(&mut self, key: &K) {
        if let Some(Job { due: Some(due), sent }) = self.jobs.remove(key) {
            let queue = if sent == 0 { &mut self.first } else { &mut self.repeat };
            queue.remove(&(due, key.clone()));
        }
    }

    /// Whether the key is announced.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.jobs.contains_key(key)
    }

    /// The next key to send a round for, if one is due and the pace allows it.
    /// Call until `None`.
    pub fn poll(&mut self, now: Duration) -> Option<K> {
        if self.ready_at() > now {
            return None;
        }
        let due = |queue: &BTreeSet<(Duration, K)>| queue.first().filter(|(due, _)| *due <= now).cloned();
        let (_, key) = due(&self.first).or_else(|| due(&self.repeat))?;
        let sent = self.jobs.get(&key)?.sent.saturating_add(1);
        self.lose(&key);
        let wait = if sent < self.pace.rounds { Some(self.pace.gap) } else { self.pace.period };
        let due = wait.map(|wait| now + wait);
        if let Some(due) = due {
            self.repeat.insert((due, key.clone()));
        }
        self.jobs.insert(key.clone(), Job { due, sent });
        self.paced_until = self.paced_until.max(now) + self.cost();
        Some(key)
    }

    /// When to poll again; `None` when nothing is left to send. Not before `now`.
    #[must_use]
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let due = self.first.first().into_iter().chain(self.repeat.first()).map(|(due, _)| *due).min()?;
        Some(due.max(self.ready_at()).max(now))
    }

    /// What one round takes of the pace.
    fn cost(&self) -> Duration {
        Duration::from_secs(1) / self.pace.per_second.max(1)
    }

    /// When the pace allows the next round.
    fn ready_at(&self) -> Duration {
        self.paced_until.saturating_sub(self.cost() * self.pace.burst.max(1).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs the schedule from `from` until `to` as a driver would, by deadlines.
    fn run<K: Clone + Ord>(schedule: &mut Schedule<K>, from: Duration, to: Duration) -> Vec<(u64, K)> {
        let (mut now, mut sent) = (from, Vec::new());
        loop {
            while let Some(key) = schedule.poll(now) {
                sent.push((u64::try_from(now.as_millis()).unwrap(), key));
            }
            match schedule.next_deadline(now) {
                Some(next) if next <= to => {
                    assert!(next > now, "the deadline must lie ahead when poll has nothing");
                    now = next;
                }
                _ => return sent,
            }
        }
    }

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn five_rounds_within_five_seconds_then_once_a_minute() {
        let mut schedule = Schedule::new(Pace::default());
        schedule.gain("a", seconds(100));
        let times: Vec<_> =
            run(&mut schedule, seconds(100), seconds(240)).into_iter().map(|(t, _)| t - 100_000).collect();
        assert_eq!(times, [0, 1100, 2200, 3300, 4400, 64_400, 124_400]);
    }

    #[test]
    fn without_a_period_silence_follows() {
        let mut schedule = Schedule::new(Pace { period: None, ..Pace::default() });
        schedule.gain("a", seconds(0));
        assert_eq!(run(&mut schedule, seconds(0), seconds(1000)).len(), 5);
        assert!(schedule.contains(&"a") && schedule.next_deadline(seconds(1000)).is_none());
    }

    #[test]
    fn what_is_lost_is_not_announced_and_what_is_gained_again_starts_over() {
        let mut schedule = Schedule::new(Pace::default());
        schedule.gain("a", seconds(0));
        schedule.gain("b", seconds(0));
        assert_eq!(run(&mut schedule, seconds(0), seconds(2)).len(), 4);
        schedule.lose(&"a");
        assert!(run(&mut schedule, seconds(2), seconds(3)).iter().all(|(_, key)| *key == "b"));
        schedule.gain("b", seconds(3));
        assert_eq!(run(&mut schedule, seconds(3), seconds(8)).len(), 5);
    }

    #[test]
    fn thousands_are_paced_and_first_rounds_go_first() {
        let pace = Pace { per_second: 1000, burst: 10, ..Pace::default() };
        let mut schedule = Schedule::new(pace);
        for key in 0..3000 {
            schedule.gain(key, seconds(50));
        }
        let sent = run(&mut schedule, seconds(50), seconds(53));
        let firsts: Vec<_> = sent.iter().take(3000).map(|(_, key)| *key).collect();
        assert_eq!(firsts, (0..3000).collect::<Vec<_>>(), "a repeat went before a first round");
        assert!(sent.iter().filter(|(t, _)| *t == 50_000).count() <= 10, "burst");
        for second in 50..53 {
            let count = sent.iter().filter(|(t, _)| t / 1000 == second).count();
            assert!((990..=1010).contains(&count), "{count} in second {second}");
        }
    }

    proptest! {
        /// Everything gained and kept is announced five times within five seconds
        /// (plus what the pace takes), nothing lost is ever sent.
        #[test]
        fn rounds_are_complete(keys in proptest::collection::btree_map(0u32..50, any::<bool>(), 1..30)) {
            let mut schedule = Schedule::new(Pace::default());
            for key in keys.keys() {
                schedule.gain(*key, seconds(1));
            }
            for (key, _) in keys.iter().filter(|(_, kept)| !**kept) {
                schedule.lose(key);
            }
            let sent = run(&mut schedule, seconds(1), seconds(7));
            for (key, kept) in &keys {
                let rounds = sent.iter().filter(|(_, k)| k == key).count();
                prop_assert_eq!(rounds, if *kept { 5 } else { 0 });
            }
        }
    }
}
