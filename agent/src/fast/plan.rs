//! From "who may and who does own" to "what this host holds": pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use clarion_core::NodeName;
use clarion_dataplane::{AddressKey, Entry};
use clarion_l2::frames::solicited_node_group;
use clarion_l2::ownership::{Decision, Decisions, OwnerReason};
use clarion_netlink::{Exclusion, Interface, Mac, Snapshot};

use crate::desired::{Desired, Vip};

/// What this node does about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VipState {
    /// It owns and answers it.
    Announced,
    /// It owns it and has none of the interfaces the advertisements name.
    NoInterface,
    /// A living node owns it; requests are dropped here.
    OwnedElsewhere,
    /// Nobody owns it; frames pass.
    Unowned,
}

impl VipState {
    /// The word for `/state`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::NoInterface => "noInterface",
            Self::OwnedElsewhere => "ownedElsewhere",
            Self::Unowned => "unowned",
        }
    }
}

/// The state of one address, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VipStatus {
    pub(crate) state: VipState,
    pub(crate) owner: Option<NodeName>,
    pub(crate) reason: OwnerReason,
    /// Names of the interfaces it is answered on.
    pub(crate) interfaces: BTreeSet<String>,
    /// Whether the advertisements name interfaces, which status objects then list.
    pub(crate) by_name: bool,
    /// Interface of this host that holds the address itself: a conflict.
    pub(crate) held_by: Option<String>,
}

/// Everything this host should hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    pub(crate) dataplane: clarion_dataplane::Desired,
    /// Solicited-node groups by interface.
    pub(crate) groups: BTreeSet<(u32, Ipv6Addr)>,
    /// What is announced by gratuitous frames: interface and address, with the MAC
    /// and the source of advertisements.
    pub(crate) announcements: BTreeMap<(u32, IpAddr), Announcement>,
    pub(crate) vips: BTreeMap<IpAddr, VipStatus>,
}

/// How an address is announced on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) mac: Mac,
    /// Source of neighbour advertisements.
    pub(crate) source: Option<Ipv6Addr>,
}

/// The host as layer 2 sees it.
pub(crate) struct Host<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) interfaces: &'a [Interface],
    pub(crate) exclusion: &'a Exclusion,
}

impl Host<'_> {
    /// The interface that holds the address in its own right. Excluded ones (`lo`,
    /// `kube-ipvs0`) do not count: kube-proxy puts Service addresses there, and
    /// answering for those is what must be prevented.
    fn holder(&self, address: IpAddr) -> Option<String> {
        self.snapshot
            .holders(address)
            .find(|link| !self.exclusion.excludes(&link.name))
            .map(|link| link.name.clone())
    }
}

/// What this host should hold, by what is desired, who owns what, and what it is.
pub(crate) fn wanted(me: &NodeName, desired: &Desired, decisions: &Decisions, host: &Host<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.dataplane.interfaces = host.interfaces.iter().map(|i| i.index).collect();
    for (address, vip) in &desired.l2 {
        if let Some(decision) = decisions.get(address) {
            let status = add(&mut wanted, me, *address, vip, decision, host);
            wanted.vips.insert(*address, status);
        }
    }
    wanted
}

/// Goes on answering what the kernel answers already where the owner is a node
/// that was not heard yet: it may be what a dead one left behind, and an agent's
/// restart must not make an address dark. Returns whether anything was kept.
pub(crate) fn keep_adopted(
    wanted: &mut Wanted,
    observed: &BTreeMap<AddressKey, Entry>,
    heard: impl Fn(&NodeName) -> bool,
) -> bool {
    let mut kept = false;
    for (key, entry) in &mut wanted.dataplane.addresses {
        let owner = wanted.vips.get(&key.address).and_then(|vip| vip.owner.as_ref());
        let answered = observed.get(key).filter(|e| matches!(e, Entry::Answer { .. }));
        if let (Entry::Silence, Some(adopted), Some(owner)) = (&*entry, answered, owner)
            && !heard(owner)
        {
            *entry = *adopted;
            kept = true;
            if let IpAddr::V6(v6) = key.address {
                wanted.groups.insert((key.ifindex, solicited_node_group(v6)));
            }
        }
    }
    kept
}

fn add(
    wanted: &mut Wanted,
    me: &NodeName,
    address: IpAddr,
    vip: &Vip,
    decision: &Decision,
    host: &Host<'_>,
) -> VipStatus {
    let mine = decision.owner.as_ref() == Some(me);
    let held_by = host.holder(address);
    let mut interfaces = BTreeSet::new();
    for interface in host.interfaces {
        let key = AddressKey { ifindex: interface.index, vlan: 0, address };
        if mine && speaks(interface, address) && vip.interfaces.contains(&interface.name) {
            let entry = Entry::Answer { mac: interface.mac, epoch: decision.epoch };
            wanted.dataplane.addresses.insert(key, entry);
            announce(wanted, interface, address);
            interfaces.insert(interface.name.clone());
        } else if decision.owner.is_some() && held_by.is_none() {
            // Owned by another node, or by this one on other interfaces only.
            wanted.dataplane.addresses.insert(key, Entry::Silence);
        }
    }
    let state = match (&decision.owner, mine, interfaces.is_empty()) {
        (None, _, _) => VipState::Unowned,
        (Some(_), false, _) => VipState::OwnedElsewhere,
        (Some(_), true, true) => VipState::NoInterface,
        (Some(_), true, false) => VipState::Announced,
    };
    VipStatus {
        state,
        owner: decision.owner.clone(),
        reason: decision.reason,
        interfaces,
        by_name: matches!(vip.interfaces, crate::desired::Interfaces::Named(_)),
        held_by,
    }
}

fn speaks(interface: &Interface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => interface.arp,
        IpAddr::V6(_) => interface.ndp.is_some(),
    }
}

fn announce(wanted: &mut Wanted, interface: &Interface, address: IpAddr) {
    let announcement = Announcement { mac: interface.mac, source: interface.ndp };
    wanted.announcements.insert((interface.index, address), announcement);
    if let IpAddr::V6(v6) = address {
        wanted.groups.insert((interface.index, solicited_node_group(v6)));
    }
}
