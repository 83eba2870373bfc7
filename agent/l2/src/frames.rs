//! The frames that tell a segment who has an address: gratuitous ARP in both
//! forms (RFC 5227 §3, RFC 5944 §4.6; MetalLB sends both, contract §4.3, since
//! hosts differ in which they believe) and the unsolicited neighbour
//! advertisement (RFC 4861 §7.2.6).

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Bytes of a gratuitous ARP frame, padding to Ethernet's minimum left to the NIC.
pub const ARP_FRAME_LEN: usize = 14 + 28;
/// Bytes of an unsolicited neighbour advertisement with its link-layer option.
pub const NA_FRAME_LEN: usize = 14 + 40 + 32;

const BROADCAST: Mac = [0xff; 6];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// ff02::1 as Ethernet sends it (RFC 2464 §7).
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Override set, Solicited and Router clear (RFC 4861 §4.4, §7.2.6).
const FLAG_OVERRIDE: u8 = 0x20;
/// Target link-layer address, one unit of eight octets (RFC 4861 §4.6.1).
const OPTION_TARGET_LLA: [u8; 2] = [2, 1];
/// Receivers drop any other hop limit (RFC 4861 §7.1.2).
const HOP_LIMIT: u8 = 255;
/// ICMPv6 header, reserved word, target, one option.
const NA_LEN: u8 = 32;

/// Which of the two ARP operations a gratuitous frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gratuitous {
    /// Operation 1, an announcement as in RFC 5227 §3.
    Request,
    /// Operation 2, which some hosts and switches want.
    Reply,
}

/// Announces that `mac` has `address`, to everybody on the segment. The target
/// hardware address is broadcast, as MetalLB sends it.
#[must_use]
pub fn gratuitous_arp(form: Gratuitous, mac: Mac, address: Ipv4Addr) -> [u8; ARP_FRAME_LEN] {
    let operation = match form {
        Gratuitous::Request => [0, 1],
        Gratuitous::Reply => [0, 2],
    };
    let octets = address.octets();
    join(&[
        &BROADCAST,
        &mac,
        &ETHERTYPE_ARP,
        // Ethernet, IPv4, lengths 6 and 4.
        &[0, 1, 8, 0, 6, 4],
        &operation,
        &mac,
        &octets,
        &BROADCAST,
        &octets,
    ])
}

/// Announces to all nodes that `mac` has `address` and that this overrides what
/// they hold. `source` is an address of the sending interface, its link-local
/// one as a rule.
#[must_use]
pub fn unsolicited_na(mac: Mac, source: Ipv6Addr, address: Ipv6Addr) -> [u8; NA_FRAME_LEN] {
    let (src, dst, target) = (source.octets(), ALL_NODES.octets(), address.octets());
    let checksum = Sum16BitWords::new()
        .add_16bytes(src)
        .add_16bytes(dst)
        .add_2bytes([0, NA_LEN])
        .add_2bytes([0, ICMPV6])
        .add_2bytes([NEIGHBOR_ADVERTISEMENT, 0])
        .add_2bytes([FLAG_OVERRIDE, 0])
        .add_16bytes(target)
        .add_2bytes(OPTION_TARGET_LLA)
        .add_2bytes([mac[0], mac[1]])
        .add_4bytes([mac[2], mac[3], mac[4], mac[5]])
        .ones_complement()
        .to_be();
    join(&[
        &ALL_NODES_MAC,
        &mac,
        &ETHERTYPE_IPV6,
        &[0x60, 0, 0, 0, 0, NA_LEN, ICMPV6, HOP_LIMIT],
        &src,
        &dst,
        &[NEIGHBOR_ADVERTISEMENT, 0],
        &checksum.to_be_bytes(),
        &[FLAG_OVERRIDE, 0, 0, 0],
        &target,
        &OPTION_TARGET_LLA,
        &mac,
    ])
}

/// The multicast group that solicitations for `address` go to (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node_group(address: Ipv6Addr) -> Ipv6Addr {
    let last = address.octets();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&last[13..]);
    Ipv6Addr::from(group)
}

/// The parts one behind the other. Their lengths add up to `N` by construction;
/// the byte-for-byte tests hold it to that.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut frame = [0; N];
    for (to, from) in frame.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
    debug_assert_eq!(parts.iter().map(|p| p.len()).sum::<usize>(), N);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    const MAC: Mac = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee];

    #[test]
    fn gratuitous_arp_byte_for_byte() {
        let address = Ipv4Addr::new(192, 0, 2, 10);
        let expected = |operation: u8| {
            [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x08,
                0x06, // Ethernet
                0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, operation, // ARP
                0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 192, 0, 2, 10, // sender
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 10, // target
            ]
        };
        assert_eq!(gratuitous_arp(Gratuitous::Request, MAC, address), expected(1));
        assert_eq!(gratuitous_arp(Gratuitous::Reply, MAC, address), expected(2));
    }

    #[test]
    fn unsolicited_na_byte_for_byte() {
        let frame =
            unsolicited_na(MAC, "fe80::aa:bbff:fecc:ddee".parse().unwrap(), "2001:db8::1:2".parse().unwrap());
        let expected = [
            0x33, 0x33, 0, 0, 0, 1, 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x86, 0xdd, // Ethernet
            0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x00, 0xaa, 0xbb, 0xff, 0xfe, 0xcc, 0xdd, 0xee, // source
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // destination
            136, 0, 0xf4, 0x97, 0x20, 0, 0, 0, // ICMPv6, checksum, flags
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, // target
            2, 1, 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, // option
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn another_parser_agrees_with_the_checksum() {
        for address in ["2001:db8::1:2", "fd00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"] {
            let frame = unsolicited_na([0xff; 6], "fe80::1".parse().unwrap(), address.parse().unwrap());
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) =
                (packet.net, packet.transport)
            else {
                panic!("{address}: no ICMPv6 in {frame:02x?}");
            };
            let header = ip.header();
            assert!(icmp.is_checksum_valid(header.source(), header.destination()), "{address}");
            assert_eq!(header.hop_limit(), 255);
        }
    }

    #[test]
    fn groups_take_the_last_three_octets() {
        let group = solicited_node_group("4037::01:800:200e:8c6c".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ff0e:8c6c", "the example of RFC 4291 §2.7.1");
    }
}
