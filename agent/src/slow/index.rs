//! The index: watch events in, one [`View`] out. Synchronous, so that tests feed
//! it events and compare whole values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use clarion_config::legacy::{self, Legacy, Source};
use clarion_config::{Objects, PeerSecret, Problem, follow};
use clarion_core::{NodeName, ServiceKey};
use clarion_daemon::watch::Edit;
use clarion_l2::ownership::Input;

use crate::view::{Endpoints, Node, SecretValue, Service, View};

/// One event of any watch.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Service(Edit<ServiceKey, Service>),
    /// By namespace and name of the slice.
    Slice(Edit<(String, String), (ServiceKey, Endpoints)>),
    Node(Edit<NodeName, Node>),
    /// The renewal as text.
    Lease(Edit<NodeName, String>),
    Secret(Edit<String, SecretValue>),
    Pool(Edit<String, Arc<IPAddressPool>>),
    L2(Edit<String, Arc<L2Advertisement>>),
    Bgp(Edit<String, Arc<BGPAdvertisement>>),
    Peer(Edit<String, Arc<BGPPeer>>),
    Bfd(Edit<String, Arc<BFDProfile>>),
    Community(Edit<String, Arc<Community>>),
    /// The ConfigMap of the first releases.
    ConfigMap(Edit<String, Source>),
}

#[derive(Debug)]
struct Table<K, V> {
    rows: BTreeMap<K, V>,
    synced: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), synced: false }
    }
}

impl<K: Ord, V: PartialEq> Table<K, V> {
    /// Whether something changed; the first complete list always does.
    fn apply(&mut self, change: Edit<K, V>) -> bool {
        match change {
            Edit::Apply(key, value) => {
                let same = self.rows.get(&key) == Some(&value);
                self.rows.insert(key, value);
                !same
            }
            Edit::Delete(key) => self.rows.remove(&key).is_some(),
            Edit::Reset(rows) => {
                let same = self.synced && self.rows == rows;
                (self.rows, self.synced) = (rows, true);
                !same
            }
        }
    }
}

/// Everything the watches said.
#[derive(Debug, Default)]
pub(crate) struct Index {
    namespace: String,
    view: View,
    services: bool,
    nodes: bool,
    slices: Table<(String, String), (ServiceKey, Endpoints)>,
    /// Which slices a Service has, so that a change looks at its own only.
    slices_of: BTreeMap<ServiceKey, BTreeSet<(String, String)>>,
    leases: Table<NodeName, String>,
    pools: Table<String, Arc<IPAddressPool>>,
    l2: Table<String, Arc<L2Advertisement>>,
    bgp: Table<String, Arc<BGPAdvertisement>>,
    peers: Table<String, Arc<BGPPeer>>,
    bfd: Table<String, Arc<BFDProfile>>,
    communities: Table<String, Arc<Community>>,
    configmaps: Table<String, Source>,
    /// What the ConfigMap says, or said while it could be read.
    legacy: Option<Arc<Legacy>>,
    /// Whether the configuration is not known, although all of it has been seen.
    unknown: bool,
    problems: Vec<Problem>,
}

impl Index {
    /// Nothing is known. `namespace` is the configuration namespace.
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Takes in an event; whether the view changed by it. Leases change no view:
    /// what they mean for the fast half is pushed to `liveness`.
    pub(crate) fn apply(&mut self, event: Event, liveness: &mut Vec<Input>) -> bool {
        match event {
            Event::Service(change) => apply_to(&mut self.view.services, &mut self.services, change),
            Event::Node(change) => apply_to(&mut self.view.nodes, &mut self.nodes, change),
            Event::Slice(change) => self.apply_slice(change),
            Event::Lease(change) => {
                self.apply_lease(change, liveness);
                false
            }
            // The password of a Secret that is gone stays in use, as a session that is up needs none.
            Event::Secret(Edit::Delete(_)) => false,
            Event::Secret(Edit::Apply(name, value)) => {
                self.view.secrets.insert(name, value.clone()) != Some(value)
            }
            Event::Secret(Edit::Reset(all)) => {
                let news = all.iter().any(|(name, value)| self.view.secrets.get(name) != Some(value));
                self.view.secrets.extend(all);
                news
            }
            Event::Pool(change) => self.pools.apply(change) && self.parse(),
            Event::L2(change) => self.l2.apply(change) && self.parse(),
            Event::Bgp(change) => self.bgp.apply(change) && self.parse(),
            Event::Peer(change) => self.peers.apply(change) && self.parse(),
            Event::Bfd(change) => self.bfd.apply(change) && self.parse(),
            Event::Community(change) => self.communities.apply(change) && self.parse(),
            Event::ConfigMap(change) => self.apply_configmap(change),
        }
    }

