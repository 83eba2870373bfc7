//! From "who may and who does own" to "what this host holds": pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use clarion_core::NodeName;
use clarion_dataplane::{AddressKey, Entry};
use clarion_l2::frames::solicited_node_group;
use clarion_netlink::{Exclusion, Interface, Mac, Snapshot};

use super::ownership::{Decision, Decisions, Held, Neighbours, OwnerReason};
use crate::desired::{Desired, Vip};

/// What this node does about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VipState {
    /// It owns and answers it.
    Announced,
    /// It owns it and has none of the interfaces the advertisements name.
    NoInterface,
    /// It owns it, and its kernel drops requests: its leases are no majority.
    Fenced,
    /// Another node owns it; requests are dropped here.
    OwnedElsewhere,
    /// Nobody owns it. Requests are dropped if any node may, and else they pass.
    Unowned,
}

impl VipState {
    /// The word for `/state`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::NoInterface => "noInterface",
            Self::Fenced => "fenced",
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
    /// Who may own it by the plan, best first.
    pub(crate) list: Vec<NodeName>,
    /// Names of the interfaces it is answered on.
    pub(crate) interfaces: BTreeSet<String>,
    /// Whether the advertisements name interfaces, which status objects then list.
    pub(crate) by_name: bool,
    /// Interface of this host that holds the address itself: a conflict.
    pub(crate) held_by: Option<String>,
}

/// What becomes of each address. Readers keep what they were given, so values are shared.
pub(crate) type Vips = BTreeMap<IpAddr, Arc<VipStatus>>;

/// Everything this host should hold, of all addresses or of some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    pub(crate) dataplane: clarion_dataplane::Desired,
    pub(crate) groups: Memberships,
    /// What is announced by gratuitous frames: interface and address, with the MAC
    /// and the source of advertisements.
    pub(crate) announcements: BTreeMap<(u32, IpAddr), Announcement>,
    pub(crate) vips: Vips,
}

/// Solicited-node groups by interface, each with the addresses that need it: those that end
/// alike share one.
pub(crate) type Memberships = BTreeSet<(u32, Ipv6Addr, Ipv6Addr)>;

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
    /// Stations that something is being handed to.
    pub(crate) neighbours: &'a Neighbours,
    /// The node's own addresses: probes come to the interfaces that hold them.
    pub(crate) addresses: &'a [IpAddr],
    /// Whether the kernel answers for what this node holds.
    pub(crate) whole: bool,
}

impl Host<'_> {
    /// The interfaces that other nodes' probes come to, whether or not addresses are announced
    /// there: their kernels wait for an answer.
    fn probed(&self) -> impl Iterator<Item = u32> {
        let links = self.snapshot.links.values().filter(|link| link.mac.is_some() && link.up && link.running);
        let holds = |link: &&clarion_netlink::Link| {
            link.addresses.iter().any(|held| self.addresses.contains(&held.address))
        };
        links.filter(holds).map(|link| link.index)
    }

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

/// What this host should hold of the addresses that something was decided about, by what is
/// desired, who owns what, and what the host is.
pub(crate) fn wanted(me: &NodeName, desired: &Desired, decisions: &Decisions, host: &Host<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.dataplane.interfaces = host.interfaces.iter().map(|i| i.index).chain(host.probed()).collect();
    for (address, decision) in decisions {
        if let Some(vip) = desired.l2.get(address) {
            let status = add(&mut wanted, me, *address, vip, decision, host);
            wanted.vips.insert(*address, Arc::new(status));
        }
    }
    wanted
}

/// The addresses that had an interface here and have none any more.
pub(crate) fn stranded(before: &Vips, now: &Vips) -> Vec<IpAddr> {
    let had = |address: &IpAddr| before.get(address).is_some_and(|vip| vip.state == VipState::Announced);
    let lost = now.iter().filter(|(_, vip)| vip.state == VipState::NoInterface);
    lost.map(|(address, _)| *address).filter(had).collect()
}

/// What the kernel must hold of what it holds already while nothing is known of Services: what
/// this node does not own any more is silenced.
pub(crate) fn adopted(
    observed: &clarion_dataplane::Observed,
    held: impl Fn(IpAddr) -> Option<(u64, u64)>,
) -> clarion_dataplane::Desired {
    let keep = |(key, entry): (&AddressKey, &Entry)| match (*entry, held(key.address)) {
        // The machine takes back what was being handed over, so the answer names this station.
        (Entry::Owned { station, .. }, Some((epoch, inc))) => {
            (*key, Entry::Owned { mac: station, station, epoch, inc })
        }
        (Entry::Owned { .. }, None) => (*key, Entry::Silence),
        (other, _) => (*key, other),
    };
    clarion_dataplane::Desired {
        interfaces: observed.interfaces.keys().copied().collect(),
        addresses: observed.addresses.iter().map(keep).collect(),
    }
}

fn add(
    wanted: &mut Wanted,
    me: &NodeName,
    address: IpAddr,
    vip: &Vip,
    decision: &Decision,
    host: &Host<'_>,
) -> VipStatus {
    let held_by = host.holder(address);
    // Of Services that nobody serves nothing is announced, whoever owns their address.
    let held = decision.held.filter(|_| vip.ownable);
    let mut interfaces = BTreeSet::new();
    for interface in host.interfaces {
        let key = AddressKey { ifindex: interface.index, vlan: 0, address };
        let here = speaks(interface, address) && vip.interfaces.contains(&interface.name);
        if let (Some(held), true) = (held, here) {
            wanted.dataplane.addresses.insert(key, owned(&held, interface, host));
            if host.whole && held.next.is_none() {
                let announcement = Announcement { mac: interface.mac, source: interface.ndp };
                wanted.announcements.insert((interface.index, address), announcement);
            }
            interfaces.insert(interface.name.clone());
        } else if vip.ownable && held_by.is_none() {
            // Another node's, or this one's on other interfaces only, or nobody's yet.
            wanted.dataplane.addresses.insert(key, Entry::Silence);
        }
        // Who is to answer next must not wait for switches to learn of it.
        if let (true, true, IpAddr::V6(v6)) =
            (here, vip.ownable && (held.is_some() || decision.near), address)
        {
            wanted.groups.insert((interface.index, solicited_node_group(v6), v6));
        }
    }
    let owner = decision.owner.clone().filter(|_| vip.ownable);
    let state = match (&owner, held.is_some(), interfaces.is_empty()) {
        (None, _, _) => VipState::Unowned,
        (Some(_), false, _) => VipState::OwnedElsewhere,
        (Some(_), true, _) if !host.whole => VipState::Fenced,
        (Some(_), true, true) => VipState::NoInterface,
        (Some(_), true, false) => VipState::Announced,
    };
    debug_assert!(held.is_none() || owner.as_ref() == Some(me));
    VipStatus {
        state,
        owner,
        reason: if vip.ownable { decision.reason } else { OwnerReason::NoCandidate },
        list: decision.list.clone(),
        interfaces,
        by_name: matches!(vip.interfaces, crate::desired::Interfaces::Named(_)),
        held_by,
    }
}

fn owned(held: &Held, interface: &Interface, host: &Host<'_>) -> Entry {
    // A next owner that is not on this segment cannot be named: the answer is our own MAC until
    // that node claims the address.
    let next = held.next.and_then(|node| host.neighbours.mac(&interface.name, node));
    let mac = next.unwrap_or(interface.mac);
    Entry::Owned { mac, station: interface.mac, epoch: held.epoch, inc: held.inc }
}

fn speaks(interface: &Interface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => interface.arp,
        IpAddr::V6(_) => interface.ndp.is_some(),
    }
}
