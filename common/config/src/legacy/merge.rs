//! How the ConfigMap's entries come into the one parser, and its answers back to the places
//! of the text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, IPAddressPool, L2Advertisement};
use clarion_core::PoolName;
use kube::ResourceExt;

use super::document::{Document, Draft, Id, Made};
use super::{KEY, Legacy, NAME};
use crate::check::Wrong;
use crate::model::{Config, ObjectRef, Outcome, Problem};
use crate::parse::{Objects, kind, parse_objects};
use crate::precedence::Role;

/// As [`parse`](crate::parse()), with a ConfigMap.
pub(crate) fn parse(objects: &Objects, legacy: &Legacy, previous: &Config, role: Role) -> Outcome {
    let nothing = Document::default();
    let document = legacy.document.as_deref().unwrap_or(&nothing);
    if !objects.configmap_counts() {
        // Objects win. What Services have of the ConfigMap's pools stays theirs, so that
        // objects can be applied one after the other and an old ConfigMap does no harm.
        let mut outcome = parse_objects(objects, &BTreeMap::new(), previous, role);
        shadow(&document.pools, &mut outcome.config);
        return outcome;
    }
    let mut merged = objects.clone();
    let mut ours = BTreeSet::new();
    let mut refused = document.refused.clone();
    add(&mut merged.pools, &document.pools, &mut ours);
    add(&mut merged.l2, &document.l2, &mut ours);
    add(&mut merged.bgp, &document.bgp, &mut ours);
    add(&mut merged.peers, &document.peers, &mut ours);
    add(&mut merged.bfd, &document.bfd, &mut ours);
    add(&mut merged.communities, &document.communities, &mut ours);
    keep(document, &mut merged, previous, &mut refused, &mut ours);
    refused.retain(|id, _| ours.contains(id));
    let mut outcome = parse_objects(&merged, &refused, previous, role);
    report(legacy, document, &merged.namespace, &ours, &mut outcome.problems);
    outcome
}

/// Adds the entries whose names no object has.
fn add<K: Made>(objects: &mut Vec<Arc<K>>, entries: &[Arc<K>], ours: &mut BTreeSet<Id>) {
    let taken: BTreeSet<String> = objects.iter().map(|object| object.name_any()).collect();
    for entry in entries.iter().filter(|entry| !taken.contains(&entry.name_any())) {
        ours.insert((kind::<K>(), entry.name_any()));
        objects.push(Arc::clone(entry));
    }
}

/// While an entry is there that may be anybody's, nothing that is in force goes away: each
/// thing that is missing stands for its last good version.
fn keep(
    document: &Document,
    merged: &mut Objects,
    previous: &Config,
    refused: &mut BTreeMap<Id, Wrong>,
    ours: &mut BTreeSet<Id>,
) {
    fn stand_ins<'a, K: Made>(
        names: impl Iterator<Item = &'a str>,
        make: impl Fn(&str) -> K,
        namespace: &str,
        objects: &mut Vec<Arc<K>>,
        wrong: &Wrong,
        refused: &mut BTreeMap<Id, Wrong>,
        ours: &mut BTreeSet<Id>,
    ) {
        let there: BTreeSet<String> = objects.iter().map(|object| object.name_any()).collect();
        for name in names.filter(|name| !there.contains(*name)) {
            let mut object = make(name);
            object.meta_mut().namespace = Some(namespace.to_owned());
            let id = (kind::<K>(), name.to_owned());
            refused.insert(id.clone(), wrong.clone());
            ours.insert(id);
            objects.push(Arc::new(object));
        }
    }
    let ns = merged.namespace.clone();
    for (draft, wrong) in &document.orphans {
        match draft {
            Draft::Pool => {
                let names = previous.pools.keys().map(PoolName::as_str);
                let make = |name: &str| IPAddressPool::new(name, clarion_api::IPAddressPoolSpec::default());
                stand_ins(names, make, &ns, &mut merged.pools, wrong, refused, ours);
            }
            Draft::Announcement => {
                let names = previous.l2.keys().map(String::as_str);
                let make =
                    |name: &str| L2Advertisement::new(name, clarion_api::L2AdvertisementSpec::default());
                stand_ins(names, make, &ns, &mut merged.l2, wrong, refused, ours);
                let names = previous.bgp.keys().map(String::as_str);
                let make =
                    |name: &str| BGPAdvertisement::new(name, clarion_api::BGPAdvertisementSpec::default());
                stand_ins(names, make, &ns, &mut merged.bgp, wrong, refused, ours);
            }
            Draft::Peer => {
                let names = previous.peers.keys().map(String::as_str);
                let make = |name: &str| BGPPeer::new(name, clarion_api::BGPPeerSpec::default());
                stand_ins(names, make, &ns, &mut merged.peers, wrong, refused, ours);
            }
            Draft::Profile => {
                let names = previous.bfd.keys().map(String::as_str);
                let make = |name: &str| BFDProfile::new(name, clarion_api::BFDProfileSpec::default());
                stand_ins(names, make, &ns, &mut merged.bfd, wrong, refused, ours);
            }
        }
    }
}

