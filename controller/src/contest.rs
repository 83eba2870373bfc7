//! Somebody else who writes other statuses into our Services.
//!
//! Two installations that both serve a Service each put right what the other has written, as fast
//! as the API server takes it, and neither can know that the other one will not stop. So who sees
//! its own write taken back again and again writes ever more rarely, and says who it is that does
//! that: only people can decide which of the two shall go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use clarion_core::{PoolName, ServiceKey, VipSet};

use crate::planner::StatusWrite;

/// What is taken back within this after it was written counts; later it is another story.
const WINDOW: Duration = Duration::from_secs(60);
/// So many times in a row it is put right at once: a person's edit, or one who is just leaving.
const PATIENCE: u32 = 3;
/// Then this is waited for,
const FIRST: Duration = Duration::from_secs(1);
/// twice as long each time, up to this.
const LONGEST: Duration = Duration::from_secs(300);
/// It is over when nothing was taken back for longer than the other one, if it is one of us, waits.
const OVER: Duration = Duration::from_secs(360);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// What a write makes of a Service.
type Content = (VipSet, Option<PoolName>);

/// The writes of the last moments, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Contests {
    by_key: BTreeMap<ServiceKey, Contest>,
    /// When each was written, oldest first.
    recent: VecDeque<(Instant, ServiceKey)>,
    /// Those that somebody else writes, too.
    standing: BTreeSet<ServiceKey>,
    /// Those of them that have begun since somebody asked.
    begun: Vec<ServiceKey>,
    look: Option<Instant>,
}

#[derive(Debug)]
struct Contest {
    written: Content,
    at: Instant,
    /// How often it was taken back in a row.
    times: u32,
    /// Whether it was since the last write.
    taken: bool,
    until: Option<Instant>,
    /// The other one, once it is known.
    other: Option<String>,
}

impl Contest {
    fn stands(&self) -> bool {
        self.times > PATIENCE
    }

    fn pause(&self) -> Duration {
        let doublings = self.times.saturating_sub(PATIENCE + 1).min(16);
        (FIRST * (1 << doublings)).min(LONGEST)
    }

    /// When it is over if nothing more happens.
    fn over(&self) -> Instant {
        self.until.filter(|_| self.taken).unwrap_or(self.at) + OVER
    }
}

impl Contests {
    /// This has been written.
    pub(crate) fn wrote(&mut self, write: &StatusWrite, now: Instant) {
        let written = (write.addresses, write.pool.clone());
        self.recent.push_back((now, write.key.clone()));
        match self.by_key.get_mut(&write.key) {
            Some(contest) if contest.written == written => (contest.at, contest.taken) = (now, false),
            _ => {
                self.standing.remove(&write.key);
                let contest = Contest { written, at: now, times: 0, taken: false, until: None, other: None };
                self.by_key.insert(write.key.clone(), contest);
            }
        }
    }

    /// This is to be written. `Some`: not before then, since it was written before and somebody
    /// takes it back each time.
    pub(crate) fn hold(&mut self, write: &StatusWrite, now: Instant) -> Option<Instant> {
        let contest = self.by_key.get_mut(&write.key)?;
        if (write.addresses, &write.pool) != (contest.written.0, &contest.written.1) {
            return None;
        }
        if !contest.taken {
            contest.taken = true;
            contest.times += 1;
            if contest.stands() {
                contest.until = Some(now + contest.pause());
                if self.standing.insert(write.key.clone()) {
                    self.begun.push(write.key.clone());
                    self.look.get_or_insert(now + LOOK);
                }
            }
        }
        contest.until.filter(|until| *until > now)
    }

    /// The Service is gone.
    pub(crate) fn forget(&mut self, key: &ServiceKey) {
        self.by_key.remove(key);
        self.standing.remove(key);
    }

