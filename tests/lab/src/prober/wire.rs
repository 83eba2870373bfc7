//! The frames of a question and its answer: ARP (RFC 826), NDP (RFC 4861 §4.3,
//! §4.4). Written by hand and apart from the product's code: what checks a
//! codec must not be that codec.

use crate::addressing::Station;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETHER_ARP: [u8; 2] = [0x08, 0x06];
const ETHER_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
/// Ethernet and IPv6 headers.
const ICMP_AT: usize = 14 + 40;

/// "Who has `target`", from `me`, to everybody.
pub(super) fn arp_request(me: &Station, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend([0xff; 6]);
    frame.extend(me.mac);
    frame.extend(ETHER_ARP);
    // Ethernet, IPv4, lengths 6 and 4, operation 1.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(me.mac);
    frame.extend(me.v4.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A neighbour solicitation for `target`, to its solicited-node group.
pub(super) fn neighbour_solicitation(me: &Station, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut icmp = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(target.octets());
    icmp.extend([OPTION_SOURCE, 1]);
    icmp.extend(me.mac);
    let sum = checksum(me.v6, group, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Vec::with_capacity(ICMP_AT + icmp.len());
    frame.extend([0x33, 0x33, 0xff, a, b, c]);
    frame.extend(me.mac);
    frame.extend(ETHER_IPV6);
    frame.extend([0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame.extend(me.v6.octets());
    frame.extend(group.octets());
    frame.extend(icmp);
    frame
}

/// The named MAC and the frame's sender, when the frame answers for `target`.
pub(super) fn answer(frame: &[u8], target: IpAddr) -> Option<([u8; 6], [u8; 6])> {
    let from = array(frame, 6)?;
    let ether = frame.get(12..14)?;
    match target {
        IpAddr::V4(target) => {
            let reply =
                ether == ETHER_ARP && frame.get(20..22)? == [0, 2] && frame.get(28..32)? == target.octets();
            reply.then_some((array(frame, 22)?, from))
        }
        IpAddr::V6(target) => {
            let icmp = frame.get(ICMP_AT..)?;
            let fits = ether == ETHER_IPV6
                && frame[20] == ICMPV6
                && frame[21] == 255
                && *icmp.first()? == NEIGHBOUR_ADVERTISEMENT
                && icmp.get(8..24)? == target.octets();
            // Without the option the answer names the sender itself.
            let named = target_option(icmp.get(24..)?).unwrap_or(from);
            fits.then_some((named, from))
        }
    }
}

fn target_option(mut options: &[u8]) -> Option<[u8; 6]> {
    while let [kind, units, ..] = *options {
        if kind == OPTION_TARGET {
            return array(options, 2);
        }
        // Length 0 would not end (RFC 4861 §4.6).
        options = options.get(usize::from(units.max(1)) * 8..)?;
    }
    None
}

fn array(bytes: &[u8], at: usize) -> Option<[u8; 6]> {
    bytes.get(at..at + 6)?.try_into().ok()
}

/// RFC 4443 §2.3, over the pseudo-header of RFC 8200 §8.1.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, icmp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
            .sum()
    };
    let length = u32::try_from(icmp.len()).unwrap_or(0);
    let mut sum = words(&from.octets()) + words(&to.octets()) + length + u32::from(ICMPV6) + words(icmp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Two folds leave 16 bits.
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addressing::{client, node};

    #[test]
    fn an_arp_reply_names_its_sender() {
        let target = Ipv4Addr::new(192, 168, 100, 200);
        let mut frame = arp_request(&client(1), target);
        assert_eq!(answer(&frame, target.into()), None, "a request is no answer");
        // Turn the request into the node's reply.
        let mac = node(1).mac;
        frame[6..12].copy_from_slice(&mac);
        frame[21] = 2;
        frame[22..28].copy_from_slice(&mac);
        frame[28..32].copy_from_slice(&target.octets());
        assert_eq!(answer(&frame, target.into()), Some((mac, mac)));
        assert_eq!(answer(&frame, Ipv4Addr::new(192, 168, 100, 201).into()), None);
    }

    #[test]
    fn every_cut_of_an_advertisement_is_refused_or_read_and_never_panics() {
        let target: Ipv6Addr = "fd00:100::200".parse().expect("parses");
        let mut frame = neighbour_solicitation(&client(1), target);
        frame[ICMP_AT] = NEIGHBOUR_ADVERTISEMENT;
        frame[ICMP_AT + 24] = OPTION_TARGET;
        for end in 0..frame.len() {
            // Shorter than the target it must not match.
            assert!(end >= ICMP_AT + 24 || answer(&frame[..end], target.into()).is_none());
        }
        let me = client(1).mac;
        assert_eq!(answer(&frame, target.into()), Some((me, me)));
    }

    #[test]
    fn the_checksum_of_a_checked_message_is_zero() {
        let target: Ipv6Addr = "fd00:100::200".parse().expect("parses");
        let frame = neighbour_solicitation(&client(1), target);
        let to = Ipv6Addr::from(<[u8; 16]>::try_from(&frame[38..54]).expect("16 bytes"));
        assert_eq!(checksum(client(1).v6, to, &frame[ICMP_AT..]), 0);
    }
}
