//! What the API server has, as far as the controller cares. Owned and updated by one
//! task, synchronously: watches send [`Change`]s, nothing here waits for anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use clarion_config::legacy::{self, Legacy, Source};
use clarion_config::{Objects, Problem};
use clarion_core::{Labels, ServiceKey};
pub use clarion_daemon::watch::Edit;

use crate::service::ServiceView;

/// A change that some watch saw. Configuration objects go by `metadata.name`.
#[derive(Debug, Clone)]
pub enum Change {
    /// Services of all namespaces.
    Service(Edit<ServiceKey, Arc<ServiceView>>),
    /// Labels of namespaces.
    Namespace(Edit<String, Arc<Labels>>),
    /// IPAddressPools.
    Pool(Edit<String, Arc<IPAddressPool>>),
    /// L2Advertisements.
    L2(Edit<String, Arc<L2Advertisement>>),
    /// BGPAdvertisements.
    Bgp(Edit<String, Arc<BGPAdvertisement>>),
    /// BGPPeers.
    Peer(Edit<String, Arc<BGPPeer>>),
    /// BFDProfiles.
    Bfd(Edit<String, Arc<BFDProfile>>),
    /// Communities.
    Community(Edit<String, Arc<Community>>),
    /// The ConfigMap of the first releases.
    ConfigMap(Edit<String, Arc<Source>>),
    /// All Services, as they were after this term of leadership began or later: everything
    /// that former leaders wrote into them is seen.
    Listed(u64, BTreeMap<ServiceKey, Arc<ServiceView>>),
}

/// What a change concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Services that are new or different.
    pub services: Vec<ServiceKey>,
    /// Services that are gone.
    pub gone: Vec<ServiceKey>,
    /// Whether configuration objects differ, be it in their status alone.
    pub config: bool,
    /// Whether labels of namespaces differ.
    pub namespaces: bool,
}

/// All objects of one kind.
#[derive(Debug, Clone)]
pub struct Store<K, V> {
    /// By key.
    pub objects: BTreeMap<K, V>,
    /// Whether all that exist have been seen once.
    pub synced: bool,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), synced: false }
    }
}

impl<K: Ord + Clone, V: PartialEq> Store<K, V> {
    /// Makes the change. Returns which objects are different and which are gone.
    pub(crate) fn edit(&mut self, edit: Edit<K, V>) -> (Vec<K>, Vec<K>) {
        match edit {
            Edit::Apply(key, value) => {
                if self.objects.get(&key) == Some(&value) {
                    return (vec![], vec![]);
                }
                self.objects.insert(key.clone(), value);
                (vec![key], vec![])
            }
            Edit::Delete(key) => match self.objects.remove(&key) {
                Some(_) => (vec![], vec![key]),
                None => (vec![], vec![]),
            },
            Edit::Reset(all) => {
                let gone = self.objects.keys().filter(|key| !all.contains_key(key)).cloned().collect();
                let differ = |(key, value): &(&K, &V)| self.objects.get(key) != Some(value);
                let changed = all.iter().filter(differ).map(|(key, _)| key.clone()).collect();
                (self.objects, self.synced) = (all, true);
                (changed, gone)
            }
        }
    }
}

/// Everything that the watches have told.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Services that concern us.
    pub services: Store<ServiceKey, Arc<ServiceView>>,
    /// Labels of namespaces.
    pub namespaces: Store<String, Arc<Labels>>,
    /// IPAddressPools.
    pub pools: Store<String, Arc<IPAddressPool>>,
    /// L2Advertisements.
    pub l2: Store<String, Arc<L2Advertisement>>,
    /// BGPAdvertisements.
    pub bgp: Store<String, Arc<BGPAdvertisement>>,
    /// BGPPeers.
    pub peers: Store<String, Arc<BGPPeer>>,
    /// BFDProfiles.
    pub bfd: Store<String, Arc<BFDProfile>>,
    /// Communities.
    pub communities: Store<String, Arc<Community>>,
    /// The ConfigMap of the first releases, if there is one.
    pub configmaps: Store<String, Arc<Source>>,
    /// What it says, or said while it could be read.
    legacy: Option<Arc<Legacy>>,
}

