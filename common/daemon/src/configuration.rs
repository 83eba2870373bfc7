//! The objects that a configuration consists of: their watches, and what these have told, in the
//! shape that the parser takes. What the objects mean is the parser's (`clarion-config`).

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use clarion_config::legacy::{self, Legacy, Source};
use clarion_config::{Objects, Problem};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::object::Object;
use crate::store::Store;
use crate::watch::{Edit, Watches};

/// Configuration objects of one kind, by `metadata.name`.
pub type Named<K> = Store<String, Arc<K>>;

/// A change of one kind of configuration object. They go by `metadata.name`.
#[derive(Debug, Clone)]
pub enum ConfigEdit {
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
}

impl ConfigEdit {
    /// What the watches say first of a namespace without any such object.
    #[must_use]
    pub fn nothing() -> [Self; 7] {
        [
            Self::Pool(Edit::Reset(BTreeMap::new())),
            Self::L2(Edit::Reset(BTreeMap::new())),
            Self::Bgp(Edit::Reset(BTreeMap::new())),
            Self::Peer(Edit::Reset(BTreeMap::new())),
            Self::Bfd(Edit::Reset(BTreeMap::new())),
            Self::Community(Edit::Reset(BTreeMap::new())),
            Self::ConfigMap(Edit::Reset(BTreeMap::new())),
        ]
    }
}

/// Everything that the watches have told of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// IPAddressPools.
    pub pools: Named<IPAddressPool>,
    /// L2Advertisements.
    pub l2: Named<L2Advertisement>,
    /// BGPAdvertisements.
    pub bgp: Named<BGPAdvertisement>,
    /// BGPPeers.
    pub peers: Named<BGPPeer>,
    /// BFDProfiles.
    pub bfd: Named<BFDProfile>,
    /// Communities.
    pub communities: Named<Community>,
    configmaps: Named<Source>,
    /// What the ConfigMap says, or said while it could be read.
    legacy: Option<Arc<Legacy>>,
}

impl Configuration {
    /// Makes a change. Whether it was one.
    pub fn apply(&mut self, edit: ConfigEdit) -> bool {
        match edit {
            ConfigEdit::Pool(edit) => self.pools.apply(edit),
            ConfigEdit::L2(edit) => self.l2.apply(edit),
            ConfigEdit::Bgp(edit) => self.bgp.apply(edit),
            ConfigEdit::Peer(edit) => self.peers.apply(edit),
            ConfigEdit::Bfd(edit) => self.bfd.apply(edit),
            ConfigEdit::Community(edit) => self.communities.apply(edit),
            ConfigEdit::ConfigMap(edit) => {
                if !self.configmaps.apply(edit) {
                    return false;
                }
                let before = self.legacy.take();
                let read = |source| Arc::new(Legacy::read(source, before.as_deref()));
                self.legacy = self.configmap().map(read);
                true
            }
        }
    }

    /// The kinds that have not been seen in full yet, as messages name them.
    pub fn unsynced(&self) -> impl Iterator<Item = &'static str> + use<> {
        [
            ("ipaddresspools", self.pools.synced()),
            ("l2advertisements", self.l2.synced()),
            ("bgpadvertisements", self.bgp.synced()),
            ("bgppeers", self.peers.synced()),
            ("bfdprofiles", self.bfd.synced()),
            ("communities", self.communities.synced()),
            ("configmaps", self.configmaps.synced()),
        ]
        .into_iter()
        .filter_map(|(kind, synced)| (!synced).then_some(kind))
    }

    /// Whether all kinds have been seen in full. A configuration that is half seen would
    /// set aside what only lacks its other half.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.unsynced().next().is_none()
    }

    /// The objects, for the parser.
    #[must_use]
    pub fn objects(&self, namespace: &str) -> Objects {
        fn all<T>(store: &Named<T>) -> Vec<Arc<T>> {
            store.values().cloned().collect()
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
        self.configmaps.get(legacy::NAME).map(AsRef::as_ref)
    }

    /// Why the configuration is not known although everything has been seen
    /// ([`Objects::unknown`]).
    #[must_use]
    pub fn unknown(&self) -> Option<Problem> {
        self.objects(&self.configmap()?.namespace).unknown()
    }
}

/// The watches of all kinds in the configuration namespace, each to be run as a task of its
/// own. They end when nobody receives `events` any more.
pub fn watch<E: Send + 'static>(
    watches: &Watches,
    client: &Client,
    namespace: &str,
    event: fn(ConfigEdit) -> E,
    events: &mpsc::Sender<E>,
) -> Vec<BoxFuture<'static, ()>> {
    macro_rules! follow {
        ($watch:expr, $read:expr, $edit:path) => {
            $watch.follow($read, move |edit| event($edit(edit)), events.clone()).boxed()
        };
    }
    macro_rules! objects {
        ($kind:ident, $edit:path) => {
            follow!(
                watches.of(client, &ApiResource::erase::<$kind>(&()), Some(namespace)),
                object::<$kind>,
                $edit
            )
        };
    }
    // That one and no other, which is all that the role allows.
    let configmap =
        watches.of(client, &ApiResource::erase::<ConfigMap>(&()), Some(namespace)).named(legacy::NAME);
    vec![
        follow!(configmap, |object| source(&object), ConfigEdit::ConfigMap),
        objects!(IPAddressPool, ConfigEdit::Pool),
        objects!(L2Advertisement, ConfigEdit::L2),
        objects!(BGPAdvertisement, ConfigEdit::Bgp),
        objects!(BGPPeer, ConfigEdit::Peer),
        objects!(BFDProfile, ConfigEdit::Bfd),
        objects!(Community, ConfigEdit::Community),
    ]
}

/// A configuration object, by its name.
fn object<K>(mut object: Object) -> (String, Option<Arc<K>>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Default,
{
    // Nobody here reads them, and kubectl keeps a copy of the object in one.
    object.metadata.annotations = None;
    let name = object.name_any();
    let (metadata, body) = object.into_parts();
    (name, Some(Arc::new(clarion_config::decode(metadata, body))))
}

/// The ConfigMap's text, by its name.
fn source(object: &Object) -> (String, Option<Arc<Source>>) {
    let source = Source::new(&object.metadata, object.facts::<ConfigMap>().data.as_ref());
    (object.name_any(), Some(Arc::new(source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_that_cannot_be_read_keeps_its_name() {
        let text = json!({ "metadata": { "name": "odd", "uid": "u" } }).to_string();
        let (name, found) = object::<L2Advertisement>(serde_json::from_str(&text).unwrap());
        let found = found.unwrap();
        assert_eq!((name.as_str(), found.metadata.uid.as_deref()), ("odd", Some("u")));
    }

    #[test]
    fn it_is_known_when_all_kinds_were_seen() {
        let mut configuration = Configuration::default();
        for edit in ConfigEdit::nothing() {
            assert!(!configuration.synced());
            assert!(configuration.apply(edit.clone()), "an empty first list is news, too: {edit:?}");
            assert!(!configuration.apply(edit));
        }
        assert!(configuration.synced());
    }
}
