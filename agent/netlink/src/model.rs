//! What the host has: links, and the addresses on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// One address on a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Prefix length of the on-link network, 0..=128.
    pub prefix_len: u8,
    /// Duplicate address detection is not over, or failed: not usable yet (RFC 4862 §5.4).
    pub tentative: bool,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it. Never used again while the host is up.
    pub index: u32,
    /// Its name now.
    pub name: String,
    /// Its Ethernet address; `None` for links of another kind.
    pub mac: Option<Mac>,
    /// `IFF_UP`: switched on by an administrator.
    pub up: bool,
    /// `IFF_RUNNING`: there is a carrier.
    pub running: bool,
    /// `IFF_BROADCAST`: ARP can be spoken.
    pub broadcast: bool,
    /// `IFF_NOARP`.
    pub no_arp: bool,
    /// The bridge, bond or VRF it is a part of.
    pub master: Option<u32>,
    /// Kind as `ip -d link` shows it (`veth`, `bridge`, `vlan`); `None` for hardware.
    pub kind: Option<String>,
    /// Unicast addresses, in order.
    pub addresses: Vec<Address>,
    /// Multicast groups held by the kernel for us (`autojoin`), see [`Groups`](crate::Groups).
    pub groups: BTreeSet<Ipv6Addr>,
}

impl Link {
    /// The first usable IPv6 link-local address.
    #[must_use]
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|a| match a.address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() && !a.tentative => Some(v6),
            _ => None,
        })
    }
}

/// Every link of one network namespace at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// By interface index.
    pub links: BTreeMap<u32, Link>,
}

impl Snapshot {
    /// The links that hold this address, in order of index.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &Link> {
        self.links.values().filter(move |l| l.addresses.iter().any(|a| a.address == address))
    }

    /// The link of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// An Ethernet link that layer 2 is spoken on, with the address fe80::1.
    pub(crate) fn link(index: u32, name: &str) -> Link {
        let link_local = Address { address: "fe80::1".parse().unwrap(), prefix_len: 64, tentative: false };
        Link {
            index,
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            up: true,
            running: true,
            broadcast: true,
            no_arp: false,
            master: None,
            kind: None,
            addresses: vec![link_local],
            groups: BTreeSet::new(),
        }
    }
}
