//! What a driver needs to know of UDP and IP: ports, hop limits (RFC 5881, RFC 5883).

use std::ops::RangeInclusive;

use crate::random::Random;

/// Control packets over a single hop go here (RFC 5881 §4).
pub const CONTROL_PORT: u16 = 3784;
/// Echo packets (RFC 5881 §4).
pub const ECHO_PORT: u16 = 3785;
/// Control packets over several hops (RFC 5883 §5).
pub const MULTIHOP_PORT: u16 = 4784;
/// Where control packets come from: one port for all packets of a session, another one
/// for each session (RFC 5881 §4).
pub const SOURCE_PORTS: RangeInclusive<u16> = 49152..=65535;
/// TTL or hop limit of every packet that is sent, and over a single hop of every one
/// that is accepted: nobody farther away can make such a packet (RFC 5881 §5, RFC 5082).
pub const TTL: u8 = 255;

/// How many hops the peer may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hops {
    /// On the same link (RFC 5881).
    Single,
    /// Farther away (RFC 5883).
    Multi,
}

impl Hops {
    /// The port that control packets go to.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Single => CONTROL_PORT,
            Self::Multi => MULTIHOP_PORT,
        }
    }
}

/// Every port of [`SOURCE_PORTS`] once, in an order that follows from the seed. The driver
/// takes the first that it can bind, so that no two sessions of the host share one.
pub fn source_ports(seed: u64) -> impl Iterator<Item = u16> {
    let count = SOURCE_PORTS.end() - SOURCE_PORTS.start() + 1;
    let mut random = Random::new(seed);
    let start = random.next_u32();
    // The count is a power of two, so an odd stride meets every port.
    let stride = random.next_u32() | 1;
    (0..u32::from(count)).map(move |step| {
        let at = start.wrapping_add(stride.wrapping_mul(step)) % u32::from(count);
        SOURCE_PORTS.start() + u16::try_from(at).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn source_ports_are_all_of_the_range_and_no_other() {
        for seed in [0, 1, u64::MAX] {
            let ports: BTreeSet<u16> = source_ports(seed).collect();
            assert_eq!(ports.len(), 16384);
            assert!(ports.iter().all(|port| *port >= 49152));
            assert_eq!(source_ports(seed).count(), 16384);
        }
        assert!(!source_ports(1).take(5).eq(source_ports(2).take(5)), "the seed chooses");
    }
}
