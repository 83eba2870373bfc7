//! IPAddressPool to [`Pool`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use clarion_api::IPAddressPool;
use clarion_core::{AddressRange, Family, PoolName, RangeError};
use kube::ResourceExt;

use crate::check::{Wrong, number, selectors};
use crate::model::{Pool, ServiceAllocation};
use crate::remark;
use crate::settle::Ledger;

pub(crate) fn read(object: &IPAddressPool) -> Result<Pool, Wrong> {
    let name = object.name_any();
    let ranges = ranges(&name, &object.spec.addresses)?;
    let mut exclude = exclude(&name, &object.spec.exclude_addresses)?;
    exclude.extend(remark::unusable_in(&ranges));
    let allocation = object.spec.service_allocation.as_ref().map(allocation).transpose()?;
    Ok(Pool {
        name: PoolName::new(&name),
        labels: object.labels().clone(),
        ranges,
        exclude,
        auto_assign: object.spec.auto_assign,
        avoid_buggy_ips: object.spec.avoid_buggy_ips,
        allocation,
    })
}

/// What can be read of an object, whatever is wrong with the rest of it: `read`'s answer or,
/// without any restriction that cannot be understood, the ranges that are good by themselves;
/// and whether these are all that it has.
pub(crate) fn readable(object: &IPAddressPool) -> (Pool, bool) {
    let name = object.name_any();
    if let Ok(pool) = read(object) {
        return (pool, true);
    }
    let entries = &object.spec.addresses;
    let ranges: Vec<_> = entries.iter().filter_map(|entry| range("", &name, entry).ok()).collect();
    let whole = ranges.len() == entries.len();
    let mut exclude = exclude(&name, &object.spec.exclude_addresses).unwrap_or_default();
    exclude.extend(remark::unusable_in(&ranges));
    let pool = Pool {
        ranges,
        exclude,
        name: PoolName::new(&name),
        labels: object.labels().clone(),
        auto_assign: object.spec.auto_assign,
        avoid_buggy_ips: object.spec.avoid_buggy_ips,
        allocation: None,
    };
    (pool, whole)
}

/// Every entry, none overlapping another of the same pool.
fn ranges(pool: &str, entries: &[String]) -> Result<Vec<AddressRange>, Wrong> {
    if entries.is_empty() {
        let message = "pool has no prefixes defined: write at least one prefix or range";
        return Err(Wrong::new("spec.addresses", message));
    }
    let mut taken = TakenRanges::default();
    let mut ranges = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let field = format!("spec.addresses[{i}]");
        let range = range(&field, pool, entry)?;
        if let Some(message) = taken.overlap(pool, range) {
            return Err(Wrong::new(field, message));
        }
        taken.take(pool, range);
        ranges.push(range);
    }
    Ok(ranges)
}

/// One entry.
fn range(field: &str, pool: &str, entry: &str) -> Result<AddressRange, Wrong> {
    let range: AddressRange = entry.parse().map_err(|e| Wrong::new(field, e))?;
    not_mapped(field, pool, entry, range)
}

/// Every entry of `excludeAddresses`. What is excluded twice or lies elsewhere does no harm, so
/// nothing is compared.
fn exclude(pool: &str, entries: &[String]) -> Result<Vec<AddressRange>, Wrong> {
    let read = |(i, entry): (usize, &String)| {
        let field = format!("spec.excludeAddresses[{i}]");
        let range = match entry.trim().parse::<IpAddr>() {
            Ok(address) => AddressRange::new(address, address),
            Err(_) => entry.parse(),
        };
        let range = range.map_err(|error| match error {
            RangeError::Garbage(text) => Wrong::new(
                &*field,
                format!("invalid address {text:?}: write an address (192.0.2.1), a prefix (192.0.2.0/30) or a range (192.0.2.10-192.0.2.20)"),
            ),
            other => Wrong::new(&*field, other),
        })?;
        not_mapped(&field, pool, entry, range)
    };
    entries.iter().enumerate().map(read).collect()
}

/// Refuses IPv4 addresses dressed up as IPv6, which nobody on the wire would ask for.
fn not_mapped(field: &str, pool: &str, entry: &str, range: AddressRange) -> Result<AddressRange, Wrong> {
    let is_mapped = |address| matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if is_mapped(range.first()) || is_mapped(range.last()) {
        let message = format!("invalid CIDR {entry:?} in pool {pool:?}: write IPv4 addresses as such");
        return Err(Wrong::new(field, message));
    }
    Ok(range)
}

fn allocation(spec: &clarion_api::ServiceAllocation) -> Result<ServiceAllocation, Wrong> {
    let at = |field: &str| format!("spec.serviceAllocation.{field}");
    let priority = number(&at("priority"), spec.priority.unwrap_or(0), 0, u32::MAX)?;
    let mut namespaces = std::collections::BTreeSet::new();
    for (i, namespace) in spec.namespaces.iter().enumerate() {
        if !namespaces.insert(namespace.clone()) {
            let message = format!("duplicate definition in namespaces field: remove one {namespace:?}");
            return Err(Wrong::new(at(&format!("namespaces[{i}]")), message));
        }
    }
    Ok(ServiceAllocation {
        priority,
        namespaces,
        namespace_selectors: selectors(&at("namespaceSelectors"), &spec.namespace_selectors)?,
        service_selectors: selectors(&at("serviceSelectors"), &spec.service_selectors)?,
    })
}

/// The ranges of all accepted pools by first address. They never overlap, so the one that
/// starts last before a range's end is the only one that can overlap it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TakenRanges {
    by_first: BTreeMap<IpAddr, (AddressRange, String)>,
}

impl TakenRanges {
    fn overlap(&self, pool: &str, range: AddressRange) -> Option<String> {
        let (_, (other, owner)) = self.by_first.range(..=range.last()).next_back()?;
        other.overlaps(&range).then(|| {
            let of = if owner == pool { "of the same pool".to_owned() } else { format!("of pool {owner:?}") };
            format!(
                "CIDR {:?} in pool {pool:?} overlaps with already defined CIDR {:?} {of}: remove the addresses from one of them",
                range.to_string(),
                other.to_string()
            )
        })
    }

    fn take(&mut self, pool: &str, range: AddressRange) {
        self.by_first.insert(range.first(), (range, pool.to_owned()));
    }
}

impl Ledger<Pool> for TakenRanges {
    fn conflict(&self, name: &str, pool: &Pool) -> Option<Wrong> {
        pool.ranges.iter().enumerate().find_map(|(i, range)| {
            Some(Wrong::new(format!("spec.addresses[{i}]"), self.overlap(name, *range)?))
        })
    }

    fn enter(&mut self, name: &str, pool: &Pool) {
        for range in &pool.ranges {
            self.take(name, *range);
        }
    }
}

/// The prefix length below which aggregation would announce addresses that no entry of the
/// pool holds: per entry the shortest of its prefixes (contract §1.3), and of those the
/// longest, with its entry.
pub(crate) fn longest_entry(pool: &Pool, family: Family) -> Option<(u8, AddressRange)> {
    pool.ranges
        .iter()
        .filter(|r| r.family() == family)
        .filter_map(|r| Some((r.prefixes().iter().map(ipnet::IpNet::prefix_len).min()?, *r)))
        .max_by_key(|(length, _)| *length)
}
