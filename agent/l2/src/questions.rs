//! Questions to the segment, and their answers: who has an address, asked by one
//! who is not its owner (RFC 5227 §2.1.1, RFC 4862 §5.4.2), and whether a
//! neighbour lives.
//!
//! A question of the first kind names nobody as the address's owner, so that it
//! changes no cache: an ARP probe has the sender 0.0.0.0, a solicitation for
//! duplicate address detection comes from `::`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;

use crate::frames::{ARP_FRAME_LEN, Mac, solicited_node_group};

/// Bytes of a solicitation without options.
const NS_LEN: u8 = 24;
/// Bytes of the source link-layer address option.
const OPTION_LEN: u8 = 8;
const ETHERNET_LEN: usize = 14;
const IPV6_LEN: usize = 40;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;

/// Asks everybody on the segment for `target`. `source` is an address of the asking
/// interface, of the same family, to which the answer is sent; without one
/// (or with one of another family), the question is a probe for an address that
/// the asker might take.
#[must_use]
pub fn question(mac: Mac, source: Option<IpAddr>, target: IpAddr) -> Vec<u8> {
    match (target, source) {
        (IpAddr::V4(target), Some(IpAddr::V4(source))) => arp_request(mac, source, target),
        (IpAddr::V4(target), _) => arp_request(mac, Ipv4Addr::UNSPECIFIED, target),
        (IpAddr::V6(target), Some(IpAddr::V6(source))) => solicitation(mac, source, target),
        (IpAddr::V6(target), _) => solicitation(mac, Ipv6Addr::UNSPECIFIED, target),
    }
}

fn arp_request(mac: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ARP_FRAME_LEN);
    frame.extend([0xff; 6]);
    frame.extend(mac);
    // ARP; Ethernet, IPv4, lengths 6 and 4; a request.
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

fn solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node_group(target).octets();
    // No option where there is no source (RFC 4861 §4.3).
    let option = if source.is_unspecified() { None } else { Some([1, 1].into_iter().chain(mac)) };
    let length = NS_LEN + if option.is_some() { OPTION_LEN } else { 0 };
    let mut body = vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend(target.octets());
    body.extend(option.into_iter().flatten());
    let checksum = Sum16BitWords::new()
        .add_16bytes(source.octets())
        .add_16bytes(group)
        .add_2bytes([0, length])
        .add_2bytes([0, ICMPV6])
        .add_slice(&body)
        .ones_complement()
        .to_be()
        .to_be_bytes();
    body[2..4].copy_from_slice(&checksum);
    let mut frame = vec![0x33, 0x33];
    frame.extend(&group[12..]);
    frame.extend(mac);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, ICMPV6, HOP_LIMIT]);
    frame.extend(source.octets());
    frame.extend(group);
    frame.extend(body);
    frame
}

/// The station that a frame came from, and the address that it says it has: an ARP
/// reply or a neighbour advertisement. Anything else is `None`.
#[must_use]
pub fn answer(frame: &[u8]) -> Option<(Mac, IpAddr)> {
    let from: Mac = *frame.get(6..)?.first_chunk()?;
    let body = frame.get(ETHERNET_LEN..)?;
    match frame.get(12..ETHERNET_LEN)? {
        [0x08, 0x06] => {
            let reply = body.first_chunk::<8>()? == &[0, 1, 8, 0, 6, 4, 0, 2];
            let sender: [u8; 4] = *body.get(14..)?.first_chunk()?;
            (reply && sender != [0; 4]).then(|| (from, IpAddr::from(sender)))
        }
        [0x86, 0xdd] => {
            let (next, hops) = (*body.get(6)?, *body.get(7)?);
            let icmp = body.get(IPV6_LEN..)?;
            let advertisement =
                next == ICMPV6 && hops == HOP_LIMIT && *icmp.first()? == NEIGHBOR_ADVERTISEMENT;
            let target: [u8; 16] = *icmp.get(8..)?.first_chunk()?;
            advertisement.then(|| (from, IpAddr::from(target)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Gratuitous, gratuitous_arp, unsolicited_na};
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    const MAC: Mac = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee];

    #[test]
    fn an_arp_probe_byte_for_byte() {
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x08,
            0x06, // Ethernet
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // ARP
            0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0, 0, 0, 0, // sender
            0, 0, 0, 0, 0, 0, 192, 0, 2, 10, // target
        ];
        let target = IpAddr::from([192, 0, 2, 10]);
        assert_eq!(question(MAC, None, target), expected);
        assert_eq!(question(MAC, Some("fe80::1".parse().unwrap()), target), expected, "another family");
        let source = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(question(MAC, Some(source), target)[28..32], [192, 0, 2, 1]);
    }

    #[test]
    fn another_parser_agrees_with_solicitations() {
        for source in [None, Some("fe80::aa:1".parse().unwrap())] {
            let target: Ipv6Addr = "2001:db8::1:2".parse().unwrap();
            let frame = question(MAC, source, target.into());
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) =
                (packet.net, packet.transport)
            else {
                panic!("no ICMPv6 in {frame:02x?}");
            };
            let header = ip.header();
            let asked = source.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
            assert_eq!(IpAddr::V6(header.source_addr()), asked);
            assert_eq!(header.destination_addr(), solicited_node_group(target));
            assert!(icmp.is_checksum_valid(header.source(), header.destination()), "{source:?}");
            assert_eq!((header.hop_limit(), icmp.slice()[0]), (255, NEIGHBOR_SOLICITATION));
            assert_eq!(icmp.slice().len(), if source.is_some() { 32 } else { 24 });
            assert_eq!(frame[..6], [0x33, 0x33, 0xff, 1, 0, 2]);
        }
    }

    #[test]
    fn who_answers_is_read_and_nothing_else() {
        let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 10), "2001:db8::1:2".parse().unwrap());
        let reply = gratuitous_arp(Gratuitous::Reply, MAC, v4);
        assert_eq!(answer(&reply), Some((MAC, v4.into())));
        let advertisement = unsolicited_na(MAC, "fe80::1".parse().unwrap(), v6);
        assert_eq!(answer(&advertisement), Some((MAC, v6.into())));
        assert_eq!(answer(&question(MAC, None, v4.into())), None);
        assert_eq!(answer(&question(MAC, None, v6.into())), None);
        for frame in [&reply[..], &advertisement[..]] {
            for length in 0..frame.len() {
                let cut = answer(&frame[..length]);
                assert!(cut.is_none() || length >= 32, "{length}: {cut:?}");
            }
        }
    }
}
