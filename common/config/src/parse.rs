//! [`parse`]: the objects as the API server has them, to what they mean.
//!
//! In the order of what refers to what: pools, aliases and BFD profiles first, then
//! advertisements and peers, which are checked against them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clarion_api::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, Configured, IPAddressPool, L2Advertisement,
};
use clarion_core::PoolName;
use kube::{Resource, ResourceExt};

use crate::check::Wrong;
use crate::decode::unreadable;
use crate::legacy::Legacy;
use crate::model::{Aliases, BfdProfile, BgpAdvertisement, Config, ObjectRef, Outcome, Peer, Pool, Problem};
use crate::precedence::{Role, recall, word};
use crate::settle::{Candidate, Findings, Ledger, NoConflicts, settle};
use crate::{advertisement, bfd, community, peer, pool};

/// All configuration objects at one moment, from whatever namespace they were seen in.
/// Order does not matter. A front end for another notation produces the same objects.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// The configuration namespace. Objects elsewhere have no effect but a
    /// [`Problem`].
    pub namespace: String,
    /// IPAddressPools.
    pub pools: Vec<Arc<IPAddressPool>>,
    /// L2Advertisements.
    pub l2: Vec<Arc<L2Advertisement>>,
    /// BGPAdvertisements.
    pub bgp: Vec<Arc<BGPAdvertisement>>,
    /// BGPPeers, as v1beta2.
    pub peers: Vec<Arc<BGPPeer>>,
    /// BFDProfiles.
    pub bfd: Vec<Arc<BFDProfile>>,
    /// Communities.
    pub communities: Vec<Arc<Community>>,
    /// The ConfigMap of the first releases, if there is one.
    pub legacy: Option<Arc<Legacy>>,
}

/// Reads all objects, for the controller that leads: its word is what the others [`follow`]. An
/// object that is wrong is set aside alone, with a [`Problem`]; if `previous` holds it, that last
/// good version stays in force. `previous` is the `config` of the last outcome, or the default at
/// start: then the conditions that it wrote say what is in force (`precedence.rs`).
#[must_use]
pub fn parse(objects: &Objects, previous: &Config) -> Outcome {
    read(objects, previous, Role::Leads)
}

/// Reads all objects, for everybody but the controller that leads: like [`parse`], but of objects
/// that are in each other's way those are in force of which the conditions say so, whatever
/// `previous` holds.
#[must_use]
pub fn follow(objects: &Objects, previous: &Config) -> Outcome {
    read(objects, previous, Role::Follows)
}

fn read(objects: &Objects, previous: &Config, role: Role) -> Outcome {
    match &objects.legacy {
        Some(legacy) => crate::legacy::parse(objects, legacy, previous, role),
        None => parse_objects(objects, &Refused::new(), previous, role),
    }
}

