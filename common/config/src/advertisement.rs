//! L2Advertisement and BGPAdvertisement to what they mean, and how the latter get along
//! with the pools and with each other.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api as api;
use clarion_core::{Community, Family, LabelSelector, PoolName};
use kube::ResourceExt;

use crate::check::{Wrong, number, selector, selectors, unique};
use crate::model::{Aliases, BgpAdvertisement, L2Advertisement, Pool, PoolSelection};
use crate::pool::longest_entry;
use crate::settle::Ledger;

pub(crate) fn read_l2(object: &api::L2Advertisement) -> Result<L2Advertisement, Wrong> {
    let spec = &object.spec;
    let preferred_nodes = spec
        .preferred_node_selectors
        .iter()
        .enumerate()
        .map(|(i, preferred)| {
            let at = |field: &str| format!("spec.preferredNodeSelectors[{i}].{field}");
            let weight = number(&at("weight"), preferred.weight, 1_u8, 100)?;
            Ok((weight, selector(&at("preference"), &preferred.preference)?))
        })
        .collect::<Result<_, _>>()?;
    Ok(L2Advertisement {
        name: object.name_any(),
        pools: pools(&spec.ip_address_pools, &spec.ip_address_pool_selectors)?,
        node_selectors: selectors("spec.nodeSelectors", &spec.node_selectors)?,
        interfaces: spec.interfaces.iter().cloned().collect(),
        service_selectors: selectors("spec.serviceSelectors", &spec.service_selectors)?,
        preferred_nodes,
    })
}

fn pools(
    names: &[String],
    by_label: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector],
) -> Result<PoolSelection, Wrong> {
    let names = unique("spec.ipAddressPools", "ipAddressPools", names)?;
    Ok(PoolSelection {
        names: names.into_iter().map(PoolName::new).collect(),
        selectors: selectors("spec.ipAddressPoolSelectors", by_label)?,
        except: BTreeSet::new(),
    })
}

/// MetalLB's words; the CRD's rule uses them too.
const EXCLUSIVE: &str = "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with default aggregationLength (32) and aggregationLengthV6 (128)";

pub(crate) fn read_bgp(object: &api::BGPAdvertisement, aliases: &Aliases) -> Result<BgpAdvertisement, Wrong> {
    let spec = &object.spec;
    let aggregation_v4 = number("spec.aggregationLength", spec.aggregation_length, 1_u8, 32)?;
    let aggregation_v6 = number("spec.aggregationLengthV6", spec.aggregation_length_v6, 1_u8, 128)?;
    if !spec.service_selectors.is_empty() && (aggregation_v4, aggregation_v6) != (32, 128) {
        let field = if aggregation_v4 == 32 { "spec.aggregationLengthV6" } else { "spec.aggregationLength" };
        return Err(Wrong::new(field, EXCLUSIVE));
    }
    Ok(BgpAdvertisement {
        name: object.name_any(),
        pools: pools(&spec.ip_address_pools, &spec.ip_address_pool_selectors)?,
        node_selectors: selectors("spec.nodeSelectors", &spec.node_selectors)?,
        service_selectors: selectors("spec.serviceSelectors", &spec.service_selectors)?,
        peers: unique("spec.peers", "peers", &spec.peers)?,
        aggregation_v4,
        aggregation_v6,
        local_pref: number("spec.localPref", spec.local_pref.unwrap_or(0), 0, u32::MAX)?,
        communities: communities(&spec.communities, aliases)?,
    })
}

fn communities(entries: &[String], aliases: &Aliases) -> Result<BTreeSet<Community>, Wrong> {
    unique("spec.communities", "community", entries)?;
    let resolve = |(i, entry): (usize, &String)| {
        let known = aliases.get(entry).copied();
        known.map_or_else(
            || {
                entry.parse().map_err(|error| {
                    let message = if entry.contains(':') {
                        format!("{error}")
                    } else {
                        format!("{error}; no Community object defines {entry:?}")
                    };
                    Wrong::new(format!("spec.communities[{i}]"), message)
                })
            },
            Ok,
        )
    };
    entries.iter().enumerate().map(resolve).collect()
}

