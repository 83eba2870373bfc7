//! What a session is told before it starts, and what both sides agreed on.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use clarion_core::{Asn, Family, RouterId};

/// The other side's autonomous system, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAsn {
    /// Exactly this one.
    Fixed(Asn),
    /// Ours, whatever it is.
    Internal,
    /// Any but ours.
    External,
}

/// Graceful restart (RFC 4724) as we offer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long the peer should keep our routes after the session went, whole
    /// seconds, 0..=4095 (twelve bits; more is cut).
    pub restart_time: Duration,
    /// The R bit of the first OPEN: this process has just started and a former
    /// one may have left routes at the peer.
    pub restarted: bool,
}

/// One session. A change of anything but [`Timers`] needs a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The AS shown to this peer.
    pub local_asn: Asn,
    /// Which AS the peer must be in.
    pub peer_asn: PeerAsn,
    /// Our BGP identifier.
    pub router_id: RouterId,
    /// Proposed hold time, whole seconds; zero switches hold timer and
    /// keepalives off (RFC 4271 §4.2), 1 and 2 s are raised to 3.
    pub hold_time: Duration,
    /// Families to offer.
    pub families: BTreeSet<Family>,
    /// Offered when set.
    pub graceful_restart: Option<GracefulRestart>,
    /// What may change while the session lives.
    pub timers: Timers,
}

/// Timers that are applied without a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timers {
    /// Between keepalives; `None`, or more than a third of the negotiated hold
    /// time, means that third (RFC 4271 §4.4).
    pub keepalive: Option<Duration>,
    /// Between attempts to connect; `None` grows from one second to two minutes.
    pub connect_retry: Option<Duration>,
}

/// The addresses a connection runs from: what next hops are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddresses {
    /// Our end of the TCP connection.
    pub session: IpAddr,
    /// An IPv4 address of the interface that holds `session`, for IPv4 routes
    /// over an IPv6 session.
    pub v4: Option<Ipv4Addr>,
    /// A global IPv6 address of that interface, for IPv6 routes over an IPv4 session.
    pub v6: Option<Ipv6Addr>,
    /// Its link-local address, sent beside the global one when the peer shares
    /// the link (RFC 2545 §3). `None` when it does not.
    pub link_local: Option<Ipv6Addr>,
}

impl LocalAddresses {
    /// Only the session's own address is known.
    #[must_use]
    pub fn of_session(session: IpAddr) -> Self {
        Self { session, v4: None, v6: None, link_local: None }
    }

    /// The address of a family: the session's own where it fits.
    #[must_use]
    pub fn of_family(&self, family: Family) -> Option<IpAddr> {
        match (family, self.session) {
            (Family::V4, IpAddr::V4(_)) | (Family::V6, IpAddr::V6(_)) => Some(self.session),
            (Family::V4, IpAddr::V6(_)) => self.v4.map(IpAddr::V4),
            (Family::V6, IpAddr::V4(_)) => self.v6.map(IpAddr::V6),
        }
    }
}

/// What both OPENs together say (RFC 5492: a capability counts when both sent it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's AS.
    pub peer_asn: Asn,
    /// The peer's BGP identifier.
    pub peer_id: RouterId,
    /// Whether both are in one AS.
    pub internal: bool,
    /// The AS shown to the peer.
    pub local_asn: Asn,
    /// The smaller of both hold times; zero = none.
    pub hold_time: Duration,
    /// A third of that, or less if configured so.
    pub keepalive: Duration,
    /// Families that both offered.
    pub families: BTreeSet<Family>,
    /// Families we offered.
    pub offered: BTreeSet<Family>,
    /// Four-octet AS numbers (RFC 6793).
    pub four_octet_as: bool,
    /// ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// Messages up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Both sent Graceful Restart: the peer keeps our routes this long.
    pub graceful_restart: Option<Duration>,
    /// Both set the N bit: NOTIFICATION keeps routes too (RFC 8538).
    pub graceful_notification: bool,
}

impl Negotiated {
    /// The longest message that may be sent (RFC 8654 §4).
    #[must_use]
    pub fn max_message(&self) -> usize {
        if self.extended_message { crate::wire::MAX_EXTENDED } else { crate::wire::MAX_MESSAGE }
    }
}
