//! Somebody else who writes other statuses into our Services.
//!
//! Two installations that both serve a Service each put right what the other has written, as fast
//! as the API server takes it, and neither can know that the other one will not stop. So who sees
//! its own write taken back again and again writes ever more rarely, and says who it is that does
//! that: only people can decide which of the two shall go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use clarion_core::{PoolName, ServiceKey, VipSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use crate::planner::StatusWrite;
use crate::writer::FIELD_MANAGER;

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

/// Who else writes the status of a Service, as its `managedFields` tell while our own write is
/// taken back: the manager of what is there, else whoever wrote the status last.
#[must_use]
pub fn other_writer(fields: &[ManagedFieldsEntry]) -> Option<&str> {
    let owns = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| !fields["f:status"]["f:loadBalancer"].is_null())
    };
    let status = fields.iter().filter(|entry| owns(entry) || entry.subresource.as_deref() == Some("status"));
    let last = status.max_by_key(|entry| (owns(entry), entry.time.as_ref().map(|time| time.0)));
    last?.manager.as_deref()
}

/// The other one as people know it, and what they can do. `manager`: as it names itself in
/// `managedFields`; `None` if nobody knows.
#[must_use]
pub fn remedy(manager: Option<&str>) -> String {
    let who = match manager {
        Some(FIELD_MANAGER) => format!("another installation of Clarion (field manager {FIELD_MANAGER:?})"),
        // The name of its binary.
        Some("controller") => "a MetalLB (field manager \"controller\")".to_owned(),
        Some(name) => format!("field manager {name:?}"),
        None => "somebody".to_owned(),
    };
    format!(
        "{who} writes another status.loadBalancer than ours again and again: two serve the same Services, so none is served. Delete one of them, or give each its own Services (spec.loadBalancerClass, --lb-class); until then this one writes ever more rarely"
    )
}

/// Services named in a condition; more are counted.
const NAMED: usize = 5;

/// What is to be said of Services that somebody else writes, too; empty if there are none.
#[must_use]
pub fn summary<'a>(services: impl Iterator<Item = (&'a ServiceKey, Option<&'a str>)>) -> String {
    let mut by_other: BTreeMap<&str, Vec<&ServiceKey>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (service, other) in services {
        match other {
            Some(other) => by_other.entry(other).or_default().push(service),
            None => unknown.push(service),
        }
    }
    // Of many only some were asked about; the others are contested by the same one.
    if let Some(services) = by_other.values_mut().next() {
        services.append(&mut unknown);
    }
    let unknown = (!unknown.is_empty()).then_some((None, unknown));
    let known = by_other.into_iter().map(|(other, services)| (Some(other), services));
    let said = known.chain(unknown).map(|(other, services)| {
        let names: Vec<_> = services.iter().take(NAMED).map(ToString::to_string).collect();
        let more = services.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("Services {}{more}: {}", names.join(", "), remedy(other))
    });
    said.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    #[test]
    fn of_many_some_are_named_and_the_one_that_is_known_is_everybodys() {
        let keys: Vec<_> = (0..9).map(|n| ServiceKey::new("ns", format!("s{n}"))).collect();
        let others = keys.iter().enumerate().map(|(n, key)| (key, (n == 3).then_some("controller")));
        let said = summary(others);
        assert!(said.starts_with("Services ns/s3, ns/s0, "), "{said}");
        assert!(said.contains(" and 4 more: a MetalLB (field manager \"controller\")"), "{said}");
        assert!(summary([(&keys[0], None)].into_iter()).starts_with("Services ns/s0: somebody writes"));
        assert_eq!(summary(std::iter::empty()), "");
    }

    #[test]
    fn the_other_one_is_who_manages_what_is_there() {
        let entry = |manager: &str, subresource: Option<&str>, second: i64, fields: serde_json::Value| {
            let time = k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
            serde_json::from_value::<ManagedFieldsEntry>(json!({
                "manager": manager, "subresource": subresource, "time": time.to_string(), "fieldsV1": fields,
            }))
            .unwrap()
        };
        let spec = || entry("kubectl", None, 9, json!({"f:spec": {}}));
        let status = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        let notes = json!({"f:metadata": {"f:annotations": {}}});
        // (entries, other)
        let table = [
            (vec![], None),
            (vec![spec()], None),
            (vec![spec(), entry("controller", Some("status"), 5, status.clone())], Some("controller")),
            (
                // Ours holds the annotation only; the newer one has cleared the addresses.
                vec![
                    entry("clarion-controller", Some("status"), 3, notes.clone()),
                    entry("controller", Some("status"), 7, notes.clone()),
                ],
                Some("controller"),
            ),
            (
                vec![
                    entry("clarion-controller", Some("status"), 8, status),
                    entry("controller", Some("status"), 9, notes),
                ],
                Some("clarion-controller"),
            ),
        ];
        for (entries, other) in table {
            assert_eq!(other_writer(&entries), other, "{entries:?}");
        }
        assert!(remedy(Some("clarion-controller")).starts_with("another installation of Clarion"));
        assert!(remedy(Some("kubectl-edit")).contains("\"kubectl-edit\""));
    }
}