/// The pools to which an advertisement cannot be applied, since it would announce addresses
/// that the pool does not hold (contract §1.3), and why.
pub(crate) fn too_wide(
    advertisement: &BgpAdvertisement,
    pools: &BTreeMap<PoolName, Pool>,
) -> Vec<(PoolName, Wrong)> {
    let selected = pools.values().filter(|pool| advertisement.pools.matches(pool));
    selected.filter_map(|pool| Some((pool.name.clone(), too_wide_for(advertisement, pool)?))).collect()
}

fn too_wide_for(advertisement: &BgpAdvertisement, pool: &Pool) -> Option<Wrong> {
    let families = [
        (Family::V4, "aggregationLength", advertisement.aggregation_v4),
        (Family::V6, "aggregationLengthV6", advertisement.aggregation_v6),
    ];
    families.into_iter().find_map(|(family, field, length)| {
        let (needed, entry) = longest_entry(pool, family).filter(|(needed, _)| length < *needed)?;
        let message = format!(
            "invalid aggregation length {length}: prefix {needed} in this pool is more specific than the aggregation length for addresses {entry} of pool {}: set {field} to {needed} or more, or do not select the pool",
            pool.name
        );
        Some(Wrong::new(format!("spec.{field}"), message))
    })
}

/// Routes that are surely announced by two advertisements: same pool, length and nodes.
type RouteClass = (PoolName, Family, u8, Vec<LabelSelector>);

/// Local preferences given so far. Two advertisements of one route need the same one, else
/// it would depend on chance (contract §1.3). Node selectors count as overlapping here when
/// they are equal; whether others overlap depends on the nodes and is decided when announcing.
/// So is everything with serviceSelectors.
#[derive(Debug, Clone)]
pub(crate) struct LocalPreferences<'a> {
    pools: &'a BTreeMap<PoolName, Pool>,
    /// Local preference, peers, and the advertisement's name.
    given: BTreeMap<RouteClass, BTreeSet<(u32, BTreeSet<String>, String)>>,
}

impl<'a> LocalPreferences<'a> {
    pub(crate) fn new(pools: &'a BTreeMap<PoolName, Pool>) -> Self {
        Self { pools, given: BTreeMap::new() }
    }

    fn classes(&self, advertisement: &BgpAdvertisement) -> Vec<RouteClass> {
        if !advertisement.service_selectors.is_empty() {
            return Vec::new();
        }
        let mut nodes = advertisement.node_selectors.clone();
        nodes.sort();
        let lengths =
            [(Family::V4, advertisement.aggregation_v4), (Family::V6, advertisement.aggregation_v6)];
        let selected = self.pools.values().filter(|pool| advertisement.pools.matches(pool));
        selected
            .flat_map(|pool| {
                let families = lengths.into_iter().filter(|(family, _)| pool.has_family(*family));
                families.map(|(family, length)| (pool.name.clone(), family, length, nodes.clone()))
            })
            .collect()
    }
}

impl Ledger<BgpAdvertisement> for LocalPreferences<'_> {
    fn conflict(&self, _: &str, advertisement: &BgpAdvertisement) -> Option<Wrong> {
        let ours = advertisement.local_pref;
        let same_peers = |peers: &BTreeSet<String>| {
            peers.is_empty() || advertisement.peers.is_empty() || !peers.is_disjoint(&advertisement.peers)
        };
        self.classes(advertisement).into_iter().find_map(|class| {
            let given = self.given.get(&class)?;
            let (theirs, _, owner) = given.iter().find(|(p, peers, _)| *p != ours && same_peers(peers))?;
            let message = format!(
                "invalid local preference {ours}: local preference {theirs} was already set for the same type of BGP update by BGPAdvertisement {owner:?} (pool {}, prefix length {}): give both the same localPref, or different peers or nodes",
                class.0, class.2
            );
            Some(Wrong::new("spec.localPref", message))
        })
    }

    fn enter(&mut self, name: &str, advertisement: &BgpAdvertisement) {
        for class in self.classes(advertisement) {
            let given = (advertisement.local_pref, advertisement.peers.clone(), name.to_owned());
            self.given.entry(class).or_default().insert(given);
        }
    }
}
