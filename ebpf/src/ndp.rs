//! Neighbour discovery for owned addresses (RFC 4861, RFC 4862 §5.4).
//!
//! Solicitations are checked in full (§7.1.1) before they are answered, but only
//! once the filter says that they may concern a managed address: the rest is the
//! host's to judge. A packet with extension headers before ICMPv6 passes; no host
//! sends such solicitations, and fragmented ones must be ignored (RFC 6980 §5).

use bytemuck::{Pod, Zeroable};
use clarion_abi::{Filter, KeyV6, MAX_OPTION_UNITS, Outcome, Slot, words};

use crate::checksum::Sum;
use crate::frame::{Ethernet, Frame, Standing, Tables, claim, is_station, reaches, standing};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Ipv6 {
    /// Version, traffic class, flow label.
    first: [u8; 4],
    pub(crate) payload: [u8; 2],
    pub(crate) next: u8,
    hops: u8,
    pub(crate) source: Address,
    pub(crate) destination: Address,
}

/// Solicitation and advertisement have one layout (§4.3, §4.4).
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Message {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    flags: [u8; 4],
    target: Address,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinkLayerOption {
    kind: u8,
    units: u8,
    mac: [u8; 6],
}

/// A whole advertisement with its target link-layer option.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Answer {
    ip: Ipv6,
    message: Message,
    option: LinkLayerOption,
}

/// An address in words: it is compared and copied whole, never by bytes.
type Words = [u64; 2];

/// An address in a packet. Read as bytes that are joined to words it would cost the
/// compiler's dozen of shifts instead of two loads.
#[repr(C, packed)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Address(Words);

impl Address {
    #[inline(always)]
    pub(crate) fn words(self) -> Words {
        self.0
    }
}

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const HEADER: usize = 40;
const MESSAGE: usize = 24;
/// What an answer's IPv6 header announces: message and option.
const ANSWER_LENGTH: u16 = 32;
const ANSWER: usize = ANSWER_LENGTH as usize;
const _: () = assert!(ANSWER == MESSAGE + size_of::<LinkLayerOption>());

const UNSPECIFIED: Words = [0; 2];
const ALL_NODES: Words = words([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// `ff02::1:ff00:0/104` and its mask.
const SOLICITED_NODE: Words = words([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0]);
const SOLICITED_NODE_MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]);

/// Whether an address is a group's, `ff00::/8`.
#[inline(always)]
fn is_group(address: Words) -> bool {
    const FIRST: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0, 0, 0, 0]);
    address[0] & FIRST == FIRST
}

#[inline(always)]
fn is_solicited_node(address: Words) -> bool {
    address[0] == SOLICITED_NODE[0] && address[1] & SOLICITED_NODE_MASK == SOLICITED_NODE[1]
}

/// Which message of neighbour discovery the IPv6 packet at offset `AT` is; `None`:
/// another packet.
#[inline(always)]
pub(crate) fn kind<F: Frame, const AT: usize>(frame: &F) -> Option<u8> {
    if frame.view::<Ipv6>(AT)?.next != ICMPV6 {
        return None;
    }
    let kind = frame.view::<[u8; 1]>(AT + HEADER)?[0];
    (kind == SOLICITATION || kind == ADVERTISEMENT).then_some(kind)
}

/// Handles the IPv6 packet at offset `AT`, received on a VLAN (0 = none).
/// `None`: no neighbour discovery.
#[inline(always)]
pub(crate) fn handle<F: Frame, T: Tables, const AT: usize>(
    frame: &mut F,
    tables: &T,
    vlan: u16,
) -> Option<Outcome> {
    let ip = frame.view::<Ipv6>(AT)?;
    if ip.next != ICMPV6 {
        return None;
    }
    // The whole message at once: one comparison with the frame's end for nearly all.
    let Some(message) = frame.view::<Message>(AT + HEADER) else {
        return kind::<F, AT>(frame).map(|_| Outcome::NdpMalformed);
    };
    let target = message.target.words();
    match (message.kind, tables.filter()) {
        (SOLICITATION, Some(filter)) if !filter.has_either_v6(ip.source.words(), target) => {
            Some(Outcome::NdpOther)
        }
        (SOLICITATION, filter) => Some(solicitation::<F, T, AT>(frame, tables, vlan, filter)),
        (ADVERTISEMENT, Some(filter)) if !filter.has_v6(target) => Some(Outcome::NdpAdvertisement),
        (ADVERTISEMENT, _) => Some(advertisement::<F, T, AT>(frame, tables, vlan)),
        _ => None,
    }
}

