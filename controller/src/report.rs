//! What the configuration objects are told about themselves: conditions, the counters
//! of pools, and ConfigurationState. Pure: what should be shown against what is shown.

use std::collections::BTreeMap;

use clarion_alloc::PoolCounters;
use clarion_api::{
    CONDITION_ADDRESSES_USABLE, CONDITION_VALID, Configured, IPAddressPool, REASON_PARTLY_IN_FORCE,
};
use clarion_config::{ObjectRef, Outcome, Problem};
use clarion_core::PoolName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use kube::api::ApiResource;
use serde_json::{Value, json};

use crate::events::About;
use crate::index::Index;

/// Reason of a condition that is True.
pub const RECONCILED: &str = "Reconciled";
/// Reason of a condition that is False.
pub const CONFIGURATION_ERROR: &str = "ConfigurationError";
/// Reason of condition `AddressesUsable`.
pub const ODD_ADDRESSES: &str = "OddAddresses";
/// Name of the controller's ConfigurationState.
pub const STATE_NAME: &str = "controller";
/// Its condition's type (contract §1.9).
pub const STATE_CONDITION: &str = "poolReconcilerValid";
/// The type of the condition that is there while there is a ConfigMap of the first releases:
/// whether it counts.
pub const CONFIGMAP_CONDITION: &str = "configMapInForce";
/// The type of the condition that is there while the API server refuses a whole kind of writes.
pub const WRITES_CONDITION: &str = "writesAccepted";
/// Its reason.
pub const REFUSED: &str = "Refused";
/// The type of the condition that is there while somebody else writes our Services, too.
pub const CONTEST_CONDITION: &str = "servicesUncontested";
/// Its reason.
pub const OTHER_WRITER: &str = "OtherWriter";
/// The reason of [`CONFIGMAP_CONDITION`] where it does not, and the reason of the ConfigMap's event.
pub const OBJECTS_WIN: &str = "ObjectsWin";

/// A configuration object and what it should show.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectReport {
    /// Where it is written.
    pub resource: ApiResource,
    /// The object itself, for events.
    pub about: About,
    /// What it should show.
    pub wanted: Status,
    /// What it shows.
    pub shown: Status,
    /// Since when its condition `Valid` is as it is, as it is written there.
    pub since: Option<Time>,
    /// The same of condition `AddressesUsable`.
    pub odd_since: Option<Time>,
}

/// The status of an object, times left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What condition `Valid` says; `None` where it is not shown at all.
    pub verdict: Option<Verdict>,
    /// The generation that this is about.
    pub generation: i64,
    /// Counters of a pool.
    pub counters: Option<PoolCounters>,
    /// What is odd about the addresses of a pool in force: condition `AddressesUsable`, shown only
    /// while there is something.
    pub remark: Option<String>,
}

/// What an object is told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in force as written.
    InForce,
    /// It is in force as written, apart from what the message says.
    InPart(String),
    /// It is not in force as written, and why.
    SetAside(String),
}

impl Verdict {
    fn of(condition: &Condition) -> Self {
        match (condition.status.as_str(), condition.reason.as_str()) {
            ("True", _) => Self::InForce,
            (_, REASON_PARTLY_IN_FORCE) => Self::InPart(condition.message.clone()),
            _ => Self::SetAside(condition.message.clone()),
        }
    }

    /// What is wrong, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::InForce => None,
            Self::InPart(message) | Self::SetAside(message) => Some(message),
        }
    }

    /// `reason` of the condition, and of the event where something is wrong.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InForce => RECONCILED,
            Self::InPart(_) => REASON_PARTLY_IN_FORCE,
            Self::SetAside(_) => CONFIGURATION_ERROR,
        }
    }
}

/// Everything that is to be shown, at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Of each configuration object.
    pub objects: Vec<ObjectReport>,
    /// The problems all together, one a line; empty if there are none.
    pub summary: String,
    /// Of the ConfigMap of the first releases, if there is one.
    pub configmap: Option<ConfigMapReport>,
    /// Which Services somebody else writes, too; empty if there are none.
    pub contested: String,
}

