//! The plan: from what is known of a Service to what is written into it and said
//! of it. Pure: no clock, no API server; the same calls give the same plans.
//!
//! A planner lives as long as its process leads. It starts from the status of all
//! Services ([`Planner::start`]), since another leader may have written it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_alloc::{Allocator, Cleared, Outcome, PoolCounters, Refusal, Request};
use clarion_config::{self as config, Config};
use clarion_core::{AllocReason, Labels, PoolName, ServiceKey, VipSet};

use crate::pools::{self, EligibleCache};
use crate::service::{FamilyProblem, Role, ServiceView};
use crate::words::{Saying, Sayings};

/// What is to be done about one Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicePlan {
    /// What to write; `None` if it says so already.
    pub write: Option<StatusWrite>,
    /// Events of this decision, told once it is written.
    pub sayings: Vec<Saying>,
}

/// Status and annotation of a Service, on condition that nobody has changed it since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusWrite {
    /// The Service.
    pub key: ServiceKey,
    /// The version that this was planned from.
    pub resource_version: String,
    /// `status.loadBalancer.ingress`; empty clears it.
    pub addresses: VipSet,
    /// The annotation with the pool's name; `None` removes it.
    pub pool: Option<PoolName>,
    /// Whether the same annotation with the deprecated prefix has to go.
    pub remove_deprecated: bool,
}

/// Addresses and the pool they are from, as far as it is known.
type Held = (VipSet, Option<PoolName>);

/// Decides for all Services.
#[derive(Debug, Default)]
pub struct Planner {
    allocator: Allocator,
    /// The pools, in force and set aside, and nothing else.
    config: Config,
    /// Why pools are not in force.
    aside: BTreeMap<PoolName, String>,
    cache: EligibleCache,
    known: BTreeMap<ServiceKey, Known>,
    /// Load balancers without any address, whatever the reason.
    pending: BTreeSet<ServiceKey>,
}

/// What the planner remembers of a Service it has decided on.
#[derive(Debug, Default)]
struct Known {
    uid: String,
    standing: Vec<Saying>,
    /// What happened and could not be said, since the write that it went with failed.
    unsaid: Vec<Saying>,
    /// Why the address in its status could not be recovered, until it has been said.
    lost: Option<Cleared>,
}

