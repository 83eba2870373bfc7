//! BGP: which sessions this node has and which routes go to each, by MetalLB's
//! rules (contract §5.1).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_bgp::RouteAttributes;
use clarion_config::{BfdProfile, BgpAdvertisement, Peer, PeerSecret, fallback_router_id};
use clarion_core::{AnnounceReason, LabelSelector, ServiceKey};
use ipnet::IpNet;

use super::{Me, endpoint_verdict, node_verdict};
use crate::bgp::{DesiredPeer, DesiredPeers, PeerConfig};
use crate::view::{Node, SecretValue, Service, View};

/// Sessions while routes are gathered.
pub(super) struct Sessions {
    peers: DesiredPeers,
    problems: BTreeMap<String, String>,
}

/// The sessions of this node, still without routes.
pub(super) fn sessions(me: &Me, view: &View) -> Sessions {
    let mut sessions = Sessions { peers: DesiredPeers::new(), problems: BTreeMap::new() };
    // A node the API server does not know has no labels to select it by.
    let Some(node) = view.nodes.get(&me.node) else { return sessions };
    let router_id = fallback_router_id(&node.addresses, me.node.as_str());
    for (name, peer) in &view.config.peers {
        if !LabelSelector::any_matches(&peer.node_selectors, &node.labels) {
            continue;
        }
        let config = password(peer, view).and_then(|key| {
            let bfd = profile(peer, view)?;
            PeerConfig::new(peer, key, router_id, bfd).map_err(|error| error.to_string())
        });
        match config {
            Ok(config) => {
                sessions.peers.insert(name.clone(), DesiredPeer { config, routes: Arc::default() });
            }
            Err(problem) => {
                sessions.problems.insert(name.clone(), problem);
            }
        }
    }
    sessions
}

/// The TCP-MD5 key. A peer whose key cannot be found gets no session at all:
/// without the key the router would refuse it.
fn password(peer: &Peer, view: &View) -> Result<Option<String>, String> {
    match &peer.secret {
        None => Ok(None),
        Some(PeerSecret::Inline(key)) => Ok(Some(key.clone())),
        Some(PeerSecret::Secret(name)) => match view.secrets.get(name) {
            Some(SecretValue::Password(key)) => Ok(Some(key.clone())),
            Some(SecretValue::Unusable(why)) => Err(format!("BGPPeer {}: {why}", peer.name)),
            None => Err(format!(
                "BGPPeer {}: spec.passwordSecret: Secret {name:?} does not exist: create it with type kubernetes.io/basic-auth and key \"password\"",
                peer.name
            )),
        },
    }
}

/// The BFD profile. The parser sets a peer aside that names one which does not exist.
fn profile(peer: &Peer, view: &View) -> Result<Option<BfdProfile>, String> {
    let Some(name) = &peer.bfd_profile else { return Ok(None) };
    match view.config.bfd.get(name) {
        Some(profile) => Ok(Some(profile.clone())),
        None => Err(format!(
            "BGPPeer {}: spec.bfdProfile: BFDProfile {name:?} does not exist: create it or remove bfdProfile",
            peer.name
        )),
    }
}

impl Sessions {
    /// Adds the routes of one Service; `peers` gets the names of those who hear of it.
    pub(super) fn add(
        &mut self,
        me: &Me,
        view: &View,
        key: &ServiceKey,
        service: &Service,
        peers: &mut BTreeSet<String>,
    ) -> AnnounceReason {
        match self.try_add(me, view, key, service, peers) {
            Ok(()) => AnnounceReason::Announced,
            Err(reason) => reason,
        }
    }

    fn try_add(
        &mut self,
        me: &Me,
        view: &View,
        key: &ServiceKey,
        service: &Service,
        peers: &mut BTreeSet<String>,
    ) -> Result<(), AnnounceReason> {
        let node = view.nodes.get(&me.node).ok_or(AnnounceReason::NoMatchingAdvertisement)?;
        let mut routes = Vec::new();
        for address in &service.addresses {
            for advertisement in advertisements(view, service, node, *address)? {
                routes.push((route(advertisement, *address), advertisement));
            }
        }
        node_verdict(me, node)?;
        endpoint_verdict(view, key, service, &me.node)?;
        for (prefix, advertisement) in routes {
            for (name, peer) in &mut self.peers {
                if advertisement.peers.is_empty() || advertisement.peers.contains(name) {
                    merge(Arc::make_mut(&mut peer.routes), prefix, advertisement);
                    peers.insert(name.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> (DesiredPeers, BTreeMap<String, String>) {
        (self.peers, self.problems)
    }
}

/// The advertisements that announce this address from this node.
fn advertisements<'a>(
    view: &'a View,
    service: &Service,
    node: &Node,
    address: IpAddr,
) -> Result<Vec<&'a BgpAdvertisement>, AnnounceReason> {
    let pool = view.config.pool_of(address).ok_or(AnnounceReason::IpNotAllowed)?;
    let matching: Vec<_> = view
        .config
        .bgp
        .values()
        .filter(|a| {
            a.pools.matches(pool)
                && LabelSelector::any_matches(&a.node_selectors, &node.labels)
                && LabelSelector::any_matches(&a.service_selectors, &service.labels)
        })
        .collect();
    if matching.is_empty() {
        return Err(AnnounceReason::NoMatchingAdvertisement);
    }
    if conflict(&matching, address) {
        return Err(AnnounceReason::ConflictingAdvertisements);
    }
    Ok(matching)
}

/// Whether two of them would give one route to one peer different local preferences.
fn conflict(advertisements: &[&BgpAdvertisement], address: IpAddr) -> bool {
    advertisements.iter().enumerate().any(|(i, a)| {
        advertisements.iter().skip(i + 1).any(|b| {
            let same_peers = a.peers.is_empty() || b.peers.is_empty() || !a.peers.is_disjoint(&b.peers);
            same_peers && a.local_pref != b.local_pref && route(a, address) == route(b, address)
        })
    })
}

/// The address as the advertisement's aggregation length makes it.
fn route(advertisement: &BgpAdvertisement, address: IpAddr) -> IpNet {
    let (length, host) = match address {
        IpAddr::V4(_) => (advertisement.aggregation_v4, 32),
        IpAddr::V6(_) => (advertisement.aggregation_v6, 128),
    };
    // The parser admits no longer ones; a host route is the safe reading.
    IpNet::new(address, length.min(host)).map_or_else(|_| IpNet::from(address), |net| net.trunc())
}

/// Adds what an advertisement says about a prefix. Several Services and
/// advertisements make one route: communities unite, the first local preference
/// stays (in order of Service and advertisement names, so that nodes agree).
fn merge(routes: &mut BTreeMap<IpNet, RouteAttributes>, prefix: IpNet, advertisement: &BgpAdvertisement) {
    let route = routes.entry(prefix).or_insert_with(|| RouteAttributes {
        // Zero is "not said": FRR, MetalLB's default, then sends its own 100.
        local_pref: (advertisement.local_pref != 0).then_some(advertisement.local_pref),
        ..RouteAttributes::default()
    });
    route.communities.extend(advertisement.communities.iter().copied());
}