/// What the answer needs of a valid message.
struct Checked {
    source: Words,
    destination: Words,
    target: Words,
    ethernet_source: [u8; 6],
    ethernet_destination: [u8; 6],
    /// The link-layer address option, zero when there is none.
    option: [u8; 6],
}

impl Checked {
    /// The sender's station: what the option says, else who sent the frame.
    #[inline(always)]
    fn station(&self) -> [u8; 6] {
        if self.option == [0; 6] { self.ethernet_source } else { self.option }
    }
}

/// Why a message is not acted upon.
enum Refusal {
    /// Against RFC 4861 §7.1.
    Malformed,
    /// More options than are read here.
    Long,
}

/// The checks that solicitations and advertisements share (RFC 4861 §7.1.1 and
/// §7.1.2): hop limit, checksum, code, length, target, options.
#[inline(always)]
fn check<F: Frame, const AT: usize>(frame: &F, wanted_option: u8) -> Result<Checked, Refusal> {
    let ethernet = frame.view::<Ethernet>(0).ok_or(Refusal::Malformed)?;
    let ip = frame.view::<Ipv6>(AT).ok_or(Refusal::Malformed)?;
    let message = frame.view::<Message>(AT + HEADER).ok_or(Refusal::Malformed)?;
    let announced = u16::from_be_bytes(ip.payload);
    let length = usize::from(announced);
    let (source, destination, target) = (ip.source.words(), ip.destination.words(), message.target.words());
    if ip.first[0] >> 4 != 6
        || ip.hops != 255
        || message.code != 0
        || length < MESSAGE
        || length > frame.len().wrapping_sub(AT + HEADER)
        || !length.is_multiple_of(8)
        || is_group(target)
        || is_group(source)
        || !is_station(ethernet.source)
    {
        return Err(Refusal::Malformed);
    }
    let units = (length - MESSAGE) / 8;
    if units > MAX_OPTION_UNITS {
        return Err(Refusal::Long);
    }
    let mut sum = Sum::default();
    sum.address(source);
    sum.address(destination);
    sum.number(announced);
    sum.number(u16::from(ICMPV6));
    sum.message(message);
    let option = options::<F, AT>(frame, units, wanted_option, &mut sum).ok_or(Refusal::Malformed)?;
    if sum.fold() != 0xffff {
        return Err(Refusal::Malformed);
    }
    Ok(Checked {
        source,
        destination,
        target,
        ethernet_source: ethernet.source,
        ethernet_destination: ethernet.destination,
        option,
    })
}

/// Sums the options and finds the link-layer address. `None`: an option of length
/// zero or beyond the end, or an address that is no station's.
#[inline(always)]
fn options<F: Frame, const AT: usize>(frame: &F, units: usize, wanted: u8, sum: &mut Sum) -> Option<[u8; 6]> {
    let mut found = [0; 6];
    // Units of the present option that are still to come. Options are whole
    // units, so one pass over units both sums and parses.
    let mut rest = 0_u8;
    for unit in 0..MAX_OPTION_UNITS {
        if unit >= units {
            break;
        }
        let option = frame.view::<LinkLayerOption>(AT + HEADER + MESSAGE + unit * 8)?;
        sum.unit(option);
        if rest > 0 {
            rest -= 1;
            continue;
        }
        if option.units == 0 {
            return None;
        }
        rest = option.units - 1;
        if option.kind == wanted {
            // Six bytes fill one unit; a longer one is of another link type.
            if option.units != 1 || !is_station(option.mac) {
                return None;
            }
            found = option.mac;
        }
    }
    (rest == 0).then_some(found)
}

