//! What is known, kept so that one change costs what it touches and not the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_config::{Config, l2_score};
use clarion_core::{AnnounceReason, NodeName, ServiceKey, VipSet};
use clarion_placement::{Candidates, Group, NodeFacts};

use super::read::{NodeView, Slice};
use crate::service::{Role, ServiceView};
use clarion_daemon::Store;
use clarion_daemon::watch::Edit;

/// Namespace and name of an EndpointSlice.
pub type SliceKey = (String, String);

/// Candidates are kept for so many different demands; more are computed anew.
const KEPT: usize = 4096;

/// What has changed since the last [`World::take`].
#[derive(Debug, Default)]
pub struct Work {
    /// The nodes, if anything about them differs.
    pub nodes: Option<BTreeMap<NodeName, NodeFacts>>,
    /// Addresses that are not in layer 2 (any more).
    pub gone: Vec<IpAddr>,
    /// Groups that are new or may differ.
    pub groups: Vec<Group>,
}

/// The advertisements by name, and the nodes that serve where only those may own.
type Demand = (Vec<String>, Option<BTreeSet<NodeName>>);

/// The world as the watches have told it.
#[derive(Debug, Default)]
pub struct World {
    ignore_exclude_label: bool,
    services: Store<ServiceKey, Arc<ServiceView>>,
    nodes: Store<NodeName, Arc<NodeView>>,
    agents: Store<NodeName, ()>,
    slices: Store<SliceKey, Arc<Slice>>,
    config: Option<Arc<Config>>,
    /// What each Service holds, and who holds each address.
    held: BTreeMap<ServiceKey, VipSet>,
    holders: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    slices_of: BTreeMap<ServiceKey, BTreeSet<SliceKey>>,
    touched: BTreeSet<IpAddr>,
    /// Services with policy Local that hold an address.
    local: BTreeSet<ServiceKey>,
    nodes_changed: bool,
    cache: BTreeMap<Demand, Arc<Candidates>>,
}

impl World {
    /// Knows nothing yet. `ignore_exclude_label`: labelled nodes may own all the same.
    #[must_use]
    pub fn new(ignore_exclude_label: bool) -> Self {
        Self { ignore_exclude_label, ..Self::default() }
    }

    /// Takes a change of Services.
    pub fn services(&mut self, edit: Edit<ServiceKey, Arc<ServiceView>>) {
        let (changed, gone) = self.services.edit(edit);
        for key in gone.into_iter().chain(changed) {
            self.hold(key);
        }
    }

    /// Takes a change of nodes.
    pub fn nodes(&mut self, edit: Edit<NodeName, Arc<NodeView>>) {
        let (changed, gone) = self.nodes.edit(edit);
        if !changed.is_empty() || !gone.is_empty() {
            self.reconsider();
            self.nodes_changed = true;
        }
    }

    /// Takes a change of which nodes have an agent.
    pub fn agents(&mut self, edit: Edit<NodeName, ()>) {
        let (changed, gone) = self.agents.edit(edit);
        if !changed.is_empty() || !gone.is_empty() {
            self.reconsider();
            self.nodes_changed = true;
        }
    }

    /// Takes a change of EndpointSlices.
    pub fn slices(&mut self, edit: Edit<SliceKey, Arc<Slice>>) {
        let first = !self.slices.synced();
        let service = |(key, slice): (&SliceKey, &Arc<Slice>)| (key.clone(), slice.service.clone());
        let former: BTreeMap<SliceKey, ServiceKey> = match &edit {
            Edit::Apply(key, _) | Edit::Delete(key) => {
                self.slices.get_key_value(key).map(service).into_iter().collect()
            }
            Edit::Reset(_) => self.slices.iter().map(service).collect(),
        };
        let (changed, gone) = self.slices.edit(edit);
        for key in gone.iter().chain(&changed) {
            if let Some(service) = former.get(key) {
                if let Some(mine) = self.slices_of.get_mut(service) {
                    mine.remove(key);
                }
                self.endpoints_of(service);
            }
        }
        for key in changed {
            if let Some(service) = self.slices.get(&key).map(|slice| slice.service.clone()) {
                self.endpoints_of(&service);
                self.slices_of.entry(service).or_default().insert(key);
            }
        }
        if first && self.slices.synced() {
            self.reconsider();
        }
    }

    /// Takes another configuration.
    pub fn configure(&mut self, config: Arc<Config>) {
        let before = self.has_layer2();
        self.config = Some(config);
        // Whether nodes need voters.
        self.nodes_changed |= self.has_layer2() != before;
        self.reconsider();
    }

    /// Whether layer 2 announces anything, once there is an address.
    #[must_use]
    pub fn has_layer2(&self) -> bool {
        self.config.as_ref().is_some_and(|config| !config.l2.is_empty())
    }

