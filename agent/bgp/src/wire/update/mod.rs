//! UPDATE (RFC 4271 §4.3): writing our own, counting foreign ones.

mod encode;
mod receive;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use clarion_core::{Asn, Community};
use ipnet::IpNet;

pub use encode::UpdateEncoder;
pub use receive::{ReceivedUpdate, UpdateReader};

/// Path attributes as they go to one peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathAttributes {
    /// One AS_SEQUENCE, at most 255 long; empty to internal peers.
    pub as_path: Vec<Asn>,
    /// NEXT_HOP, or that of MP_REACH_NLRI.
    pub next_hop: IpAddr,
    /// Second next hop of MP_REACH_NLRI (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// Standard and large ones.
    pub communities: BTreeSet<Community>,
}

/// A prefix seen in an UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// It is reachable.
    Announced(IpNet),
    /// It no longer is.
    Withdrawn(IpNet),
}
