//! What configuration means, once it has been checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clarion_core::{
    AddressRange, Asn, Community, Family, LabelSelector, Labels, PoolName, RouterId, ServiceKey,
};

/// The whole configuration, validated. Cheap to compare, never changed in place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// IPAddressPools by name. No two overlap.
    pub pools: BTreeMap<PoolName, Pool>,
    /// IPAddressPools as they are written, where that is not in force: all of the object
    /// that can be read. They overlap each other and those in force as they like and give
    /// nothing out, but a Service keeps what it has of them ([`Config::pool_of`]).
    pub set_aside: BTreeMap<PoolName, Pool>,
    /// A pool that is not in force and of which some addresses cannot be read: which it holds is
    /// not known, so every address that no other pool holds may be one of them.
    pub unread: Option<PoolName>,
    /// L2Advertisements by name.
    pub l2: BTreeMap<String, L2Advertisement>,
    /// BGPAdvertisements by name.
    pub bgp: BTreeMap<String, BgpAdvertisement>,
    /// BGPPeers by name.
    pub peers: BTreeMap<String, Peer>,
    /// BFDProfiles by name.
    pub bfd: BTreeMap<String, BfdProfile>,
    /// Community objects by name. Advertisements have them resolved; they are kept here
    /// because the last good version of a bad one stays in force.
    pub communities: BTreeMap<String, Aliases>,
}

impl Config {
    /// The pool that an address belongs to: the one in force that holds it, else the
    /// first by name of those set aside, else one that cannot be read.
    ///
    /// The one rule for whether an assigned address stays with its Service (controller) and is
    /// announced (agents): were there two, an address could stay where nobody announces
    /// it. `None`: the configuration does not know the address, so it is taken back.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        let holds = self.pools.values().chain(self.set_aside.values()).find(|pool| pool.contains(address));
        holds.or_else(|| self.set_aside.get(self.unread.as_ref()?))
    }
}

/// Names for communities: one Community object.
pub type Aliases = BTreeMap<String, Community>;

/// An IPAddressPool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Its labels, for `ipAddressPoolSelectors`.
    pub labels: Labels,
    /// Its addresses in the order written, none overlapping another.
    pub ranges: Vec<AddressRange>,
    /// Addresses that no Service gets although a range holds them. In the order written; they may
    /// overlap each other and lie outside of the ranges. Nothing of them counts as available.
    pub exclude: Vec<AddressRange>,
    /// Whether Services that ask for nothing get an address from it.
    pub auto_assign: bool,
    /// Whether IPv4 addresses ending in .0 and .255 are left alone.
    pub avoid_buggy_ips: bool,
    /// Restriction to some Services; `None` if the pool is for all.
    pub allocation: Option<ServiceAllocation>,
}

impl Pool {
    /// Whether the pool may give this address away (ranges, excludeAddresses and avoidBuggyIPs).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let buggy = match address {
            IpAddr::V4(v4) => self.avoid_buggy_ips && matches!(v4.octets()[3], 0 | 255),
            IpAddr::V6(_) => false,
        };
        let any = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address));
        !buggy && any(&self.ranges) && !any(&self.exclude)
    }

    /// Whether any of its ranges is of this family.
    #[must_use]
    pub fn has_family(&self, family: Family) -> bool {
        self.ranges.iter().any(|r| r.family() == family)
    }
}

/// `serviceAllocation` of a pool (contract §2.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceAllocation {
    /// Lower is preferred; 0 comes last.
    pub priority: u32,
    /// Namespaces by name, in union with `namespace_selectors`; both empty = all.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label, any of them; empty = all.
    pub service_selectors: Vec<LabelSelector>,
}

impl ServiceAllocation {
    /// Whether a Service in a namespace with these labels may use the pool. A
    /// selector that matches no namespace allows none (MetalLB's hole, §2.4).
    #[must_use]
    pub fn matches(&self, service: &ServiceKey, service_labels: &Labels, namespace_labels: &Labels) -> bool {
        let anywhere = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let namespace = anywhere
            || self.namespaces.contains(service.namespace())
            || self.namespace_selectors.iter().any(|s| s.matches(namespace_labels));
        namespace && LabelSelector::any_matches(&self.service_selectors, service_labels)
    }
}

/// Which pools an advertisement is for: by name and by label in union; both empty = all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolSelection {
    /// `ipAddressPools`. Unknown names are kept: the pool may come later.
    pub names: BTreeSet<PoolName>,
    /// `ipAddressPoolSelectors`.
    pub selectors: Vec<LabelSelector>,
    /// Pools that the advertisement selects but cannot be applied to; there is a
    /// [`Problem`] for each that is in force.
    pub except: BTreeSet<PoolName>,
}

impl PoolSelection {
    /// Whether the pool is selected.
    #[must_use]
    pub fn matches(&self, pool: &Pool) -> bool {
        let selected = (self.names.is_empty() && self.selectors.is_empty())
            || self.names.contains(&pool.name)
            || self.selectors.iter().any(|s| s.matches(&pool.labels));
        selected && !self.except.contains(&pool.name)
    }
}

