//! What a peer should hear, and what it has heard.
//!
//! Routes are values: a prefix and its [`RouteAttributes`]. Which octets they
//! become depends on the session (AS_PATH, LOCAL_PREF, next hop), so that one
//! set of routes serves every peer; [`AdjRibOut`] does that step and keeps what
//! was sent. There is no list of changes anywhere: the difference between two
//! states is found when there is room to send, so a burst of changes costs one
//! UPDATE, a slow peer costs no memory, and nothing can be forgotten.

mod out;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use clarion_core::{Community, Family};
use ipnet::IpNet;

pub use out::{AdjRibOut, Batch, Outbound};

/// Routes by prefix: what one peer should hear.
pub type Routes = BTreeMap<IpNet, RouteAttributes>;

/// What is said about a prefix. Equal values share an UPDATE.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RouteAttributes {
    /// Where the traffic is to go.
    pub next_hop: NextHopPolicy,
    /// LOCAL_PREF (RFC 4271 §5.1.5), sent to internal peers only. `None` sends 100,
    /// since the attribute is mandatory there.
    pub local_pref: Option<u32>,
    /// COMMUNITIES (RFC 1997) and LARGE_COMMUNITY (RFC 8092).
    pub communities: BTreeSet<Community>,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4); `None` leaves it out.
    pub med: Option<u32>,
    /// How often our AS is repeated beyond the one mandatory time, 0..=32 (more
    /// is cut). External peers only: an internal one would see a loop.
    pub prepend: u8,
}

/// How the next hop of a route is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum NextHopPolicy {
    /// Our address on the session; for the other family our address of that
    /// family on the interface that holds it (RFC 4760 §3).
    #[default]
    Session,
    /// This address, whatever the session's is.
    Address(IpAddr),
}

/// Why a route that should be there is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// The family is not switched on for this peer.
    FamilyNotConfigured(Family),
    /// The peer did not offer the family (RFC 4760 §8).
    FamilyNotOffered(Family),
    /// No address of the family to be the next hop.
    NoNextHop(Family),
    /// A multicast or broadcast prefix.
    NotUnicast(Family),
    /// The attributes leave no room for a prefix in one message.
    AttributesTooLong(Family),
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FamilyNotConfigured(family) => write!(
                f,
                "{family} routes are not announced on this session: set spec.dualStackAddressFamily on the BGPPeer, or add a peer with an {family} address"
            ),
            Self::FamilyNotOffered(family) => write!(
                f,
                "the peer did not offer {family} unicast: activate that address family for this neighbour on the router"
            ),
            Self::NoNextHop(family) => write!(
                f,
                "the interface that holds the session's address has no global {family} address to be the next hop: give it one"
            ),
            Self::NotUnicast(family) => {
                write!(f, "multicast {family} addresses cannot be announced: take them out of the pool")
            }
            Self::AttributesTooLong(family) => {
                write!(f, "{family} routes carry too many communities for one BGP message: use fewer")
            }
        }
    }
}
