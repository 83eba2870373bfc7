//! The index: watch events in, one [`View`] out. Synchronous, so that tests feed
//! it events and compare whole values.

use std::collections::{BTreeMap, BTreeSet};

use clarion_config::{PeerSecret, Problem, follow};
use clarion_core::{NodeName, ServiceKey};
use clarion_daemon::Store;
use clarion_daemon::configuration::{ConfigEdit, Configuration};
use clarion_daemon::watch::Edit;
use clarion_fence::Key;

use crate::desired::owners::Part;
use crate::view::{Endpoints, Node, SecretValue, Service, View};

/// One event of any watch.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Service(Edit<ServiceKey, Service>),
    /// By namespace and name of the slice.
    Slice(Edit<(String, String), (ServiceKey, Endpoints)>),
    Node(Edit<NodeName, Node>),
    /// Something of this node's Lease: nothing matters but that it comes.
    Lease,
    Plan(Edit<String, Part>),
    /// The Secret with the cluster's key.
    Key(Edit<String, Key>),
    Secret(Edit<String, SecretValue>),
    Config(ConfigEdit),
}

/// Everything the watches said.
#[derive(Debug, Default)]
pub(crate) struct Index {
    namespace: String,
    view: View,
    slices: Store<(String, String), (ServiceKey, Endpoints)>,
    /// Which slices a Service has, so that a change looks at its own only.
    slices_of: BTreeMap<ServiceKey, BTreeSet<(String, String)>>,
    plans: Store<String, Part>,
    keys: Store<String, Key>,
    config: Configuration,
    /// Whether the configuration is not known, although all of it has been seen.
    unknown: bool,
    problems: Vec<Problem>,
}

impl Index {
    /// Nothing is known. `namespace` is the configuration namespace.
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Takes in an event; whether anything changed by it.
    pub(crate) fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Service(change) => self.view.services.apply(change),
            Event::Node(change) => self.view.nodes.apply(change),
            Event::Slice(change) => self.apply_slice(change),
            Event::Lease => false,
            Event::Plan(change) => self.plans.apply(change),
            // Without its Secret the key stays in use.
            Event::Key(Edit::Delete(_)) => false,
            Event::Key(change) => self.keys.apply(change),
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
            Event::Config(change) => self.config.apply(change) && self.parse(),
        }
    }

    /// The kinds whose first list has not come, for `/readyz`. Nothing may be
    /// derived from the view until this is empty.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let own = [
            ("services", self.view.services.synced()),
            ("endpointslices", self.slices.synced()),
            ("nodes", self.view.nodes.synced()),
            ("ownerplans", self.plans.synced()),
            ("a ConfigMap that can be read", !self.unknown),
        ];
        let own = own.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind);
        own.chain(self.config.unsynced()).collect()
    }

    /// What is known.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// What the OwnerPlans say, object by object.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Part> {
        self.plans.values()
    }

    /// The cluster's key, as far as its Secret is there.
    pub(crate) fn key(&self) -> Option<Key> {
        self.keys.values().next().copied()
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

    /// Whether the configuration in force, or what is wrong with it, changed.
    fn parse(&mut self) -> bool {
        if !self.config.synced() {
            return false;
        }
        let objects = self.config.objects(&self.namespace);
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

    fn apply_slice(&mut self, change: Edit<(String, String), (ServiceKey, Endpoints)>) -> bool {
        let services: BTreeSet<ServiceKey> = match &change {
            Edit::Apply(key, (service, _)) => {
                let before = self.slices.get(key).map(|(s, _)| s.clone());
                before.into_iter().chain([service.clone()]).collect()
            }
            Edit::Delete(key) => self.slices.get(key).map(|(s, _)| s.clone()).into_iter().collect(),
            Edit::Reset(rows) => self.slices.values().chain(rows.values()).map(|(s, _)| s.clone()).collect(),
        };
        self.find_slices(&change);
        if !self.slices.apply(change) {
            return false;
        }
        let mut union: BTreeMap<&ServiceKey, Endpoints> = BTreeMap::new();
        for service in &services {
            for id in self.slices_of.get(service).into_iter().flatten() {
                let Some((_, endpoints)) = self.slices.get(id) else { continue };
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
        let Some((service, _)) = self.slices.get(id) else { return };
        if let Some(slices) = self.slices_of.get_mut(service) {
            slices.remove(id);
            if slices.is_empty() {
                self.slices_of.remove(service);
            }
        }
    }
}
