//! Who has which address in a lab.
//!
//! Addresses are fixed: namespaces keep labs apart, so nothing has to be
//! allocated, and a person who reads a capture knows the machine by its last
//! digits. MAC addresses are fixed too, since a test that names an owner has to
//! know the owner's `eth0`.
//!
//! | network | IPv4 | IPv6 | who |
//! |---|---|---|---|
//! | LAN | 192.168.100.0/24 | fd00:100::/64 | nodes .11, .12, …; clients .101, …; routers .1, .2 |
//! | behind router i | 192.168.15i.0/24 | fd00:15i::/64 | router .1, far client .2 |
//! | management | 172.30.0.0/24 | – | control plane .1, node i .1i |
//! | pods of node i | 10.244.i.0/24 | fd00:10:244:i::/64 | bridge `cni0` .1 |
//! | Services | 10.96.0.0/16 | fd00:96::/112 | kube-proxy |

use std::net::{Ipv4Addr, Ipv6Addr};

/// The most nodes of one lab; above it the addresses' last digits collide.
pub const MAX_NODES: usize = 80;
/// The most clients on the LAN.
pub const MAX_CLIENTS: usize = 90;
/// The most routers.
pub const MAX_ROUTERS: usize = 8;

/// The AS number of every router of the lab (16 bit, private use, RFC 6996).
pub const ROUTER_ASN: u32 = 64513;
/// The AS number that routers expect the cluster's nodes to have.
pub const CLUSTER_ASN: u32 = 64512;

/// The control plane's address on the management network.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The API server's port, inside the lab.
pub const API_PORT: u16 = 6443;
/// The port of the API's plain text proxy, on the control plane's loopback only.
pub const API_PROXY_PORT: u16 = 8001;
/// The Services' networks, as kube-apiserver takes them.
pub const SERVICE_CIDRS: &str = "10.96.0.0/16,fd00:96::/112";
/// The pods' networks of the whole cluster, as kube-proxy takes them.
pub const CLUSTER_CIDRS: &str = "10.244.0.0/16,fd00:10:244::/48";

/// The two addresses and the MAC of one machine on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// IPv4 address; the prefix length is 24.
    pub v4: Ipv4Addr,
    /// IPv6 address; the prefix length is 64.
    pub v6: Ipv6Addr,
    /// Hardware address of `eth0`.
    pub mac: [u8; 6],
}

/// Node `index` (from 1) on the LAN.
pub fn node(index: usize) -> Station {
    station(1, 10 + index)
}

/// Client `index` (from 1) on the LAN.
pub fn client(index: usize) -> Station {
    station(2, 100 + index)
}

/// Router `index` (from 1) on the LAN.
pub fn router(index: usize) -> Station {
    station(3, index)
}

/// The router's own address (`host` 1) or its far client's (`host` 2) on the
/// network behind router `index` (from 1).
pub fn far(index: usize, host: u8) -> Station {
    let digit = last_digits(150 + index);
    Station {
        v4: Ipv4Addr::new(192, 168, digit, host),
        v6: Ipv6Addr::new(0xfd00, digits_as_hex(150 + index), 0, 0, 0, 0, 0, u16::from(host)),
        mac: [2, 0, 0, 0, digit, host],
    }
}

/// The management address of node `index` (from 1).
pub fn management(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, last_digits(10 + index))
}

/// The pods' networks of node `index` (from 1): IPv4 /24, IPv6 /64.
pub fn pod_cidrs(index: usize) -> (String, String) {
    (format!("10.244.{index}.0/24"), format!("fd00:10:244:{index}::/64"))
}

fn station(kind: u8, host: usize) -> Station {
    Station {
        v4: Ipv4Addr::new(192, 168, 100, last_digits(host)),
        v6: Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, digits_as_hex(host)),
        mac: [2, 0, 0, 0, kind, last_digits(host)],
    }
}

/// `Spec::check` bounds every index, so that this never meets a larger number.
fn last_digits(host: usize) -> u8 {
    u8::try_from(host).unwrap_or(u8::MAX)
}

/// 11 becomes 0x11, so that `192.168.100.11` is `fd00:100::11`.
fn digits_as_hex(number: usize) -> u16 {
    u16::from_str_radix(&number.to_string(), 16).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_of_a_machine_end_in_the_same_digits() {
        assert_eq!(node(1).v4.to_string(), "192.168.100.11");
        assert_eq!(node(1).v6.to_string(), "fd00:100::11");
        assert_eq!(client(2).v6.to_string(), "fd00:100::102");
        assert_eq!(far(1, 2).v4.to_string(), "192.168.151.2");
        assert_eq!(far(1, 2).v6.to_string(), "fd00:151::2");
    }

    #[test]
    fn no_two_machines_share_an_address() {
        let all: Vec<Station> = (1..=MAX_NODES)
            .map(node)
            .chain((1..=MAX_CLIENTS).map(client))
            .chain((1..=MAX_ROUTERS).map(router))
            .collect();
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert!(a.v4 != b.v4 && a.v6 != b.v6 && a.mac != b.mac, "{a:?} and {b:?}");
            }
        }
    }
}
