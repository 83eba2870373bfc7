//! ARP for owned addresses (RFC 826, RFC 5227).
//!
//! The answer goes to the sender's hardware address *in the ARP body*, as RFC 826
//! says ("send the packet to the (new) target hardware address"), whatever the
//! Ethernet source was. The two need not be equal: no RFC asks for it, and VRRP
//! routers, proxies and wireless bridges send such requests, which Linux answers
//! too. Both must be stations, though: an answer to a group or to the zero address
//! would be a broadcast on a stranger's behalf (RFC 1812 §3.3.2).

use bytemuck::{Pod, Zeroable};
use clarion_abi::{Filter, KeyV4, Outcome};

use crate::frame::{Ethernet, Frame, Standing, Tables, claim, is_station, reaches, standing};

/// An ARP packet for IPv4 over Ethernet.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Arp {
    /// Hardware type, protocol type, their address lengths, operation.
    head: [u8; 8],
    sender_mac: [u8; 6],
    sender: [u8; 4],
    target_mac: [u8; 6],
    target: [u8; 4],
}

/// Ethernet (1), IPv4 (0x0800), lengths 6 and 4, then the operation.
const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
const REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
/// The part of the head that every ARP packet shares.
const FORMAT: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// Handles the ARP packet at offset `AT`, received on a VLAN (0 = none).
#[inline(always)]
pub(crate) fn handle<F: Frame, T: Tables, const AT: usize>(frame: &mut F, tables: &T, vlan: u16) -> Outcome {
    let Some(arp) = frame.view::<Arp>(AT) else { return Outcome::ArpMalformed };
    let head = u64::from_ne_bytes(arp.head);
    let filter = tables.filter();
    // Requests are most of what there is: one comparison, and one test of both bits.
    if head == u64::from_ne_bytes(REQUEST) {
        return match filter {
            Some(filter) if !filter.has_either_v4(arp.sender, arp.target) => Outcome::ArpOther,
            _ => managed::<F, T, AT>(frame, tables, vlan, filter, true),
        };
    }
    if (head ^ u64::from_ne_bytes(REQUEST)) & FORMAT != 0 {
        return Outcome::ArpMalformed;
    }
    match filter {
        Some(filter) if !filter.has_v4(arp.sender) => Outcome::ArpNoRequest,
        _ => managed::<F, T, AT>(frame, tables, vlan, filter, false),
    }
}

/// The rare part: sender or target may be managed here.
#[inline(always)]
fn managed<F: Frame, T: Tables, const AT: usize>(
    frame: &mut F,
    tables: &T,
    vlan: u16,
    filter: Option<&Filter>,
    is_request: bool,
) -> Outcome {
    let (Some(ethernet), Some(arp)) = (frame.view::<Ethernet>(0), frame.view::<Arp>(AT)) else {
        return Outcome::ArpMalformed;
    };
    if !is_station(ethernet.source) || !is_station(arp.sender_mac) {
        return Outcome::ArpMalformed;
    }
    let destination = ethernet.destination;
    let (sender_mac, sender, target) =
        (arp.sender_mac, u32::from_ne_bytes(arp.sender), u32::from_ne_bytes(arp.target));
    let claims = filter.is_none_or(|filter| filter.has_v4(arp.sender));
    if claims
        && let Some(slot) = tables.v4(&key(tables, vlan, sender))
        && let Some(outcome) = claim(tables, &slot, sender_mac, Outcome::ArpConflict)
    {
        return outcome;
    }
    // Who announces (sender is target, RFC 5227 §3) asks nothing, and must be
    // heard by the host although the address is silenced: it is the owner.
    if !is_request || sender == target {
        return Outcome::ArpNoRequest;
    }
    let Some(slot) = tables.v4(&key(tables, vlan, target)) else { return Outcome::ArpOther };
    match standing(tables, &slot) {
        Standing::Stale => return Outcome::Stale,
        Standing::Silence => return Outcome::ArpSilenced,
        Standing::Fenced => return Outcome::Fenced,
        Standing::Answer if !reaches(destination, slot.station) => return Outcome::ArpElsewhere,
        Standing::Answer => {}
    }
    let answer = Arp {
        head: REPLY,
        sender_mac: slot.mac,
        sender: target.to_ne_bytes(),
        target_mac: sender_mac,
        target: sender.to_ne_bytes(),
    };
    if !write::<F, AT>(frame, &answer, slot.station) {
        return Outcome::ArpMalformed;
    }
    tables.answered(slot.counter);
    // 0.0.0.0 is a probe (RFC 5227 §2.1.1): the answer tells it to stay away.
    if sender == 0 { Outcome::ArpProbeAnswered } else { Outcome::ArpAnswered }
}

#[inline(always)]
fn key<T: Tables>(tables: &T, vlan: u16, address: u32) -> KeyV4 {
    KeyV4 { ifindex: tables.ifindex(), address, vlan, pad: 0 }
}

/// Turns the request into the answer; what follows it stays as padding.
#[inline(always)]
fn write<F: Frame, const AT: usize>(frame: &mut F, answer: &Arp, station: [u8; 6]) -> bool {
    // While the address is handed over the answer names another station. That one's
    // MAC as the source would have switches look for it here.
    frame.put(AT, answer) && frame.put(0, &[answer.target_mac, station])
}
