//! One BGP peer as this node should speak to it: a BGPPeer with the password
//! looked up and the identifier chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clarion_bgp::RouteAttributes;
use clarion_bgp::session::{GracefulRestart, PeerAsn, SessionConfig, Timers};
use clarion_config::{BfdProfile, Peer, PeerEndpoint};
use clarion_core::{Asn, Family, RouterId};
use ipnet::IpNet;

use crate::bfd::{BfdPeer, Distance};

/// How long a peer that negotiated graceful restart should keep our routes: FRR's
/// default, and the same as the kernel goes on answering without an agent.
const RESTART_TIME: Duration = Duration::from_secs(120);

/// All sessions that this node should have, by BGPPeer name.
pub type DesiredPeers = BTreeMap<String, DesiredPeer>;

/// One session and what is announced on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredPeer {
    /// Parameters of the session. A change of [`PeerConfig::timers`] or
    /// [`PeerConfig::bfd`] is applied to the living session, any other makes a new one.
    pub config: PeerConfig,
    /// What the peer should hear. A change never touches the session.
    pub routes: Arc<BTreeMap<IpNet, RouteAttributes>>,
}

/// Parameters of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The BGPPeer's name.
    pub name: String,
    /// Where the peer is: `spec.peerAddress` and `spec.peerPort`.
    pub address: SocketAddr,
    /// `spec.sourceAddress`: must be an address of this node.
    pub source: Option<IpAddr>,
    /// Bind the session to this device: `spec.vrf`, or the interface of a
    /// link-local peer.
    pub device: Option<String>,
    /// The AS shown to the peer: `spec.localASN`, else `spec.myASN`.
    pub local_asn: Asn,
    /// `spec.peerASN` or `spec.dynamicASN`.
    pub peer_asn: PeerAsn,
    /// `spec.routerID`, or the one chosen for the node.
    pub router_id: RouterId,
    /// `spec.holdTime`.
    pub hold_time: Duration,
    /// `spec.keepaliveTime` and `spec.connectTime`.
    pub timers: Timers,
    /// TCP-MD5 key (RFC 2385), 1..=80 octets; from the object or its Secret.
    pub password: Option<Password>,
    /// `spec.ebgpMultiHop`: TTL 64 in place of 1.
    pub multi_hop: bool,
    /// `spec.enableGracefulRestart`.
    pub graceful_restart: bool,
    /// The peer's own family, or both by `spec.dualStackAddressFamily`.
    pub families: BTreeSet<Family>,
    /// `spec.bfdProfile`: BFD watches the path. A change never touches the session.
    pub bfd: Option<BfdProfile>,
}

/// A key that neither logs nor panics show.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the key.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why a BGPPeer cannot be spoken to from here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerConfigError {
    /// Unnumbered peers are not built yet.
    #[error("BGPPeer {0}: spec.interface (unnumbered BGP) is not supported yet: use spec.peerAddress")]
    Unnumbered(String),
}

impl PeerConfig {
    /// The session for a BGPPeer. `password` is the key from the object or from
    /// the Secret it names; `router_id` is what this node uses where the object
    /// gives none (`clarion_config::fallback_router_id`); `bfd` the profile that the object
    /// names.
    ///
    /// # Errors
    /// What the agent cannot speak.
    pub fn new(
        peer: &Peer,
        password: Option<String>,
        router_id: RouterId,
        bfd: Option<BfdProfile>,
    ) -> Result<Self, PeerConfigError> {
        let address = match &peer.endpoint {
            PeerEndpoint::Address(address) => *address,
            PeerEndpoint::Interface(_) => return Err(PeerConfigError::Unnumbered(peer.name.clone())),
        };
        let families = if peer.dual_stack {
            BTreeSet::from([Family::V4, Family::V6])
        } else {
            BTreeSet::from([Family::of(address)])
        };
        Ok(Self {
            name: peer.name.clone(),
            address: SocketAddr::new(address, peer.port),
            source: peer.source_address,
            device: peer.vrf.clone(),
            local_asn: peer.local_asn.unwrap_or(peer.my_asn),
            peer_asn: match peer.peer_asn {
                clarion_config::PeerAsn::Fixed(asn) => PeerAsn::Fixed(asn),
                clarion_config::PeerAsn::Internal => PeerAsn::Internal,
                clarion_config::PeerAsn::External => PeerAsn::External,
            },
            router_id: peer.router_id.unwrap_or(router_id),
            hold_time: peer.hold_time,
            timers: Timers { keepalive: Some(peer.keepalive_time), connect_retry: peer.connect_time },
            password: password.map(Password),
            multi_hop: peer.multi_hop,
            graceful_restart: peer.graceful_restart,
            families,
            bfd,
        })
    }

    /// Whether a session with `self` can go on as one with `other`.
    #[must_use]
    pub fn same_session(&self, other: &Self) -> bool {
        Self { timers: other.timers, bfd: other.bfd.clone(), ..self.clone() } == *other
    }

    /// How MetalLB labels the session's metrics: `addr:port`.
    #[must_use]
    pub fn metric_label(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn session(&self, restarted: bool) -> SessionConfig {
        SessionConfig {
            local_asn: self.local_asn,
            peer_asn: self.peer_asn,
            router_id: self.router_id,
            hold_time: self.hold_time,
            families: self.families.clone(),
            graceful_restart: self
                .graceful_restart
                .then_some(GracefulRestart { restart_time: RESTART_TIME, restarted }),
            timers: self.timers,
        }
    }

    /// What BFD should do for this peer.
    pub(super) fn bfd_peer(&self) -> Option<BfdPeer> {
        let distance = match (self.multi_hop, self.external()) {
            (true, _) => Distance::Far,
            (false, true) => Distance::Near,
            (false, false) => Distance::ByAddress,
        };
        Some(BfdPeer {
            address: self.address.ip(),
            source: self.source,
            device: self.device.clone(),
            distance,
            profile: self.bfd.clone()?,
        })
    }

    /// Single hop external peers get TTL 1, as every router does it, so that a
    /// session cannot come up over a detour; all others 64.
    pub(super) fn ttl(&self) -> u32 {
        if self.external() && !self.multi_hop { 1 } else { 64 }
    }

    fn external(&self) -> bool {
        match self.peer_asn {
            PeerAsn::Fixed(asn) => asn != self.local_asn,
            PeerAsn::Internal => false,
            PeerAsn::External => true,
        }
    }
}