    /// Whether EndpointSlices decide anything: they are many, and few clusters need them here.
    #[must_use]
    pub fn needs_slices(&self) -> bool {
        !self.local.is_empty() && self.has_layer2()
    }

    /// Whether enough is known to plan.
    #[must_use]
    pub fn synced(&self) -> bool {
        let all =
            self.services.synced() && self.nodes.synced() && self.agents.synced() && self.config.is_some();
        all && (self.slices.synced() || !self.needs_slices())
    }

    /// Whether [`Self::take`] has anything.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.nodes_changed || !self.touched.is_empty()
    }

    /// Whether anybody waits for it: somebody holds what has changed, or a node has.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.nodes_changed || self.touched.iter().any(|address| self.holders.contains_key(address))
    }

    /// Everything counts as changed: a plan begins.
    pub fn begin(&mut self) {
        self.reconsider();
        self.nodes_changed = true;
    }

    /// The nodes that have an agent.
    #[must_use]
    pub fn members(&self) -> BTreeMap<NodeName, NodeFacts> {
        let with_agent = self.nodes.iter().filter(|(name, _)| self.agents.contains_key(*name));
        with_agent.map(|(name, node)| (name.clone(), node.facts())).collect()
    }

    /// What has changed since the last call.
    pub fn take(&mut self) -> Work {
        let mut work = Work { nodes: None, gone: Vec::new(), groups: Vec::new() };
        if std::mem::take(&mut self.nodes_changed) {
            work.nodes = Some(self.members());
        }
        let touched = std::mem::take(&mut self.touched);
        let mut seen = BTreeSet::new();
        for address in touched {
            if seen.contains(&address) {
                continue;
            }
            let (addresses, services) = self.bound_to(address);
            seen.extend(addresses.iter().copied());
            if !self.slices.synced() && services.iter().any(|key| self.is_local(key)) {
                // Its nodes are not known yet: what is planned stays until they are, and then
                // everything is looked at.
                continue;
            }
            match self.candidates(&addresses, &services) {
                Ok(candidates) => work.groups.push(Group { addresses, candidates }),
                Err(NotLayer2) => work.gone.extend(addresses),
            }
        }
        work
    }

    fn reconsider(&mut self) {
        self.cache.clear();
        self.touched.extend(self.holders.keys().copied());
    }

    /// Takes note of what a Service holds now.
    fn hold(&mut self, key: ServiceKey) {
        let service = self.services.get(&key);
        let balancer = service.filter(|service| matches!(service.role, Role::Balancer { .. }));
        let now = balancer.and_then(|service| service.shown.addresses).unwrap_or_default();
        let before = self.held.remove(&key).unwrap_or_default();
        for address in before.iter() {
            self.touched.insert(address);
            if let Some(holders) = self.holders.get_mut(&address) {
                holders.remove(&key);
                if holders.is_empty() {
                    self.holders.remove(&address);
                }
            }
        }
        for address in now.iter() {
            self.touched.insert(address);
            self.holders.entry(address).or_default().insert(key.clone());
        }
        self.local.remove(&key);
        if !now.is_empty() {
            if self.is_local(&key) {
                self.local.insert(key.clone());
            }
            self.held.insert(key, now);
        }
    }

    fn is_local(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|service| service.local)
    }

    fn endpoints_of(&mut self, service: &ServiceKey) {
        if self.is_local(service)
            && let Some(held) = self.held.get(service)
        {
            self.touched.extend(held.iter());
        }
    }

    /// The addresses that must have one owner with this one, and the Services that hold them:
    /// sharers of an address, and both addresses of a Service (ServiceL2Status names one node).
    fn bound_to(&self, address: IpAddr) -> (Vec<IpAddr>, BTreeSet<ServiceKey>) {
        let (mut addresses, mut services) = (BTreeSet::from([address]), BTreeSet::new());
        let mut open = vec![address];
        while let Some(address) = open.pop() {
            for key in self.holders.get(&address).into_iter().flatten() {
                if services.insert(key.clone()) {
                    let held = self.held.get(key).copied().unwrap_or_default();
                    open.extend(held.iter().filter(|other| addresses.insert(*other)));
                }
            }
        }
        (addresses.into_iter().collect(), services)
    }

    /// Who may own addresses that these Services hold: the nodes that suit all of them; if
    /// none does, those that suit the most, since an address has one owner.
    fn candidates(
        &mut self,
        addresses: &[IpAddr],
        services: &BTreeSet<ServiceKey>,
    ) -> Result<Arc<Candidates>, NotLayer2> {
        let Some(config) = self.config.clone() else { return Err(NotLayer2) };
        let mut demands = Vec::new();
        let mut conflict = false;
        for key in services {
            let Some(service) = self.services.get(key).cloned() else { continue };
            let shared = matches!(&service.role, Role::Balancer { claim, .. } if !claim.sharing.is_empty());
            let pool = addresses.iter().filter(|a| self.holders.get(*a).is_some_and(|h| h.contains(key)));
            for pool in pool.filter_map(|address| config.pool_of(*address)) {
                match config.l2_advertisements(pool, &service.labels, shared) {
                    Ok(advertisements) => {
                        let names = advertisements.iter().map(|a| a.name.clone()).collect();
                        let serving = service.local.then(|| self.serving(key));
                        let demand = (names, serving);
                        if !demands.contains(&demand) {
                            demands.push(demand);
                        }
                    }
                    Err(AnnounceReason::SharedIpWithServiceSelector) => conflict = true,
                    Err(_) => {}
                }
            }
        }
        // Who has no endpoint anywhere is not announced and asks nothing of the others' owner.
        if demands.iter().any(|(_, serving)| serving.as_ref().is_none_or(|nodes| !nodes.is_empty())) {
            demands.retain(|(_, serving)| serving.as_ref().is_none_or(|nodes| !nodes.is_empty()));
        }
        match demands.as_slice() {
            [] if conflict => Ok(Arc::new(self.refused(AnnounceReason::SharedIpWithServiceSelector))),
            [] => Err(NotLayer2),
            [_] => Ok(demands.pop().map(|demand| self.of_demand(&config, demand)).unwrap_or_default()),
            _ => {
                let each: Vec<_> =
                    demands.into_iter().map(|demand| self.of_demand(&config, demand)).collect();
                Ok(Arc::new(most_suited(&each)))
            }
        }
    }

    fn refused(&self, reason: AnnounceReason) -> Candidates {
        Candidates { scores: BTreeMap::new(), refused: [(reason, self.nodes.len())].into() }
    }

    fn serving(&self, key: &ServiceKey) -> BTreeSet<NodeName> {
        let slices = self.slices_of.get(key).into_iter().flatten();
        let slices = slices.filter_map(|slice| self.slices.get(slice));
        slices.flat_map(|slice| slice.serving.iter().cloned()).collect()
    }

    fn of_demand(&mut self, config: &Config, demand: Demand) -> Arc<Candidates> {
        if let Some(known) = self.cache.get(&demand) {
            return Arc::clone(known);
        }
        let mut candidates = Candidates::default();
        let advertisements: Vec<_> = demand.0.iter().filter_map(|name| config.l2.get(name)).collect();
        for (name, node) in &self.nodes {
            let verdict = l2_score(&advertisements, &node.labels)
                .and_then(|score| self.may_own(name, node, demand.1.as_ref()).map(|()| score));
            match verdict {
                Ok(score) => {
                    candidates.scores.insert(name.clone(), score);
                }
                Err(reason) => *candidates.refused.entry(reason).or_default() += 1,
            }
        }
        if self.cache.len() >= KEPT {
            self.cache.clear();
        }
        let candidates = Arc::new(candidates);
        self.cache.insert(demand, Arc::clone(&candidates));
        candidates
    }

    fn may_own(
        &self,
        name: &NodeName,
        node: &NodeView,
        serving: Option<&BTreeSet<NodeName>>,
    ) -> Result<(), AnnounceReason> {
        if !self.agents.contains_key(name) {
            return Err(AnnounceReason::NodeWithoutAgent);
        }
        if node.network_unavailable {
            return Err(AnnounceReason::NodeNetworkUnavailable);
        }
        if node.excluded() && !self.ignore_exclude_label {
            return Err(AnnounceReason::NodeLabeledExcludeBalancers);
        }
        match serving {
            Some(serving) if !serving.contains(name) => Err(AnnounceReason::NoLocalEndpoints),
            _ => Ok(()),
        }
    }
}

/// No advertisement is for any of them.
struct NotLayer2;

/// The nodes that suit the most; each with its best score.
fn most_suited(each: &[Arc<Candidates>]) -> Candidates {
    let mut suits: BTreeMap<&NodeName, (usize, u32)> = BTreeMap::new();
    let mut all = Candidates::default();
    for candidates in each {
        for (name, score) in &candidates.scores {
            let (count, best) = suits.entry(name).or_default();
            (*count, *best) = (*count + 1, *score.max(best));
        }
        for (reason, count) in &candidates.refused {
            let most = all.refused.entry(*reason).or_default();
            *most = *count.max(most);
        }
    }
    let most = suits.values().map(|(count, _)| *count).max().unwrap_or_default();
    let best = suits.into_iter().filter(|(_, (count, _))| *count == most);
    all.scores = best.map(|(name, (_, score))| (name.clone(), score)).collect();
    all
}