impl Index {
    /// Makes a change and says what it concerns.
    pub fn apply(&mut self, change: Change) -> Touched {
        fn any<K, V: PartialEq>(store: &mut Store<K, V>, edit: Edit<K, V>) -> bool
        where
            K: Ord + Clone,
        {
            let first = !store.synced;
            let (changed, gone) = store.edit(edit);
            (first && store.synced) || !changed.is_empty() || !gone.is_empty()
        }
        let services = |(services, gone)| Touched { services, gone, ..Touched::default() };
        let config = match change {
            Change::Service(edit) => return services(self.services.edit(edit)),
            Change::Listed(_, all) => return services(self.services.edit(Edit::Reset(all))),
            Change::Namespace(edit) => {
                return Touched { namespaces: any(&mut self.namespaces, edit), ..Touched::default() };
            }
            Change::Pool(edit) => any(&mut self.pools, edit),
            Change::L2(edit) => any(&mut self.l2, edit),
            Change::Bgp(edit) => any(&mut self.bgp, edit),
            Change::Peer(edit) => any(&mut self.peers, edit),
            Change::Bfd(edit) => any(&mut self.bfd, edit),
            Change::Community(edit) => any(&mut self.communities, edit),
            Change::ConfigMap(edit) => {
                let changed = any(&mut self.configmaps, edit);
                let before = self.legacy.take();
                self.legacy =
                    self.configmap().map(|source| Arc::new(Legacy::read(source, before.as_deref())));
                changed
            }
        };
        Touched { config, ..Touched::default() }
    }

    /// The kinds that have not been seen in full yet, as messages name them.
    #[must_use]
    pub fn unsynced(&self) -> Vec<&'static str> {
        [
            ("services", self.services.synced),
            ("namespaces", self.namespaces.synced),
            ("ipaddresspools", self.pools.synced),
            ("l2advertisements", self.l2.synced),
            ("bgpadvertisements", self.bgp.synced),
            ("bgppeers", self.peers.synced),
            ("bfdprofiles", self.bfd.synced),
            ("communities", self.communities.synced),
            ("configmaps", self.configmaps.synced),
        ]
        .into_iter()
        .filter_map(|(kind, synced)| (!synced).then_some(kind))
        .collect()
    }

    /// Whether all kinds of configuration objects have been seen in full.
    #[must_use]
    pub fn config_synced(&self) -> bool {
        self.unsynced().iter().all(|kind| matches!(*kind, "services" | "namespaces"))
    }

    /// The configuration objects, for the parser.
    #[must_use]
    pub fn objects(&self, namespace: &str) -> Objects {
        fn all<T>(store: &Store<String, Arc<T>>) -> Vec<Arc<T>> {
            store.objects.values().cloned().collect()
        }
        Objects {
            namespace: namespace.to_owned(),
            pools: all(&self.pools),
            l2: all(&self.l2),
            bgp: all(&self.bgp),
            peers: all(&self.peers),
            bfd: all(&self.bfd),
            communities: all(&self.communities),
            legacy: self.legacy.clone(),
        }
    }

    /// The ConfigMap of the first releases, if there is one.
    #[must_use]
    pub fn configmap(&self) -> Option<&Source> {
        self.configmaps.objects.get(legacy::NAME).map(AsRef::as_ref)
    }

    /// Why the configuration is not known although everything has been seen
    /// ([`Objects::unknown`]).
    #[must_use]
    pub fn unknown(&self) -> Option<Problem> {
        self.objects(&self.configmap()?.namespace).unknown()
    }

    /// The labels of a namespace; none while it is not known.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> Arc<Labels> {
        self.namespaces.objects.get(namespace).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(team: &str) -> Arc<Labels> {
        Arc::new([("team".to_owned(), team.to_owned())].into())
    }

    #[test]
    fn only_what_differs_is_touched() {
        let mut index = Index::default();
        let apply = |team: &str| Change::Namespace(Edit::Apply("a".into(), namespace(team)));
        let reset = |names: &[&str]| {
            Change::Namespace(Edit::Reset(names.iter().map(|n| ((*n).to_owned(), namespace("x"))).collect()))
        };
        // (change, whether it concerns anybody), one after the other
        let table = [
            (reset(&["a"]), true),
            (reset(&["a"]), false),
            (apply("x"), false),
            (apply("y"), true),
            (Change::Namespace(Edit::Delete("b".into())), false),
            (Change::Namespace(Edit::Delete("a".into())), true),
        ];
        for (change, expected) in table {
            let text = format!("{change:?}");
            assert_eq!(index.apply(change), Touched { namespaces: expected, ..Touched::default() }, "{text}");
        }
    }

    #[test]
    fn an_empty_first_list_is_news_too() {
        let mut index = Index::default();
        assert_eq!(index.unsynced().len(), 9);
        assert!(index.apply(Change::Pool(Edit::Reset(BTreeMap::new()))).config);
        assert!(!index.apply(Change::Pool(Edit::Reset(BTreeMap::new()))).config);
        assert!(!index.unsynced().contains(&"ipaddresspools"));
    }
}