    /// The kinds whose first list has not come, for `/readyz`. Nothing may be
    /// derived from the view until this is empty.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        [
            ("Services", self.services),
            ("EndpointSlices", self.slices.synced),
            ("Nodes", self.nodes),
            ("Leases", self.leases.synced),
            ("IPAddressPools", self.pools.synced),
            ("L2Advertisements", self.l2.synced),
            ("BGPAdvertisements", self.bgp.synced),
            ("BGPPeers", self.peers.synced),
            ("BFDProfiles", self.bfd.synced),
            ("Communities", self.communities.synced),
            ("ConfigMaps", self.configmaps.synced),
            ("a ConfigMap that can be read", !self.unknown),
        ]
        .into_iter()
        .filter(|(_, synced)| !synced)
        .map(|(kind, _)| kind)
        .collect()
    }

    /// What is known.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The objects set aside by the last parse.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Names of the Secrets that the BGPPeers in force need.
    pub(crate) fn wanted_secrets(&self) -> BTreeSet<String> {
        let secrets = self.view.config.peers.values().filter_map(|p| p.secret.as_ref());
        secrets
            .filter_map(|s| match s {
                PeerSecret::Secret(name) => Some(name.clone()),
                PeerSecret::Inline(_) => None,
            })
            .collect()
    }

    fn config_synced(&self) -> bool {
        self.pools.synced
            && self.l2.synced
            && self.bgp.synced
            && self.peers.synced
            && self.bfd.synced
            && self.communities.synced
            && self.configmaps.synced
    }

    /// Whether the configuration in force, or what is wrong with it, changed.
    fn parse(&mut self) -> bool {
        // A half-seen configuration would quarantine what only lacks its other half.
        if !self.config_synced() {
            return false;
        }
        let objects = Objects {
            namespace: self.namespace.clone(),
            pools: self.pools.rows.values().cloned().collect(),
            l2: self.l2.rows.values().cloned().collect(),
            bgp: self.bgp.rows.values().cloned().collect(),
            peers: self.peers.rows.values().cloned().collect(),
            bfd: self.bfd.rows.values().cloned().collect(),
            communities: self.communities.rows.values().cloned().collect(),
            legacy: self.legacy.clone(),
        };
        let unknown = objects.unknown();
        self.unknown = unknown.is_some();
        if let Some(problem) = unknown {
            self.problems = vec![problem];
            return true;
        }
        let outcome = follow(&objects, &self.view.config);
        let changed = outcome.config != self.view.config || outcome.problems != self.problems;
        self.view.config = outcome.config;
        self.problems = outcome.problems;
        changed
    }

    fn apply_configmap(&mut self, change: Edit<String, Source>) -> bool {
        if !self.configmaps.apply(change) {
            return false;
        }
        let before = self.legacy.take();
        let source = self.configmaps.rows.get(legacy::NAME);
        self.legacy = source.map(|source| Arc::new(Legacy::read(source, before.as_deref())));
        self.parse()
    }

    fn apply_slice(&mut self, change: Edit<(String, String), (ServiceKey, Endpoints)>) -> bool {
        let services: BTreeSet<ServiceKey> = match &change {
            Edit::Apply(key, (service, _)) => {
                let before = self.slices.rows.get(key).map(|(s, _)| s.clone());
                before.into_iter().chain([service.clone()]).collect()
            }
            Edit::Delete(key) => self.slices.rows.get(key).map(|(s, _)| s.clone()).into_iter().collect(),
            Edit::Reset(rows) => {
                self.slices.rows.values().chain(rows.values()).map(|(s, _)| s.clone()).collect()
            }
        };
        self.find_slices(&change);
        if !self.slices.apply(change) {
            return false;
        }
        let mut union: BTreeMap<&ServiceKey, Endpoints> = BTreeMap::new();
        for service in &services {
            for id in self.slices_of.get(service).into_iter().flatten() {
                let Some((_, endpoints)) = self.slices.rows.get(id) else { continue };
                let all = union.entry(service).or_default();
                all.nodes.extend(endpoints.nodes.iter().cloned());
                all.elsewhere |= endpoints.elsewhere;
            }
        }
        let mut changed = false;
        for service in &services {
            let after = union.remove(service).filter(|e| !e.is_empty());
            changed |= self.view.endpoints.get(service) != after.as_ref();
            match after {
                Some(endpoints) => drop(self.view.endpoints.insert(service.clone(), endpoints)),
                None => drop(self.view.endpoints.remove(service)),
            }
        }
        changed
    }

    /// Keeps [`Self::slices_of`] in step with a change that is about to be applied.
    fn find_slices(&mut self, change: &Edit<(String, String), (ServiceKey, Endpoints)>) {
        match change {
            Edit::Apply(id, (service, _)) => {
                self.lose_slice(id);
                self.slices_of.entry(service.clone()).or_default().insert(id.clone());
            }
            Edit::Delete(id) => self.lose_slice(id),
            Edit::Reset(rows) => {
                self.slices_of.clear();
                for (id, (service, _)) in rows {
                    self.slices_of.entry(service.clone()).or_default().insert(id.clone());
                }
            }
        }
    }

    fn lose_slice(&mut self, id: &(String, String)) {
        let Some((service, _)) = self.slices.rows.get(id) else { return };
        if let Some(slices) = self.slices_of.get_mut(service) {
            slices.remove(id);
            if slices.is_empty() {
                self.slices_of.remove(service);
            }
        }
    }

    fn apply_lease(&mut self, change: Edit<NodeName, String>, liveness: &mut Vec<Input>) {
        match &change {
            Edit::Apply(node, renewal) => {
                liveness.push(Input::Lease { node: node.clone(), renewal: renewal.clone() });
            }
            Edit::Delete(node) => liveness.push(Input::LeaseGone(node.clone())),
            Edit::Reset(rows) => {
                let gone = self.leases.rows.keys().filter(|n| !rows.contains_key(n));
                liveness.extend(gone.cloned().map(Input::LeaseGone));
                let seen = rows.iter();
                liveness.extend(
                    seen.map(|(node, renewal)| Input::Lease { node: node.clone(), renewal: renewal.clone() }),
                );
            }
        }
        self.leases.apply(change);
    }
}

fn apply_to<K: Ord, V: PartialEq>(rows: &mut BTreeMap<K, V>, synced: &mut bool, change: Edit<K, V>) -> bool {
    let mut table = Table { rows: std::mem::take(rows), synced: *synced };
    let changed = table.apply(change);
    (*rows, *synced) = (table.rows, table.synced);
    changed
}