impl Planner {
    /// A planner that knows what the Services hold: their status, oldest Service
    /// first, before anybody may be given anything (contract §2.7).
    #[must_use]
    pub fn start<'a>(outcome: &config::Outcome, services: impl IntoIterator<Item = &'a ServiceView>) -> Self {
        let mut planner = Self::default();
        planner.configure(outcome);
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_by(|a, b| (a.created_s, &a.key).cmp(&(b.created_s, &b.key)));
        for service in services {
            planner.meet(service);
        }
        planner
    }

    /// Takes another configuration. Nobody loses anything by that until it is planned for,
    /// which has to be done for all.
    pub fn configure(&mut self, outcome: &config::Outcome) {
        self.allocator.set_pools(pools::specs(&outcome.config));
        self.config.pools.clone_from(&outcome.config.pools);
        self.config.set_aside.clone_from(&outcome.config.set_aside);
        self.config.unread.clone_from(&outcome.config.unread);
        let pools = outcome.problems.iter().filter(|problem| problem.object.kind == "IPAddressPool");
        let why = |problem: &config::Problem| format!("{}: {}", problem.field, problem.message);
        self.aside = pools.map(|problem| (problem.object.name.as_str().into(), why(problem))).collect();
        self.cache.clear();
    }

    /// Forgets who may use what: labels of namespaces have changed.
    pub fn namespaces_changed(&mut self) {
        self.cache.clear();
    }

    /// Plans for one Service. Planning again, once the plan is written, plans nothing.
    pub fn plan(&mut self, service: &ServiceView, namespace_labels: &Labels) -> ServicePlan {
        self.meet(service);
        let (held, sayings) = match &service.role {
            Role::Former => {
                self.let_go(&service.key);
                (None, Sayings::default())
            }
            Role::Balancer { families: Err(problem), .. } => self.undecidable(service, problem),
            Role::Balancer { families: Ok(families), wish, claim } => {
                let eligible =
                    self.cache.get(&self.config.pools, &service.key, &service.labels, namespace_labels);
                let request = Request {
                    families: *families,
                    wish: wish.clone(),
                    claim: Arc::clone(claim),
                    eligible,
                    created_s: service.created_s,
                    set_aside: self.set_aside(&service.key),
                };
                self.decide(service, &request)
            }
        };
        if held.is_none() && matches!(service.role, Role::Balancer { .. }) {
            self.pending.insert(service.key.clone());
        } else {
            self.pending.remove(&service.key);
        }
        let write = write(service, held);
        ServicePlan { sayings: self.news(service, write.is_some(), sayings), write }
    }

    /// The Service is gone, or no concern of ours any longer.
    pub fn forget(&mut self, key: &ServiceKey) {
        self.let_go(key);
        self.known.remove(key);
        self.pending.remove(key);
    }

    /// The write that these were to be told with did not happen, so they have not been told:
    /// the next plan says them, as far as they are true then.
    pub fn unsaid(&mut self, key: &ServiceKey, sayings: Vec<Saying>) {
        let Some(known) = self.known.get_mut(key) else { return };
        // What stands is news again; a deprecated annotation is mentioned with each write.
        known.standing.retain(|saying| !sayings.contains(saying));
        let happened = sayings.into_iter().filter(|saying| {
            use AllocReason::{ClearAssignment, IpAllocated, NoLbIpsIpFamily};
            matches!(saying.reason, ClearAssignment | IpAllocated | NoLbIpsIpFamily)
        });
        known.unsaid.extend(happened);
    }

    /// Services to plan for again: something that they wait for can probably be had since the
    /// last call. Each is named once, and no more of them than can be helped.
    pub fn take_freed(&mut self) -> Vec<ServiceKey> {
        self.allocator.take_woken()
    }

    /// What is used and free, by pool.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<PoolName, PoolCounters> {
        self.allocator.counters().map(|(name, counters)| (name.clone(), counters)).collect()
    }

    /// How many load balancers have no address, whatever the reason.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Recovers a Service that is seen for the first time. Later its status says
    /// nothing new: what the planner decided may just not be written yet.
    fn meet(&mut self, service: &ServiceView) {
        if self.known.get(&service.key).is_some_and(|known| known.uid == service.uid) {
            return;
        }
        self.let_go(&service.key);
        let mut known = Known { uid: service.uid.clone(), ..Known::default() };
        if matches!(service.role, Role::Balancer { .. }) && !service.shown.strange.is_empty() {
            known.unsaid.push(Saying::strange(&service.shown.strange));
        }
        if let (Role::Balancer { claim, .. }, Some(addresses)) = (&service.role, service.shown.addresses)
            && let Err(why) = self.allocator.recover(&service.key, addresses, claim)
        {
            known.lost = Some(Cleared { addresses, why: Some(why) });
        }
        self.known.insert(service.key.clone(), known);
    }

    fn decide(&mut self, service: &ServiceView, request: &Request) -> (Option<Held>, Sayings) {
        let mut decision = self.allocator.decide(&service.key, request);
        if decision.cleared.is_none() {
            decision.cleared = self.known.get_mut(&service.key).and_then(|known| known.lost.take());
        }
        let mut said = Sayings::of(&service.key, &decision);
        if let Outcome::Refused(refusal @ Refusal::UnknownPool(pool)) = &decision.outcome
            && let Some(why) = self.aside.get(pool)
        {
            said.standing = vec![Saying::set_aside(&service.key, refusal, pool, why)];
        }
        (decision.outcome.grant().map(|grant| (grant.addresses, Some(grant.pool.clone()))), said)
    }

    /// What the Service holds of pools that are set aside, by the same rule by which agents
    /// announce it ([`Config::pool_of`]).
    fn set_aside(&self, key: &ServiceKey) -> BTreeMap<IpAddr, PoolName> {
        let held = self.allocator.holding(key).map(|holding| holding.addresses).unwrap_or_default();
        let orphans = held.iter().filter(|address| self.allocator.pool_of(*address).is_none());
        orphans.filter_map(|address| Some((address, self.config.pool_of(address)?.name.clone()))).collect()
    }

    /// Without families there is no decision. What cannot be read takes no address away
    /// either; what is missing does (contract §2.6, §3.1).
    fn undecidable(&mut self, service: &ServiceView, problem: &FamilyProblem) -> (Option<Held>, Sayings) {
        let unreadable = matches!(problem, FamilyProblem::Unreadable { .. });
        let kept = self.allocator.holding(&service.key).filter(|_| unreadable).map(|held| held.addresses);
        let standing = Saying::families(&service.key, problem, kept.is_some()).into_iter().collect();
        let sayings = Sayings { standing, ..Sayings::default() };
        let Some(addresses) = kept else {
            self.let_go(&service.key);
            return (None, sayings);
        };
        let pool = addresses.iter().find_map(|address| self.config.pool_of(address));
        (Some((addresses, pool.map(|pool| pool.name.clone()))), sayings)
    }

    fn let_go(&mut self, key: &ServiceKey) {
        self.allocator.release(key);
    }

    /// What has not been said yet. Deprecated annotations are mentioned only when the
    /// Service is being changed anyway (contract §2.1), or a restart would shout.
    fn news(&mut self, service: &ServiceView, writes: bool, sayings: Sayings) -> Vec<Saying> {
        let known = self.known.entry(service.key.clone()).or_default();
        let mut news = std::mem::take(&mut known.unsaid);
        // Only the last of several addresses has been written ever.
        let holds = self.allocator.holding(&service.key).is_some();
        let again = sayings.happened.iter().any(|saying| saying.reason == AllocReason::IpAllocated);
        news.retain(|saying| saying.reason != AllocReason::IpAllocated || (holds && !again));
        news.extend(sayings.happened);
        if !matches!(service.role, Role::Balancer { .. }) {
            news.clear();
        }
        news.extend(sayings.standing.iter().filter(|saying| !known.standing.contains(saying)).cloned());
        known.standing = sayings.standing;
        if writes && matches!(service.role, Role::Balancer { .. }) {
            news.extend(service.deprecated.iter().map(|key| Saying::deprecated(key)));
        }
        news
    }
}

/// The write that makes the Service show what it holds.
fn write(service: &ServiceView, held: Option<Held>) -> Option<StatusWrite> {
    let (addresses, pool) = held.unwrap_or_default();
    let shown = &service.shown;
    let same = shown.addresses == Some(addresses)
        && !shown.more
        && shown.pool.as_deref() == pool.as_ref().map(PoolName::as_str)
        && !shown.deprecated_pool;
    (!same).then(|| StatusWrite {
        key: service.key.clone(),
        resource_version: service.resource_version.clone(),
        addresses,
        pool,
        remove_deprecated: shown.deprecated_pool,
    })
}
