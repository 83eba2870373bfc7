//! Which status objects this node should have, and the writes that lead there: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_core::{AnnounceReason, ServiceKey};

use crate::desired::Desired;
use crate::fast::{VipState, VipStatus};

/// The two kinds of status object that are per Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// ServiceL2Status.
    L2,
    /// ServiceBGPStatus.
    Bgp,
}

impl Kind {
    /// The protocol's word in events and metrics.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::L2 => "layer2",
            Self::Bgp => "bgp",
        }
    }
}

/// What an object says beyond node and Service: interface names (empty = all) or
/// peer names.
pub(super) type Names = BTreeSet<String>;

/// What should be said.
pub(super) type Wanted = BTreeMap<(Kind, ServiceKey), Names>;

/// An object of this node as it is; `None` if its status is missing or not ours to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) service: ServiceKey,
    pub(super) names: Option<Names>,
}

/// The objects of this node by kind and name.
pub(super) type Objects = BTreeMap<(Kind, String), Existing>;

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Write {
    /// Make an object and fill it; announce it by an event.
    Create(Kind, ServiceKey, Names),
    /// Fill the object of this name.
    Update(Kind, String, ServiceKey, Names),
    /// Delete the object of this name.
    Delete(Kind, String),
}

/// What this node should say.
pub(super) fn wanted(desired: &Desired, vips: &BTreeMap<IpAddr, VipStatus>) -> Wanted {
    let mut wanted = Wanted::new();
    for (key, verdict) in &desired.services {
        // Of an address that a broken advertisement took from this Service, another
        // Service's state says nothing about this one.
        let announced: Vec<_> = verdict
            .addresses
            .iter()
            .filter(|a| desired.l2.get(a).is_some_and(|vip| vip.services.contains(key)))
            .filter_map(|a| vips.get(a))
            .filter(|vip| vip.state == VipState::Announced)
            .collect();
        if !announced.is_empty() {
            let named = announced.iter().filter(|vip| vip.by_name).flat_map(|vip| vip.interfaces.clone());
            wanted.insert((Kind::L2, key.clone()), named.collect());
        }
        if verdict.bgp == AnnounceReason::Announced && !verdict.peers.is_empty() {
            wanted.insert((Kind::Bgp, key.clone()), verdict.peers.clone());
        }
    }
    wanted
}

/// The writes from what is to what should be. Deletions last: a Service that moved
/// should rather be named twice for a moment than not at all.
pub(super) fn writes(objects: &Objects, wanted: &Wanted) -> Vec<Write> {
    let mut kept: BTreeSet<(Kind, &ServiceKey)> = BTreeSet::new();
    let (mut writes, mut deletes) = (Vec::new(), Vec::new());
    for ((kind, name), existing) in objects {
        match wanted.get(&(*kind, existing.service.clone())) {
            Some(names) if kept.insert((*kind, &existing.service)) => {
                if existing.names.as_ref() != Some(names) {
                    let service = existing.service.clone();
                    writes.push(Write::Update(*kind, name.clone(), service, names.clone()));
                }
            }
            // Not wanted, or a second one of the same Service.
            _ => deletes.push(Write::Delete(*kind, name.clone())),
        }
    }
    let missing = wanted.iter().filter(|((kind, service), _)| !kept.contains(&(*kind, service)));
    writes
        .extend(missing.map(|((kind, service), names)| Write::Create(*kind, service.clone(), names.clone())));
    writes.extend(deletes);
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    fn existing(service: &str, list: Option<&[&str]>) -> Existing {
        Existing { service: service.parse().unwrap(), names: list.map(names) }
    }

    #[test]
    fn writes_lead_to_exactly_what_is_wanted() {
        let objects = Objects::from([
            ((Kind::L2, "l2-a".into()), existing("kept", Some(&["eth0"]))),
            ((Kind::L2, "l2-b".into()), existing("changed", Some(&[]))),
            ((Kind::L2, "l2-c".into()), existing("half-made", None)),
            ((Kind::L2, "l2-d".into()), existing("kept", Some(&["eth0"]))),
            ((Kind::Bgp, "bgp-a".into()), existing("kept", Some(&["r1"]))),
        ]);
        let wanted = Wanted::from([
            ((Kind::L2, "kept".parse().unwrap()), names(&["eth0"])),
            ((Kind::L2, "changed".parse().unwrap()), names(&["eth1"])),
            ((Kind::L2, "half-made".parse().unwrap()), names(&[])),
            ((Kind::Bgp, "new".parse().unwrap()), names(&["r1", "r2"])),
        ]);
        assert_eq!(
            writes(&objects, &wanted),
            [
                Write::Update(Kind::L2, "l2-b".into(), "changed".parse().unwrap(), names(&["eth1"])),
                Write::Update(Kind::L2, "l2-c".into(), "half-made".parse().unwrap(), names(&[])),
                Write::Create(Kind::Bgp, "new".parse().unwrap(), names(&["r1", "r2"])),
                Write::Delete(Kind::L2, "l2-d".into()),
                Write::Delete(Kind::Bgp, "bgp-a".into()),
            ]
        );
    }
}
