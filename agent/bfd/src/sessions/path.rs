//! Where a session goes, and where a datagram came from.

use std::net::IpAddr;

use crate::transport::Hops;

/// A routing domain (VRF), numbered by the driver: one address in two of them is two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Domain(pub u32);

/// The path that a session watches. IPv4 addresses are never written as mapped IPv6 ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Where the addresses are valid.
    pub domain: Domain,
    /// How far away the peer may be.
    pub hops: Hops,
    /// Index of the interface, if the peer is to be found behind this one only.
    pub interface: Option<u32>,
    /// Our address, if only this one counts.
    pub local: Option<IpAddr>,
    /// The peer's.
    pub peer: IpAddr,
}

/// Where a datagram came from and went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Of the socket that took it.
    pub domain: Domain,
    /// By the port that it was sent to.
    pub hops: Hops,
    /// Index of the interface that it came in by.
    pub interface: u32,
    /// Sender.
    pub source: IpAddr,
    /// Receiver: one of our addresses.
    pub destination: IpAddr,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
}

impl Path {
    /// Whether a first packet, which does not name the session, is for it.
    pub(super) fn fits(&self, arrival: &Arrival) -> bool {
        self.domain == arrival.domain
            && self.hops == arrival.hops
            && self.peer == arrival.source
            && self.interface.is_none_or(|index| index == arrival.interface)
            && self.local.is_none_or(|local| local == arrival.destination)
    }

    /// Whether some first packet would fit both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        fn meet<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.zip(b).is_none_or(|(a, b)| a == b)
        }
        self.domain == other.domain
            && self.hops == other.hops
            && self.peer == other.peer
            && meet(self.interface, other.interface)
            && meet(self.local, other.local)
    }
}
