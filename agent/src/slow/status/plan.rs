//! Which status objects this node should have, and the writes that lead there: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_core::{AnnounceReason, ServiceKey};

use crate::desired::Desired;
use crate::fast::{VipState, Vips};

/// The two kinds of status object that are per Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// ServiceL2Status.
    L2,
    /// ServiceBGPStatus.
    Bgp,
}

impl Kind {
    /// The kind's name in rules and in the log.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::L2 => "servicel2statuses",
            Self::Bgp => "servicebgpstatuses",
        }
    }

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

impl Write {
    /// Of which kind its object is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Create(kind, ..) | Self::Update(kind, ..) | Self::Delete(kind, _) => *kind,
        }
    }

    /// What it is about, for the log: the Service, or the name of an object that goes.
    pub(super) fn about(&self) -> String {
        match self {
            Self::Create(_, service, _) | Self::Update(_, _, service, _) => service.to_string(),
            Self::Delete(_, name) => name.clone(),
        }
    }
}

/// Assignments whose events are not written yet.
pub(super) type Unsaid = BTreeSet<(Kind, ServiceKey)>;

/// The assignment that this write makes known: an object is made, or one is filled
/// whose making was interrupted before anything was told.
pub(super) fn assignment(write: &Write, objects: &Objects) -> Option<(Kind, ServiceKey)> {
    match write {
        Write::Create(kind, service, _) => Some((*kind, service.clone())),
        Write::Update(kind, name, service, _) => objects
            .get(&(*kind, name.clone()))
            .is_some_and(|existing| existing.names.is_none())
            .then(|| (*kind, service.clone())),
        Write::Delete(..) => None,
    }
}

/// The assignments of which it is time to tell: their objects are complete. Those
/// that are over before they were told of are forgotten.
pub(super) fn due(unsaid: &mut Unsaid, objects: &Objects, wanted: &Wanted) -> Unsaid {
    unsaid.retain(|key| wanted.contains_key(key));
    if unsaid.is_empty() {
        return Unsaid::new();
    }
    let complete = objects.iter().filter(|(_, existing)| existing.names.is_some());
    complete
        .map(|((kind, _), existing)| (*kind, existing.service.clone()))
        .filter(|key| unsaid.contains(key))
        .collect()
}

/// The Services whose layer 2 address another node may have spoken of before: those that
/// were there when this agent began, and those seen elsewhere since. One that was made
/// later and came here first has no former owner.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    began: bool,
    services: BTreeSet<ServiceKey>,
}

impl Elsewhere {
    /// Takes note of who is where now.
    pub(super) fn note(&mut self, desired: &Desired, vips: &Vips) {
        let first = !std::mem::replace(&mut self.began, true);
        self.services.retain(|service| desired.services.contains_key(service));
        for (address, vip) in &desired.l2 {
            if first || vips.get(address).is_some_and(|vip| vip.state == VipState::OwnedElsewhere) {
                for service in &vip.services {
                    if !self.services.contains(service) {
                        self.services.insert(service.clone());
                    }
                }
            }
        }
    }

    /// Whether what others said of a Service has to be looked for.
    pub(super) fn may_have(&self, service: &ServiceKey) -> bool {
        self.services.contains(service)
    }

    /// What others said has been removed.
    pub(super) fn cleared(&mut self, service: &ServiceKey) {
        self.services.remove(service);
    }
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    /// Part of what makes two events one: kube's recorder counts up the first of
    /// those that agree in everything *but the note*. So it is another action for
    /// everything that is to be told apart by its note.
    pub(super) action: String,
    pub(super) note: String,
}

impl Saying {
    /// This node announces a Service from now on.
    pub(super) fn node_assigned(node: &str, kind: Kind) -> Self {
        let protocol = kind.protocol();
        Self {
            warning: false,
            reason: "nodeAssigned",
            action: format!("Announce:{protocol}"),
            note: format!("announcing from node {node:?} with protocol {protocol:?}"),
        }
    }

    /// An address is dark for want of an interface.
    pub(super) fn announce_failed(node: &str, address: IpAddr) -> Self {
        Self {
            warning: true,
            reason: "announceFailed",
            action: format!("Announce:layer2:{address}"),
            note: format!(
                "the interfaces specified by LB IP \"{address}\" doesn't exist in assigned node {node:?} with protocol \"layer2\""
            ),
        }
    }
}