/// An L2Advertisement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct L2Advertisement {
    /// Its name.
    pub name: String,
    /// The pools it is for.
    pub pools: PoolSelection,
    /// Any of them; empty = all nodes.
    pub node_selectors: Vec<LabelSelector>,
    /// Exact interface names; empty = all that are not excluded.
    pub interfaces: BTreeSet<String>,
    /// Any of them; empty = all Services.
    pub service_selectors: Vec<LabelSelector>,
    /// Soft preference: weight 1..=100 for nodes that the selector matches.
    pub preferred_nodes: Vec<(u8, LabelSelector)>,
}

/// A BGPAdvertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BgpAdvertisement {
    /// Its name.
    pub name: String,
    /// The pools it is for.
    pub pools: PoolSelection,
    /// Any of them; empty = all nodes.
    pub node_selectors: Vec<LabelSelector>,
    /// Any of them; empty = all Services.
    pub service_selectors: Vec<LabelSelector>,
    /// BGPPeer names; empty = all.
    pub peers: BTreeSet<String>,
    /// Prefix length IPv4 addresses are aggregated to, 1..=32.
    pub aggregation_v4: u8,
    /// Prefix length IPv6 addresses are aggregated to, 1..=128.
    pub aggregation_v6: u8,
    /// LOCAL_PREF, sent to iBGP peers only.
    pub local_pref: u32,
    /// Aliases resolved.
    pub communities: BTreeSet<Community>,
}

/// The other side's autonomous system (BGPPeer `peerASN` or `dynamicASN`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAsn {
    /// Exactly this one.
    Fixed(Asn),
    /// Ours, whatever it is.
    Internal,
    /// Any but ours.
    External,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEndpoint {
    /// By address.
    Address(IpAddr),
    /// Unnumbered: whoever is at the other end of this interface.
    Interface(String),
}

/// How the TCP-MD5 key (RFC 2385) is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerSecret {
    /// Written in the object.
    Inline(String),
    /// Key `password` of this basic-auth Secret in the configuration namespace.
    Secret(String),
}

/// A BGPPeer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Our AS.
    pub my_asn: Asn,
    /// Their AS.
    pub peer_asn: PeerAsn,
    /// `localASN`: the AS shown to this peer in place of ours.
    pub local_asn: Option<Asn>,
    /// Where they are.
    pub endpoint: PeerEndpoint,
    /// TCP port, 179 unless said.
    pub port: u16,
    /// Our address on the session.
    pub source_address: Option<IpAddr>,
    /// Proposed hold time; zero = none. 90 s unless said.
    pub hold_time: Duration,
    /// Keepalive interval; a third of the hold time unless said.
    pub keepalive_time: Duration,
    /// Pause between attempts to connect.
    pub connect_time: Option<Duration>,
    /// BGP identifier; chosen by the agent when absent.
    pub router_id: Option<RouterId>,
    /// Any of them; empty = all nodes.
    pub node_selectors: Vec<LabelSelector>,
    /// TCP-MD5 key.
    pub secret: Option<PeerSecret>,
    /// BFDProfile by name.
    pub bfd_profile: Option<String>,
    /// RFC 4724.
    pub graceful_restart: bool,
    /// More than one hop away.
    pub multi_hop: bool,
    /// VRF device the session is bound to.
    pub vrf: Option<String>,
    /// Both address families on one session.
    pub dual_stack: bool,
}

/// A BFDProfile. MetalLB's defaults are FRR's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdProfile {
    /// Its name.
    pub name: String,
    /// Milliseconds.
    pub receive_interval_ms: u32,
    /// Milliseconds.
    pub transmit_interval_ms: u32,
    /// Milliseconds.
    pub echo_interval_ms: u32,
    /// Packets missed before the session is down.
    pub detect_multiplier: u8,
    /// RFC 5880 §6.4.
    pub echo_mode: bool,
    /// Wait for the other side to speak first.
    pub passive_mode: bool,
    /// Lowest TTL accepted on multihop sessions.
    pub minimum_ttl: u8,
}

/// An API object, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind, like `IPAddressPool`.
    pub kind: &'static str,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Why an object was set aside, for its condition, ConfigurationState and an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The object.
    pub object: ObjectRef,
    /// The field, like `spec.addresses[2]`.
    pub field: String,
    /// What is wrong and what to do about it, in MetalLB's words where it has some.
    pub message: String,
    /// Whether its last good version stays in force (false: it never had one).
    pub last_good_kept: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.message)
    }
}

/// What [`parse`](crate::parse) returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What is in force.
    pub config: Config,
    /// What was set aside, sorted by object.
    pub problems: Vec<Problem>,
    /// Objects that have a problem and are in force as written all the same, apart from what the
    /// problem says.
    pub in_part: BTreeSet<ObjectRef>,
}

/// A router id for those who have none: any IPv4 address of the node, else a hash.
#[must_use]
pub fn fallback_router_id(addresses: &[IpAddr], node: &str) -> RouterId {
    let v4 = addresses.iter().find_map(|a| match a {
        IpAddr::V4(v4) if !v4.is_loopback() => RouterId::new(*v4),
        _ => None,
    });
    v4.unwrap_or_else(|| {
        // FNV-1a: stable over versions, unlike std's hasher.
        let hash = node.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        RouterId::new(Ipv4Addr::from(hash | 1)).unwrap_or_else(|| unreachable!("the last bit is set"))
    })
}
