//! What is odd about the addresses of a pool, although it is in force.
//!
//! MetalLB takes any address, and somebody's pool of `0.0.0.0/0` for explicit requests must go on
//! working: so nothing here is refused. What no host can have is never given away; what is
//! merely unwise is said in the pool's status.

use std::net::IpAddr;

use clarion_core::AddressRange;
use ipnet::IpNet;

use crate::model::Pool;

/// What can be no Service's address: this network, loopback, multicast and broadcast
/// (RFC 1122 §3.2.1.3); unspecified, loopback, IPv4 in IPv6, link-local and multicast
/// (RFC 4291 §2.4, §2.5.5.2).
const UNUSABLE: [(&str, &str); 9] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4 in IPv6"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

/// What is set apart for other ends (RFC 6890 and its successors). It works in some networks.
const RESERVED: [(&str, &str); 7] = [
    ("169.254.0.0/16", "link-local"),
    ("192.0.2.0/24", "documentation"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("198.18.0.0/15", "benchmarks"),
    ("240.0.0.0/4", "future use"),
    ("2001:db8::/32", "documentation"),
];

fn ranges(table: &[(&'static str, &'static str)]) -> impl Iterator<Item = (AddressRange, &'static str)> {
    // The table is right: a test reads all of it.
    table.iter().filter_map(|(net, what)| Some((net.parse::<IpNet>().ok()?.into(), *what)))
}

/// The networks that overlap one of the ranges and of which no host can have an address. They
/// count as excluded.
pub(crate) fn unusable_in(pool: &[AddressRange]) -> impl Iterator<Item = AddressRange> {
    let useless = ranges(&UNUSABLE).map(|(net, _)| net);
    useless.filter(|net| pool.iter().any(|range| range.overlaps(net)))
}

/// What somebody should know about the addresses of a pool: those that no host can have, those
/// reserved for something else, and those that `nodes` (name and address) have themselves. Sentences
/// with the remedy, for its status; addresses that are excluded are none of them.
pub fn remarks<'a>(pool: &Pool, nodes: impl IntoIterator<Item = (&'a str, IpAddr)>) -> Vec<String> {
    let mut remarks = Vec::new();
    for (net, what) in ranges(&UNUSABLE).filter(|(net, _)| pool.ranges.iter().any(|r| r.overlaps(net))) {
        remarks.push(format!(
            "no host can have the addresses of {net} ({what}): no Service gets them; remove them from addresses"
        ));
    }
    for (net, what) in ranges(&RESERVED).filter(|(net, _)| gives(pool, net)) {
        remarks.push(format!(
            "the addresses of {net} are reserved for {what}: routers and hosts may drop them; use others, or name them in excludeAddresses"
        ));
    }
    let mut own: Vec<_> = nodes.into_iter().filter(|(_, address)| pool.contains(*address)).collect();
    own.sort();
    for (node, address) in own {
        remarks.push(format!(
            "{address} is the address of node {node}: a Service that gets it makes the node unreachable; add it to excludeAddresses"
        ));
    }
    remarks
}

/// Whether the pool has an address of the network that is not excluded as a whole with its range.
fn gives(pool: &Pool, net: &AddressRange) -> bool {
    pool.ranges.iter().filter(|range| range.overlaps(net)).any(|range| {
        let (first, last) = (range.first().max(net.first()), range.last().min(net.last()));
        !pool.exclude.iter().any(|excluded| excluded.contains(first) && excluded.contains(last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_tables_is_readable() {
        assert_eq!(ranges(&UNUSABLE).count(), UNUSABLE.len());
        assert_eq!(ranges(&RESERVED).count(), RESERVED.len());
    }
}