/// What there is to be said of the ConfigMap of the first releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapReport {
    /// The ConfigMap itself, for events.
    pub about: About,
    /// What is wrong in it, one a line; empty if nothing is.
    pub problem: String,
    /// Why it is not in force; `None` if it is.
    pub ignored: Option<String>,
}

fn remark(pool: &clarion_config::Pool, index: &Index) -> Option<String> {
    let nodes = index.nodes.iter();
    let own = nodes.flat_map(|(name, node)| node.addresses.iter().map(|address| (name.as_str(), *address)));
    let remarks = clarion_config::remarks(pool, own);
    (!remarks.is_empty()).then(|| lines(remarks.into_iter()))
}

fn shown_remark(pool: &IPAddressPool) -> Option<String> {
    let odd = |condition: &&Condition| condition.type_ == CONDITION_ADDRESSES_USABLE;
    pool.conditions().iter().find(odd).map(|condition| condition.message.clone())
}

fn counters(pool: &IPAddressPool) -> Option<PoolCounters> {
    pool.status.as_ref().map(|status| PoolCounters {
        assigned_v4: status.assigned_ipv4,
        assigned_v6: status.assigned_ipv6,
        available_v4: status.available_ipv4,
        available_v6: status.available_ipv6,
    })
}

impl Report {
    /// What is to be shown, given what is known.
    #[must_use]
    pub fn new(index: &Index, parsed: &Outcome, counters: &BTreeMap<PoolName, PoolCounters>) -> Self {
        let mut objects = Vec::new();
        for pool in index.config.pools.values() {
            let name = PoolName::new(pool.name_any());
            // A pool that is not in force has nothing to give.
            let counters = counters.get(&name).copied().unwrap_or_default();
            let mut report = one(pool.as_ref(), parsed);
            report.wanted.remark = parsed.config.pools.get(&name).and_then(|pool| remark(pool, index));
            report.shown.remark = shown_remark(pool);
            (report.wanted.counters, report.shown.counters) = (Some(counters), self::counters(pool));
            objects.push(report);
        }
        fn all<'a, K: Configured + 'a>(
            objects: impl Iterator<Item = &'a std::sync::Arc<K>>,
            parsed: &Outcome,
        ) -> Vec<ObjectReport> {
            objects.map(|object| one(object.as_ref(), parsed)).collect()
        }
        objects.extend(all(index.config.l2.values(), parsed));
        objects.extend(all(index.config.bgp.values(), parsed));
        objects.extend(all(index.config.peers.values(), parsed));
        objects.extend(all(index.config.bfd.values(), parsed));
        objects.extend(all(index.config.communities.values(), parsed));
        // Each line says by itself what it is, as in the agents' states.
        let summary = parsed.problems.iter().map(|problem| format!("configuration error: {problem}"));
        let configmap = configmap(index, &parsed.problems);
        Self { objects, summary: lines(summary), configmap, contested: String::new() }
    }
}

fn configmap(index: &Index, problems: &[Problem]) -> Option<ConfigMapReport> {
    let source = index.config.configmap()?;
    let about = About {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: source.namespace.clone(),
        name: clarion_config::legacy::NAME.to_owned(),
        uid: source.uid.clone(),
    };
    let mine = problems.iter().filter(|problem| problem.object.kind == about.kind).map(said);
    let ignored = index.config.objects(&source.namespace).configmap_notice();
    Some(ConfigMapReport { problem: lines(mine), ignored, about })
}