    /// Forgets what is over; whether a contest is.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            let Some((_, key)) = self.recent.pop_front() else { break };
            if self.by_key.get(&key).is_some_and(|c| !c.stands() && c.at + WINDOW <= now) {
                self.by_key.remove(&key);
            }
        }
        if self.look.is_none_or(|look| now < look) {
            return false;
        }
        let over = |key: &&ServiceKey| self.by_key.get(*key).is_none_or(|contest| contest.over() <= now);
        let over: Vec<_> = self.standing.iter().filter(over).cloned().collect();
        over.iter().for_each(|key| self.forget(key));
        self.look = (!self.standing.is_empty()).then_some(now + LOOK);
        !over.is_empty()
    }

    /// When to call [`Self::expire`] again though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.look
    }

    /// The contests that have begun since the last call.
    pub(crate) fn take_begun(&mut self) -> Vec<ServiceKey> {
        std::mem::take(&mut self.begun)
    }

    /// Who the other one is.
    pub(crate) fn name(&mut self, key: &ServiceKey, other: Option<String>) {
        if let Some(contest) = self.by_key.get_mut(key) {
            contest.other = other;
        }
    }

    /// The Services that another one writes, too, and its name where that is known.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (&ServiceKey, Option<&str>)> {
        let found = self.standing.iter().filter_map(|key| self.by_key.get_key_value(key));
        found.map(|(key, contest)| (key, contest.other.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn write(name: &str, address: &str) -> StatusWrite {
        StatusWrite {
            key: ServiceKey::new("ns", name),
            resource_version: "1".into(),
            addresses: VipSet::from_addresses([address.parse().unwrap()]).unwrap(),
            pool: Some("a".into()),
            remove_deprecated: false,
        }
    }

    /// Writes whenever it may, and is taken back at once each time: after how many seconds it wrote.
    fn writes(contests: &mut Contests, begin: Instant, seconds: u64) -> Vec<u64> {
        let mut written = Vec::new();
        for second in 0..seconds {
            let now = begin + S * u32::try_from(second).unwrap();
            contests.expire(now);
            if contests.hold(&write("x", "192.0.2.1"), now).is_none() {
                contests.wrote(&write("x", "192.0.2.1"), now);
                written.push(second);
            }
        }
        written
    }

    #[test]
    fn what_is_taken_back_again_and_again_is_written_ever_more_rarely() {
        let (mut contests, begin) = (Contests::default(), Instant::now());
        let written = writes(&mut contests, begin, 3600);
        // Four at once, the first having been taken back three times; then 1, 2, 4, ... 300 s.
        assert_eq!(written[..10], [0, 1, 2, 3, 5, 8, 13, 22, 39, 72], "{written:?}");
        let last: Vec<_> = written.windows(2).map(|pair| pair[1] - pair[0]).rev().take(3).collect();
        assert_eq!(last, [301, 301, 301]);
        assert_eq!(contests.take_begun(), [ServiceKey::new("ns", "x")], "it is said once");
        assert_eq!(contests.standing().count(), 1);
    }

    #[test]
    fn other_content_and_other_services_do_not_wait() {
        let (mut contests, begin) = (Contests::default(), Instant::now());
        writes(&mut contests, begin, 60);
        let now = begin + S * 60;
        assert!(contests.hold(&write("x", "192.0.2.1"), now).is_some());
        assert_eq!(contests.hold(&write("x", "192.0.2.2"), now), None, "its owner asks for another one");
        assert_eq!(contests.hold(&write("y", "192.0.2.1"), now), None);
        contests.wrote(&write("x", "192.0.2.2"), now);
        assert_eq!(contests.standing().count(), 0);
    }

    #[test]
    fn an_edit_now_and_then_is_put_right_at_once() {
        let (mut contests, mut now) = (Contests::default(), Instant::now());
        for _ in 0..20 {
            contests.wrote(&write("x", "192.0.2.1"), now);
            now += WINDOW;
            contests.expire(now);
            assert_eq!(contests.hold(&write("x", "192.0.2.1"), now), None);
        }
        assert!(contests.take_begun().is_empty());
        assert_eq!((contests.by_key.len(), contests.recent.len()), (0, 0), "and nothing is remembered");
    }

    #[test]
    fn it_is_over_when_a_write_stands() {
        let (mut contests, begin) = (Contests::default(), Instant::now());
        let written = writes(&mut contests, begin, 60);
        let last = begin + S * u32::try_from(*written.last().unwrap()).unwrap();
        contests.wrote(&write("x", "192.0.2.1"), last + S * 60);
        contests.name(&ServiceKey::new("ns", "x"), Some("controller".into()));
        assert_eq!(
            contests.standing().collect::<Vec<_>>(),
            [(&ServiceKey::new("ns", "x"), Some("controller"))]
        );
        let mut now = last + S * 60;
        while contests.standing().next().is_some() {
            now = contests.deadline().unwrap().max(now + S);
            contests.expire(now);
        }
        let took = now - (last + S * 60);
        assert!(took >= OVER && took <= OVER + LOOK, "{took:?}");
        assert_eq!(contests.deadline(), None);
    }
}