/// Objects by kind and name of which is known already that they are wrong, and why.
pub(crate) type Refused = BTreeMap<(&'static str, String), Wrong>;

/// Reads the objects alone, whatever the ConfigMap says.
pub(crate) fn parse_objects(objects: &Objects, refused: &Refused, previous: &Config, role: Role) -> Outcome {
    let mut reader = Reader { namespace: &objects.namespace, refused, role, findings: Findings::default() };
    let pools = reader.pools(&objects.pools, previous);
    let (set_aside, unread) = set_aside(objects, &pools, refused);
    let communities = reader.communities(&objects.communities, previous);
    let mut bfd = reader.bfd(&objects.bfd, previous);
    let mut config = Config {
        set_aside,
        unread,
        l2: reader.l2(&objects.l2, previous),
        bgp: reader.bgp(&objects.bgp, previous, &pools, &communities),
        peers: reader.peers(&objects.peers, previous, &mut bfd),
        pools,
        communities,
        bfd,
    };
    keep_narrow(&mut config);
    let Findings { mut problems, in_part } = reader.findings;
    problems.sort();
    problems.dedup();
    Outcome { config, problems, in_part }
}

/// The pools as written that are not in force so, as far as they can be read, and the first of
/// those of which some addresses cannot be. This knows no history: a process that has just
/// started sets the same ones aside.
fn set_aside(
    objects: &Objects,
    in_force: &BTreeMap<PoolName, Pool>,
    refused: &Refused,
) -> (BTreeMap<PoolName, Pool>, Option<PoolName>) {
    let (mut all, mut unread) = (BTreeMap::new(), None);
    for object in objects.pools.iter().filter(|p| p.namespace().as_deref() == Some(&objects.namespace)) {
        let (written, whole) = pool::readable(object);
        if in_force.get(&written.name) == Some(&written) {
            continue;
        }
        let id = (kind::<IPAddressPool>(), object.name_any());
        let whole = whole && unreadable(object.as_ref()).is_none() && !refused.contains_key(&id);
        // Its last good version, if there is one, says what it holds.
        if !whole && !in_force.contains_key(&written.name) {
            unread = unread.into_iter().chain([written.name.clone()]).min();
        }
        all.insert(written.name.clone(), written);
    }
    all.retain(|name, pool| !pool.ranges.is_empty() || unread.as_ref() == Some(name));
    (all, unread)
}

/// Aggregates must not reach beyond the pools that are set aside either. Their own problem
/// comes first, so there is none for this.
fn keep_narrow(config: &mut Config) {
    for advertisement in config.bgp.values_mut() {
        let wide = advertisement::too_wide(advertisement, &config.set_aside);
        let wide = wide.into_iter().map(|(pool, _)| pool).filter(|pool| !config.pools.contains_key(pool));
        advertisement.pools.except.extend(wide);
    }
}

struct Reader<'a> {
    namespace: &'a str,
    refused: &'a Refused,
    role: Role,
    findings: Findings,
}

