//! Whether a peer is on a link of this node, as far as addresses tell.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

/// Whether one of this node's networks holds the address.
pub(super) fn on_link(peer: IpAddr) -> std::io::Result<bool> {
    let networks = getifaddrs()?.filter_map(|it| network(it.address?, it.netmask?));
    Ok(holds(networks, peer))
}

fn holds(mut networks: impl Iterator<Item = IpNet>, peer: IpAddr) -> bool {
    networks.any(|network| network.contains(&peer))
}

fn network(address: SockaddrStorage, mask: SockaddrStorage) -> Option<IpNet> {
    IpNet::with_netmask(ip(&address)?, ip(&mask)?).ok()
}

/// The address without its port; `None` for other families.
pub(super) fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => Some(address.as_sockaddr_in()?.ip().into()),
        nix::sys::socket::AddressFamily::Inet6 => Some(address.as_sockaddr_in6()?.ip().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_one_of_our_networks_is_near() {
        let networks: Vec<IpNet> =
            ["192.0.2.7/24", "2001:db8::7/64"].iter().map(|net| net.parse().unwrap()).collect();
        let near = |peer: &str| holds(networks.iter().copied(), peer.parse().unwrap());
        assert!(near("192.0.2.1") && near("2001:db8::1"));
        assert!(!near("192.0.3.1") && !near("2001:db8:1::1"));
    }

    #[test]
    fn loopback_is_a_network_of_every_host() {
        assert!(on_link("127.9.9.9".parse().unwrap()).unwrap());
    }
}