#[inline(always)]
fn solicitation<F: Frame, T: Tables, const AT: usize>(
    frame: &mut F,
    tables: &T,
    vlan: u16,
    filter: Option<&Filter>,
) -> Outcome {
    let checked = match check::<F, AT>(frame, SOURCE_LINK_LAYER) {
        Ok(checked) => checked,
        Err(Refusal::Malformed) => return Outcome::NdpMalformed,
        Err(Refusal::Long) => return Outcome::NdpUnanswerable,
    };
    let detects = checked.source == UNSPECIFIED;
    if detects && (!is_solicited_node(checked.destination) || checked.option != [0; 6]) {
        return Outcome::NdpMalformed;
    }
    let claims = filter.is_none_or(|filter| filter.has_v6(checked.source));
    if claims
        && let Some(slot) = lookup(tables, vlan, checked.source)
        && let Some(outcome) = claim(tables, &slot, checked.station(), Outcome::NdpConflict)
    {
        return outcome;
    }
    let Some(slot) = lookup(tables, vlan, checked.target) else { return Outcome::NdpOther };
    match standing(tables, &slot) {
        Standing::Stale => return Outcome::Stale,
        Standing::Silence => return Outcome::NdpSilenced,
        Standing::Fenced => return Outcome::Fenced,
        Standing::Answer => {}
    }
    let for_us = is_group(checked.destination) || checked.destination == checked.target;
    if !for_us || !reaches(checked.ethernet_destination, slot.station) {
        return Outcome::NdpElsewhere;
    }
    if !write::<F, AT>(frame, &checked, &slot, detects) {
        return Outcome::NdpUnanswerable;
    }
    tables.answered(slot.counter);
    if detects { Outcome::NdpDadAnswered } else { Outcome::NdpAnswered }
}

#[inline(always)]
fn advertisement<F: Frame, T: Tables, const AT: usize>(frame: &mut F, tables: &T, vlan: u16) -> Outcome {
    let checked = match check::<F, AT>(frame, TARGET_LINK_LAYER) {
        Ok(checked) => checked,
        Err(Refusal::Malformed) => return Outcome::NdpMalformed,
        Err(Refusal::Long) => return Outcome::NdpAdvertisement,
    };
    // §7.1.2: what is sent to many was solicited by none.
    let flags = frame.view::<Message>(AT + HEADER).map_or(0, |message| message.flags[0]);
    if is_group(checked.destination) && flags & SOLICITED != 0 {
        return Outcome::NdpMalformed;
    }
    lookup(tables, vlan, checked.target)
        .and_then(|slot| claim(tables, &slot, checked.station(), Outcome::NdpConflict))
        .unwrap_or(Outcome::NdpAdvertisement)
}

#[inline(always)]
fn lookup<T: Tables>(tables: &T, vlan: u16, address: Words) -> Option<Slot> {
    tables.v6(&KeyV6 { ifindex: tables.ifindex(), vlan, pad: 0, address })
}

/// Turns the solicitation into the advertisement (§7.2.4). Who detects duplicates
/// has no address yet: all nodes are told, unsolicited (RFC 4862 §5.4.3).
#[inline(always)]
fn write<F: Frame, const AT: usize>(frame: &mut F, asked: &Checked, slot: &Slot, detects: bool) -> bool {
    let whole = AT + HEADER + ANSWER;
    if frame.len() != whole && !frame.resize(whole) {
        return false;
    }
    let (to, to_mac, flags) = if detects {
        (ALL_NODES, ALL_NODES_MAC, OVERRIDE)
    } else {
        (asked.source, asked.station(), SOLICITED | OVERRIDE)
    };
    let mut message = Message {
        kind: ADVERTISEMENT,
        code: 0,
        checksum: [0; 2],
        flags: [flags, 0, 0, 0],
        target: Address(asked.target),
    };
    let option = LinkLayerOption { kind: TARGET_LINK_LAYER, units: 1, mac: slot.mac };
    let mut sum = Sum::default();
    sum.address(asked.target);
    sum.address(to);
    sum.number(ANSWER_LENGTH);
    sum.number(u16::from(ICMPV6));
    sum.message(&message);
    sum.unit(&option);
    message.checksum = (!sum.fold()).to_ne_bytes();

    let answer = Answer {
        ip: Ipv6 {
            first: [0x60, 0, 0, 0],
            payload: ANSWER_LENGTH.to_be_bytes(),
            next: ICMPV6,
            hops: 255,
            source: Address(asked.target),
            destination: Address(to),
        },
        message,
        option,
    };
    frame.put(AT, &answer) && frame.put(0, &[to_mac, slot.station])
}

impl Sum {
    #[inline(always)]
    fn message(&mut self, message: &Message) {
        let [low, high] = message.checksum;
        self.word([message.kind, message.code, low, high]);
        self.word(message.flags);
        self.address(message.target.words());
    }

    #[inline(always)]
    fn unit(&mut self, option: &LinkLayerOption) {
        let [a, b, c, d, e, f] = option.mac;
        self.word([option.kind, option.units, a, b]);
        self.word([c, d, e, f]);
    }
}