/// What this node should say.
pub(super) fn wanted(desired: &Desired, vips: &Vips) -> Wanted {
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

    /// What kube's recorder takes for the same event.
    fn key(saying: &Saying) -> (bool, &'static str, String) {
        (saying.warning, saying.reason, saying.action.clone())
    }

    #[test]
    fn events_that_say_different_things_are_different_events() {
        let addresses = ["198.51.100.1", "198.51.100.2", "2001:db8::1"];
        let mut all: Vec<_> = [Kind::L2, Kind::Bgp].map(|kind| Saying::node_assigned("n", kind)).into();
        all.extend(addresses.map(|a| Saying::announce_failed("n", a.parse().unwrap())));
        let keys: BTreeSet<_> = all.iter().map(key).collect();
        assert_eq!(keys.len(), all.len(), "{all:#?}");
        assert_eq!(all[0].note, r#"announcing from node "n" with protocol "layer2""#);
        assert_eq!(all[1].note, r#"announcing from node "n" with protocol "bgp""#);
    }

    #[test]
    fn each_protocol_that_a_service_gains_is_told_once_and_only_when_its_object_is_complete() {
        let web: ServiceKey = "web".parse().unwrap();
        let (l2, bgp) = ((Kind::L2, web.clone()), (Kind::Bgp, web.clone()));
        let wanted = Wanted::from([(l2.clone(), names(&[])), (bgp.clone(), names(&["r1"]))]);
        let mut objects = Objects::new();
        let mut unsaid: Unsaid =
            writes(&objects, &wanted).iter().filter_map(|w| assignment(w, &objects)).collect();
        assert_eq!(unsaid, [l2.clone(), bgp.clone()].into());
        // The layer 2 object was made, and filling it failed.
        objects.insert((Kind::L2, "l2-a".into()), existing("web", None));
        objects.insert((Kind::Bgp, "bgp-a".into()), existing("web", Some(&["r1"])));
        assert_eq!(due(&mut unsaid, &objects, &wanted), [bgp.clone()].into());
        unsaid.remove(&bgp);
        // Also an agent that begins here learns that there is something to tell.
        let next = writes(&objects, &wanted);
        assert_eq!(
            next.iter().filter_map(|w| assignment(w, &objects)).collect::<Vec<_>>(),
            std::slice::from_ref(&l2)
        );
        objects.insert((Kind::L2, "l2-a".into()), existing("web", Some(&[])));
        assert_eq!(due(&mut unsaid, &objects, &wanted), [l2].into());
        // An update of what is complete is nothing new.
        let changed = Wanted::from([(bgp, names(&["r2"]))]);
        let update = writes(&objects, &changed);
        assert!(matches!(update[0], Write::Update(..)));
        assert!(update.iter().all(|w| assignment(w, &objects).is_none()));
        assert_eq!(due(&mut unsaid, &objects, &changed), Unsaid::new());
        assert!(unsaid.is_empty(), "what is over is not told");
    }

    /// One address for each Service, owned as said.
    fn owned(services: &[(&str, VipState)]) -> (Desired, Vips) {
        let (mut desired, mut vips) = (Desired::default(), Vips::new());
        for (n, (service, state)) in services.iter().enumerate() {
            let address = IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()]);
            let key: ServiceKey = service.parse().unwrap();
            let verdict = crate::desired::Verdict {
                uid: String::new(),
                addresses: vec![address],
                l2: AnnounceReason::NotOwner,
                bgp: AnnounceReason::NotOwner,
                peers: BTreeSet::new(),
            };
            desired.services.insert(key.clone(), verdict);
            let interfaces = crate::desired::Interfaces::All;
            desired.l2.insert(
                address,
                crate::desired::Vip { ownable: true, barred: false, interfaces, services: [key].into() },
            );
            let status = crate::fast::VipStatus {
                state: *state,
                owner: None,
                reason: crate::fast::OwnerReason::Unclaimed,
                list: vec![],
                interfaces: BTreeSet::new(),
                by_name: false,
                held_by: None,
            };
            vips.insert(address, std::sync::Arc::new(status));
        }
        (desired, vips)
    }

    #[test]
    fn only_of_what_was_elsewhere_or_before_this_agent_others_may_have_spoken() {
        use VipState::{Announced, OwnedElsewhere};
        let mut elsewhere = Elsewhere::default();
        let note = |elsewhere: &mut Elsewhere, services: &[(&str, VipState)]| {
            let (desired, vips) = owned(services);
            elsewhere.note(&desired, &vips);
        };
        note(&mut elsewhere, &[("old", Announced)]);
        note(&mut elsewhere, &[("old", Announced), ("mine", Announced), ("theirs", OwnedElsewhere)]);
        note(&mut elsewhere, &[("old", Announced), ("mine", Announced), ("theirs", Announced)]);
        let may_have = |elsewhere: &Elsewhere| {
            ["old", "mine", "theirs"].map(|service| elsewhere.may_have(&service.parse().unwrap()))
        };
        assert_eq!(may_have(&elsewhere), [true, false, true]);
        elsewhere.cleared(&"theirs".parse().unwrap());
        note(&mut elsewhere, &[("mine", Announced), ("theirs", Announced)]);
        assert_eq!(may_have(&elsewhere), [false, false, false], "gone and cleared");
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