fn one<K: Configured>(object: &K, parsed: &Outcome) -> ObjectReport {
    let kind = K::kind(&());
    let (meta, name) = (object.meta(), object.name_any());
    let namespace = object.namespace().unwrap_or_default();
    let is_it = |other: &ObjectRef| other.kind == kind && other.name == name && other.namespace == namespace;
    let message = lines(parsed.problems.iter().filter(|problem| is_it(&problem.object)).map(said));
    let verdict = if message.is_empty() {
        Verdict::InForce
    } else if parsed.in_part.iter().any(is_it) {
        Verdict::InPart(message)
    } else {
        Verdict::SetAside(message)
    };
    let condition = |kind: &str| object.conditions().iter().find(|condition| condition.type_ == kind);
    let since = |kind: &str| condition(kind).map(|condition| condition.last_transition_time.clone());
    let valid = condition(CONDITION_VALID);
    ObjectReport {
        resource: ApiResource::erase::<K>(&()),
        about: About {
            api_version: K::api_version(&()).into_owned(),
            kind: kind.into_owned(),
            namespace,
            name,
            uid: meta.uid.clone().unwrap_or_default(),
        },
        wanted: Status {
            verdict: Some(verdict),
            generation: meta.generation.unwrap_or_default(),
            ..Status::default()
        },
        shown: Status {
            verdict: valid.map(Verdict::of),
            generation: valid.and_then(|c| c.observed_generation).unwrap_or_default(),
            ..Status::default()
        },
        since: since(CONDITION_VALID),
        odd_since: since(CONDITION_ADDRESSES_USABLE),
    }
}

/// A problem as the object itself is told: it knows its own name.
fn said(problem: &Problem) -> String {
    let kept = if problem.last_good_kept { "; its last valid version stays in force" } else { "" };
    format!("{}: {}{kept}", problem.field, problem.message)
}

/// A condition's message has at most 32 KiB.
const LONGEST: usize = 32 * 1024;

fn lines(texts: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    for text in texts {
        if all.len() + text.len() + 2 > LONGEST {
            all.push('…');
            break;
        }
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(&text);
    }
    all
}

impl ObjectReport {
    /// The status to apply at `now`, keeping the time of a condition that has not turned.
    #[must_use]
    pub fn status(&self, now: &Time) -> Value {
        let wrong = |verdict: &Verdict| verdict.problem().is_some();
        let turned = self.shown.verdict.as_ref().map(wrong) != self.wanted.verdict.as_ref().map(wrong);
        let verdict = self.wanted.verdict.as_ref().unwrap_or(&Verdict::InForce);
        let mut valid = condition(
            CONDITION_VALID,
            verdict.problem(),
            Some(self.wanted.generation),
            if turned { now } else { self.since.as_ref().unwrap_or(now) },
        );
        valid["reason"] = json!(verdict.reason());
        let mut conditions = vec![valid];
        if let Some(remark) = &self.wanted.remark {
            // Its time is that of the words: they are another state each time.
            let since = self.odd_since.as_ref().filter(|_| self.shown.remark == self.wanted.remark);
            let generation = Some(self.wanted.generation);
            let mut odd =
                condition(CONDITION_ADDRESSES_USABLE, Some(remark), generation, since.unwrap_or(now));
            odd["reason"] = json!(ODD_ADDRESSES);
            conditions.push(odd);
        }
        let mut status = json!({ "conditions": conditions });
        if let Some(counters) = self.wanted.counters {
            status["assignedIPv4"] = json!(counters.assigned_v4);
            status["assignedIPv6"] = json!(counters.assigned_v6);
            status["availableIPv4"] = json!(counters.available_v4);
            status["availableIPv6"] = json!(counters.available_v6);
        }
        status
    }
}

/// A condition as the API server takes it.
#[must_use]
pub fn condition(kind: &str, problem: Option<&str>, generation: Option<i64>, since: &Time) -> Value {
    let mut condition = json!({
        "type": kind,
        "status": if problem.is_some() { "False" } else { "True" },
        "reason": if problem.is_some() { CONFIGURATION_ERROR } else { RECONCILED },
        "message": problem.unwrap_or_default(),
        "lastTransitionTime": since,
    });
    if let Some(generation) = generation {
        condition["observedGeneration"] = json!(generation);
    }
    condition
}

