//! One text to objects of the API, and where in the text each of them comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::fields::Fields;
use super::names::{Names, Naming};
use super::{peers, pools, yaml};
use crate::check::Wrong;
use crate::parse::kind;

const TOP: &[&str] = &["address-pools", "peers", "bgp-communities", "communities", "bfd-profiles"];

/// Kind and name of an object.
pub(super) type Id = (&'static str, String);

/// Kinds of entries of which one could not be told whose it is: while that is so, nothing of
/// the kind that was in force goes away, since it may be what is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draft {
    Pool,
    Announcement,
    Peer,
    Profile,
}

/// What a text says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Document {
    pub(super) pools: Vec<Arc<IPAddressPool>>,
    pub(super) l2: Vec<Arc<L2Advertisement>>,
    pub(super) bgp: Vec<Arc<BGPAdvertisement>>,
    pub(super) peers: Vec<Arc<BGPPeer>>,
    pub(super) bfd: Vec<Arc<BFDProfile>>,
    pub(super) communities: Vec<Arc<Community>>,
    /// Objects that are known to be wrong, and why.
    pub(super) refused: BTreeMap<Id, Wrong>,
    /// For each object, fields of it and the places of the text that they come from.
    pub(super) origins: BTreeMap<Id, Vec<(String, String)>>,
    /// What is wrong and belongs to no object.
    pub(super) problems: Vec<Wrong>,
    /// Pools by the names written and those of their objects, where they differ.
    pub(super) renamed: BTreeMap<String, String>,
    /// Entries that belong to nobody.
    pub(super) orphans: BTreeMap<Draft, Wrong>,
}

/// Whatever kind of object an entry becomes.
pub(super) trait Made: Resource<DynamicType = ()> {
    /// The list that it is in.
    fn list(document: &mut Document) -> &mut Vec<Arc<Self>>;
}

macro_rules! made {
    ($($kind:ident $list:ident),*) => {$(
        impl Made for $kind {
            fn list(document: &mut Document) -> &mut Vec<Arc<Self>> {
                &mut document.$list
            }
        }
    )*};
}
made!(IPAddressPool pools, L2Advertisement l2, BGPAdvertisement bgp, BGPPeer peers, BFDProfile bfd, Community communities);

/// A document on its way.
pub(super) struct Reading<'a> {
    namespace: &'a str,
    document: Document,
    /// Entries so far; their order stands for their age.
    entries: i64,
    pub(super) problems: Vec<Wrong>,
    pub(super) pools: Names,
    pub(super) advertisements: Names,
    pub(super) peers: Names,
    pub(super) aliases: Names,
    profiles: Names,
    /// Names as written, and the names of their objects.
    profile_names: BTreeMap<String, String>,
    pub(super) pools_seen: BTreeMap<String, String>,
    pub(super) profiles_seen: BTreeMap<String, String>,
    pub(super) aliases_seen: BTreeMap<String, String>,
}

/// Reads a text into objects of a namespace.
///
/// # Errors
/// Nothing of it can be read.
pub(super) fn read(namespace: &str, text: &str, naming: Naming) -> Result<Document, Wrong> {
    let top = yaml::read(text).map_err(|why| Wrong::new("", format!("could not parse config: {why}")))?;
    if !matches!(top.as_ref(), yaml::Node::Map(_)) && !top.is_null() {
        let message =
            format!("could not parse config: {} stands here: write lines like `address-pools:`", top.kind());
        return Err(Wrong::new("", message));
    }
    let mut reading = Reading::new(namespace, naming);
    reading.top(&top);
    let mut document = reading.document;
    document.problems = reading.problems;
    Ok(document)
}

impl<'a> Reading<'a> {
    fn new(namespace: &'a str, naming: Naming) -> Self {
        let names = || Names::new(naming);
        Self {
            namespace,
            document: Document::default(),
            entries: 0,
            problems: Vec::new(),
            pools: names(),
            advertisements: names(),
            peers: names(),
            aliases: names(),
            profiles: names(),
            profile_names: BTreeMap::new(),
            pools_seen: BTreeMap::new(),
            profiles_seen: BTreeMap::new(),
            aliases_seen: BTreeMap::new(),
        }
    }

    fn top(&mut self, node: &yaml::Node) {
        let mut top = Fields::open("", node, TOP);
        self.lost(&mut top, &[Draft::Pool, Draft::Announcement, Draft::Peer, Draft::Profile]);
        pools::aliases(self, &mut top);
        self.lost(&mut top, &[]);
        let profiles = top.list("bfd-profiles");
        self.lost(&mut top, &[Draft::Profile]);
        for (at, node) in profiles {
            peers::profile(self, &at, node);
        }
        let routers = top.list("peers");
        self.lost(&mut top, &[Draft::Peer]);
        for (at, node) in &routers {
            peers::peer(self, at, node);
        }
        let pools = top.list("address-pools");
        self.lost(&mut top, &[Draft::Pool, Draft::Announcement]);
        for (at, node) in pools {
            pools::pool(self, &at, node, !routers.is_empty());
        }
    }

    /// A whole list cannot be read, or what may have been meant as one.
    fn lost(&mut self, top: &mut Fields<'_>, drafts: &[Draft]) {
        if let Some(wrong) = top.wrong.take() {
            for draft in drafts {
                self.document.orphans.entry(*draft).or_insert_with(|| wrong.clone());
            }
            self.problems.push(wrong);
        }
    }

    /// An entry is there that may be anybody's.
    pub(super) fn cannot_attribute(&mut self, draft: Draft, wrong: Option<Wrong>) {
        let Some(wrong) = wrong else { return };
        let also = (draft == Draft::Pool).then_some(Draft::Announcement);
        for draft in [draft].into_iter().chain(also) {
            self.document.orphans.entry(draft).or_insert_with(|| wrong.clone());
        }
        self.problems.push(wrong);
    }

    /// A pool's object has another name than the pool.
    pub(super) fn renamed(&mut self, written: &str, name: &str) {
        if written != name {
            self.document.renamed.insert(written.to_owned(), name.to_owned());
        }
    }

    /// The name of the object for a BFD profile of this name.
    pub(super) fn profile_name(&mut self, written: &str) -> String {
        if let Some(name) = self.profile_names.get(written) {
            return name.clone();
        }
        let name = self.profiles.give(written);
        self.profile_names.insert(written.to_owned(), name.clone());
        name
    }

    /// Adds the object that an entry became, or as much of it as can be read.
    pub(super) fn add<K: Made>(
        &mut self,
        mut object: K,
        origins: Vec<(String, String)>,
        wrong: Option<Wrong>,
    ) {
        let meta = object.meta_mut();
        meta.namespace = Some(self.namespace.to_owned());
        // Of two that are in each other's way the first counts.
        meta.creation_timestamp = Timestamp::from_second(self.entries).ok().map(Time);
        self.entries += 1;
        let id = (kind::<K>(), object.name_any());
        if let Some(wrong) = wrong {
            self.document.refused.insert(id.clone(), wrong);
        }
        self.document.origins.insert(id, origins);
        K::list(&mut self.document).push(Arc::new(object));
    }
}