impl Reader<'_> {
    fn pools(&mut self, objects: &[Arc<IPAddressPool>], previous: &Config) -> BTreeMap<PoolName, Pool> {
        let before = |name: &str| previous.pools.get(&PoolName::new(name)).cloned();
        let ledger = pool::TakenRanges::default();
        let candidates = self.candidates(objects, pool::read, before, &ledger);
        let settled = settle(&candidates, &ledger, &mut self.findings);
        settled.into_values().map(|pool| (pool.name.clone(), pool)).collect()
    }

    fn communities(&mut self, objects: &[Arc<Community>], previous: &Config) -> BTreeMap<String, Aliases> {
        let before = |name: &str| previous.communities.get(name).cloned();
        let ledger = community::AliasNames::default();
        let candidates = self.candidates(objects, community::read, before, &ledger);
        settle(&candidates, &ledger, &mut self.findings)
    }

    fn bfd(&mut self, objects: &[Arc<BFDProfile>], previous: &Config) -> BTreeMap<String, BfdProfile> {
        let before = |name: &str| previous.bfd.get(name).cloned();
        let candidates = self.candidates(objects, bfd::read, before, &NoConflicts);
        settle(&candidates, &NoConflicts, &mut self.findings)
    }

    fn l2(
        &mut self,
        objects: &[Arc<L2Advertisement>],
        previous: &Config,
    ) -> BTreeMap<String, crate::model::L2Advertisement> {
        let before = |name: &str| previous.l2.get(name).cloned();
        let candidates = self.candidates(objects, advertisement::read_l2, before, &NoConflicts);
        settle(&candidates, &NoConflicts, &mut self.findings)
    }

    fn bgp(
        &mut self,
        objects: &[Arc<BGPAdvertisement>],
        previous: &Config,
        pools: &BTreeMap<PoolName, Pool>,
        communities: &BTreeMap<String, Aliases>,
    ) -> BTreeMap<String, BgpAdvertisement> {
        let aliases: Aliases = communities.values().flatten().map(|(k, v)| (k.clone(), *v)).collect();
        let before = |name: &str| {
            let mut advertisement = previous.bgp.get(name).cloned()?;
            advertisement.pools.except = BTreeSet::new();
            Some(advertisement)
        };
        let ledger = advertisement::LocalPreferences::new(pools);
        let read = |object: &BGPAdvertisement| advertisement::read_bgp(object, &aliases);
        let mut candidates = self.candidates(objects, read, before, &ledger);
        // An edit that made it too wide for a pool is the edit's fault: the version before stays.
        for candidate in candidates.iter_mut().filter(|c| c.previous.is_some()) {
            if let Ok(value) = &candidate.parsed
                && candidate.previous.as_ref() != Some(value)
                && let Some((_, wrong)) = advertisement::too_wide(value, pools).into_iter().next()
            {
                candidate.parsed = Err(wrong);
            }
        }
        let mut settled = settle(&candidates, &ledger, &mut self.findings);
        // Otherwise (a new pool, or a start) it applies to all pools but those it is too wide for.
        for candidate in &candidates {
            let Some(advertisement) = settled.get_mut(&candidate.object.name) else { continue };
            let wide = advertisement::too_wide(advertisement, pools);
            if !wide.is_empty() && candidate.parsed.as_ref() == Ok(&*advertisement) {
                self.findings.in_part.insert(candidate.object.clone());
            }
            for (pool, wrong) in wide {
                advertisement.pools.except.insert(pool);
                if candidate.parsed.is_ok() {
                    self.findings.problems.push(candidate.problem(wrong));
                }
            }
        }
        settled
    }

    fn peers(
        &mut self,
        objects: &[Arc<BGPPeer>],
        previous: &Config,
        bfd: &mut BTreeMap<String, BfdProfile>,
    ) -> BTreeMap<String, Peer> {
        let known = &*bfd;
        let read = |object: &BGPPeer| {
            let peer = peer::read(object)?;
            match &peer.bfd_profile {
                Some(profile) if !known.contains_key(profile) => Err(Wrong::new(
                    "spec.bfdProfile",
                    format!(
                        "peer {} referencing non existing bfd profile {profile}: create the BFDProfile or remove bfdProfile",
                        peer.name
                    ),
                )),
                _ => Ok(peer),
            }
        };
        let before = |name: &str| previous.peers.get(name).cloned();
        let ledger = peer::Sessions::default();
        let candidates = self.candidates(objects, read, before, &ledger);
        let settled = settle(&candidates, &ledger, &mut self.findings);
        // A profile that was deleted stays as long as a peer in force depends on it.
        for profile in settled.values().filter_map(|peer| peer.bfd_profile.as_ref()) {
            if let (None, Some(last)) = (bfd.get(profile), previous.bfd.get(profile)) {
                bfd.insert(profile.clone(), last.clone());
            }
        }
        settled
    }

    /// Every object of one kind with what it says and what of it was in force, oldest first.
    /// Objects of another namespace are told so and do not count.
    fn candidates<K, T>(
        &mut self,
        objects: &[Arc<K>],
        read: impl Fn(&K) -> Result<T, Wrong>,
        previous: impl Fn(&str) -> Option<T>,
        ledger: &impl Ledger<T>,
    ) -> Vec<Candidate<T>>
    where
        K: Configured,
        T: Clone + PartialEq,
    {
        let mut objects: Vec<&K> = objects.iter().map(Arc::as_ref).collect();
        objects.sort_by_cached_key(|o| (o.meta().creation_timestamp.as_ref().map(|t| t.0), o.name_any()));
        let mut candidates = Vec::with_capacity(objects.len());
        for object in objects {
            let reference = reference(object);
            if reference.namespace == self.namespace {
                let previous = previous(&reference.name);
                let refused = self.refused.get(&(reference.kind, reference.name.clone())).cloned();
                let parsed = unreadable(object).or(refused).map_or_else(|| read(object), Err);
                candidates.push(Candidate { object: reference, parsed, previous, word: word(object) });
            } else {
                let message =
                    format!("resource must be created in {} namespace: create it there", self.namespace);
                let wrong = Wrong::new("metadata.namespace", message);
                self.findings.problems.push(problem(&reference, wrong));
            }
        }
        recall(&mut candidates, ledger, self.role);
        candidates
    }
}

fn problem(object: &ObjectRef, wrong: Wrong) -> Problem {
    Problem { object: object.clone(), field: wrong.field, message: wrong.message, last_good_kept: false }
}

fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectRef {
    ObjectRef {
        kind: kind::<K>(),
        namespace: object.meta().namespace.clone().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// The kind as text that lives as long as the program.
pub(crate) fn kind<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "object",
    }
}