/// Sets the ConfigMap's pools aside beside those of objects.
fn shadow(pools: &[Arc<IPAddressPool>], config: &mut Config) {
    let readable = pools.iter().map(|pool| crate::pool::readable(pool).0);
    for mut pool in readable.filter(|pool| !pool.ranges.is_empty()) {
        if config.pools.get(&pool.name).is_some_and(|in_force| in_force.ranges == pool.ranges) {
            continue;
        }
        if config.set_aside.contains_key(&pool.name) {
            pool.name = PoolName::new(format!("{} (ConfigMap)", pool.name));
        }
        config.set_aside.insert(pool.name.clone(), pool);
    }
}

/// Says of each problem where in the ConfigMap it is, once.
fn report(
    legacy: &Legacy,
    document: &Document,
    namespace: &str,
    ours: &BTreeSet<Id>,
    problems: &mut Vec<Problem>,
) {
    let (theirs, found): (Vec<_>, Vec<_>) = std::mem::take(problems)
        .into_iter()
        .partition(|problem| ours.contains(&(problem.object.kind, problem.object.name.clone())));
    *problems = found;
    let mut places: BTreeMap<(String, String), bool> = BTreeMap::new();
    for problem in theirs {
        let id = (problem.object.kind, problem.object.name.clone());
        let said = match document.origins.get(&id) {
            // The reader of the text says places and keys as they are.
            Some(origins) if problem.field.starts_with("spec") => {
                (place(origins, &problem.field), in_words_of_the_text(&problem.message))
            }
            _ => (problem.field, problem.message),
        };
        *places.entry(said).or_default() |= problem.last_good_kept;
    }
    let known = legacy.document.is_some();
    for wrong in document.problems.iter() {
        places.entry((wrong.field.clone(), wrong.message.clone())).or_default();
    }
    if let Some(wrong) = &legacy.unreadable {
        *places.entry((wrong.field.clone(), wrong.message.clone())).or_default() |= known;
    }
    problems.extend(places.into_iter().map(|((place, message), last_good_kept)| Problem {
        object: reference(namespace),
        field: if place.is_empty() { KEY.to_owned() } else { format!("{KEY}: {place}") },
        message,
        last_good_kept,
    }));
    problems.sort();
}

pub(super) fn reference(namespace: &str) -> ObjectRef {
    ObjectRef { kind: "ConfigMap", namespace: namespace.to_owned(), name: NAME.to_owned() }
}

/// Where a field of an object is written.
fn place(origins: &[(String, String)], field: &str) -> String {
    let exact = origins.iter().find(|(name, _)| name == field);
    if let Some((_, place)) = exact {
        return place.clone();
    }
    let rest = field.strip_prefix("spec").filter(|rest| rest.is_empty() || rest.starts_with('.'));
    match (rest, origins.iter().find(|(name, _)| name == "spec")) {
        (Some(rest), Some((_, place))) => match key_of(rest) {
            rest if rest.is_empty() => place.clone(),
            rest => format!("{place}.{rest}"),
        },
        _ => field.to_owned(),
    }
}

/// `.myASN` to `my-asn`, `.nodeSelectors[0].matchExpressions[1]` likewise.
fn key_of(path: &str) -> String {
    let path = path.trim_start_matches('.');
    // One alias is one entry of its own.
    if path.starts_with("communities[0].") || path == "ipAddressPools" {
        return String::new();
    }
    in_words_of_the_text(path).replace("matchExpressions", "match-expressions")
}

/// Fields of objects by the keys that the text has for them.
fn in_words_of_the_text(message: &str) -> String {
    const WORDS: [(&str, &str); 17] = [
        (
            "missing peer ASN and dynamicASN: set peerASN, or dynamicASN to internal or external",
            "missing peer ASN: set peer-asn",
        ),
        ("; no Community object defines", "; bgp-communities does not define"),
        ("create the BFDProfile or remove bfdProfile", "add it to bfd-profiles or remove bfd-profile"),
        ("nodeSelectors", "node-selectors"),
        ("aggregationLengthV6", "aggregation-length-v6"),
        ("aggregationLength", "aggregation-length"),
        ("ebgpMultiHop", "ebgp-multihop"),
        ("keepaliveTime", "keepalive-time"),
        ("peerAddress", "peer-address"),
        ("sourceAddress", "source-address"),
        ("bfdProfile", "bfd-profile"),
        ("holdTime", "hold-time"),
        ("localPref", "localpref"),
        ("peerPort", "peer-port"),
        ("routerID", "router-id"),
        ("peerASN", "peer-asn"),
        ("myASN", "my-asn"),
    ];
    let mut text = message.to_owned();
    for (field, key) in WORDS {
        text = text.replace(field, key);
    }
    text
}