/// The status of ConfigurationState `controller` (contract §1.9): all conditions together. A
/// ConfigMap that objects have taken the place of is no error. `refused`: what the API server
/// refuses, a line each.
#[must_use]
pub fn state(report: &Report, refused: &str, now: &Time) -> Value {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let summary = said(&report.summary);
    let mut conditions = vec![condition(STATE_CONDITION, summary.as_deref(), None, now)];
    let others =
        [(WRITES_CONDITION, REFUSED, refused), (CONTEST_CONDITION, OTHER_WRITER, report.contested.as_str())];
    for (kind, reason, message) in others.into_iter().filter(|(_, _, message)| !message.is_empty()) {
        let mut failed = condition(kind, Some(message), None, now);
        failed["reason"] = json!(reason);
        conditions.push(failed);
    }
    let all = lines([summary, said(refused), said(&report.contested)].into_iter().flatten());
    if let Some(configmap) = &report.configmap {
        let mut in_force = condition(CONFIGMAP_CONDITION, configmap.ignored.as_deref(), None, now);
        if configmap.ignored.is_some() {
            in_force["reason"] = json!(OBJECTS_WIN);
        }
        conditions.push(in_force);
    }
    json!({
        "result": if all.is_empty() { "Valid" } else { "Invalid" },
        "errorSummary": all,
        "conditions": conditions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Change, ConfigEdit, Edit};
    use clarion_config::Config;
    use k8s_openapi::jiff::Timestamp;
    use std::sync::Arc;

    fn pool(status: &Value) -> Index {
        let object = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"namespace": "metallb-system", "name": "gold", "uid": "u", "generation": 3},
            "spec": {"addresses": ["192.0.2.0/24"]}, "status": status,
        });
        let pool: IPAddressPool = serde_json::from_value(object).unwrap();
        let mut index = Index::default();
        index.config.apply(ConfigEdit::Pool(Edit::Apply("gold".into(), Arc::new(pool))));
        index
    }

    fn problem() -> Outcome {
        let object =
            ObjectRef { kind: "IPAddressPool", namespace: "metallb-system".into(), name: "gold".into() };
        let message = "invalid CIDR".into();
        let problem = Problem { object, field: "spec.addresses[0]".into(), message, last_good_kept: true };
        Outcome { problems: vec![problem], ..Outcome::default() }
    }

    #[test]
    fn what_is_refused_and_who_else_writes_is_a_condition_while_it_lasts() {
        let well = Report::default();
        assert_eq!(state(&well, "", &second(0))["conditions"].as_array().map(Vec::len), Some(1));
        let report = Report { contested: "Services a".into(), ..Report::default() };
        let shown = state(&report, "cannot write things: no", &second(0));
        let kinds: Vec<_> = shown["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
        assert_eq!(kinds, [STATE_CONDITION, WRITES_CONDITION, CONTEST_CONDITION]);
        assert_eq!(shown["result"], "Invalid");
        assert!(shown["errorSummary"].as_str().unwrap().starts_with("cannot write things: no\nServices "));
    }

    fn second(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_bad_pool_is_told_field_remedy_and_what_stays() {
        let report = Report::new(&pool(&json!(null)), &problem(), &BTreeMap::new());
        let message = "spec.addresses[0]: invalid CIDR; its last valid version stays in force";
        assert_eq!(report.objects[0].shown, Status::default());
        assert_eq!(
            report.objects[0].status(&second(0)),
            json!({
                "assignedIPv4": 0, "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0,
                "conditions": [{"type": "Valid", "status": "False", "reason": "ConfigurationError",
                    "message": message, "lastTransitionTime": "1970-01-01T00:00:00Z", "observedGeneration": 3}],
            })
        );
        assert_eq!(
            state(&report, "", &second(0))["errorSummary"],
            json!("configuration error: IPAddressPool metallb-system/gold: spec.addresses[0]: invalid CIDR")
        );
    }

    #[test]
    fn what_is_shown_already_is_not_wanted_again() {
        let counters = PoolCounters { assigned_v4: 1, available_v4: 255, ..PoolCounters::default() };
        let by_pool = BTreeMap::from([(PoolName::from("gold"), counters)]);
        let fresh = Report::new(&pool(&json!(null)), &Outcome::default(), &by_pool);
        let written = fresh.objects[0].status(&second(0));
        let after = Report::new(&pool(&written), &Outcome::default(), &by_pool);
        assert_eq!(after.objects[0].wanted, after.objects[0].shown);
    }

    #[test]
    fn a_pool_with_odd_addresses_is_in_force_and_told_so_once() {
        let report = |index: &Index| {
            let objects = index.config.objects("metallb-system");
            Report::new(index, &clarion_config::parse(&objects, &Config::default()), &BTreeMap::new())
        };
        let written = report(&pool(&json!(null))).objects[0].status(&second(0));
        let conditions = written["conditions"].as_array().unwrap();
        assert_eq!(conditions[0]["status"], "True");
        assert_eq!(
            (&conditions[1]["type"], &conditions[1]["status"]),
            (&json!("AddressesUsable"), &json!("False"))
        );
        assert!(conditions[1]["message"].as_str().unwrap().contains("documentation"), "{written}");
        let after = report(&pool(&written));
        assert_eq!(after.objects[0].wanted, after.objects[0].shown);
        assert_eq!(after.objects[0].status(&second(7)), written);
    }

    #[test]
    fn what_is_in_force_in_part_has_a_reason_of_its_own() {
        let mut outcome = problem();
        outcome.in_part.insert(outcome.problems[0].object.clone());
        let none = BTreeMap::new();
        let written = Report::new(&pool(&json!(null)), &outcome, &none).objects[0].status(&second(0));
        let valid = &written["conditions"][0];
        assert_eq!((&valid["status"], &valid["reason"]), (&json!("False"), &json!("PartlyInForce")));
        let after = Report::new(&pool(&written), &outcome, &none);
        assert_eq!(after.objects[0].wanted, after.objects[0].shown);
    }

    #[test]
    fn a_condition_keeps_its_time_until_it_turns() {
        let none = BTreeMap::new();
        let good = Report::new(&pool(&json!(null)), &Outcome::default(), &none).objects[0].status(&second(0));
        let since = |status: &Value| status["conditions"][0]["lastTransitionTime"].clone();
        let still = Report::new(&pool(&good), &Outcome::default(), &none).objects[0].status(&second(7));
        assert_eq!(since(&still), json!("1970-01-01T00:00:00Z"));
        let turned = Report::new(&pool(&good), &problem(), &none).objects[0].status(&second(7));
        assert_eq!(since(&turned), json!("1970-01-01T00:00:07Z"));
    }

    #[test]
    fn a_pool_that_has_a_nodes_own_address_is_told_so() {
        let mut index = pool(&json!(null));
        let said = |index: &Index| {
            let outcome = clarion_config::parse(&index.config.objects("metallb-system"), &Config::default());
            Report::new(index, &outcome, &BTreeMap::new()).objects[0]
                .wanted
                .remark
                .clone()
                .unwrap_or_default()
        };
        assert!(!said(&index).contains("is the address of node"));
        let node = crate::placement::NodeView {
            addresses: vec!["192.0.2.7".parse().unwrap(), "203.0.113.1".parse().unwrap()],
            ..Default::default()
        };
        assert!(index.apply(Change::Node(Edit::Apply("n1".into(), Arc::new(node)))).nodes);
        let text = said(&index);
        assert!(text.contains("192.0.2.7 is the address of node n1"), "{text}");
        assert!(!text.contains("203.0.113.1"), "{text}");
    }
}
