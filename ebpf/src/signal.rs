//! What the kernels of nodes say to one another (`clarion_fence`): probes, answers,
//! questions for votes, votes; in UDP over IPv4 and IPv6.
//!
//! Another datagram to the same port, or anything that is not for this node, passes
//! untouched. What is for this node and not properly tagged is dropped. An answer
//! leaves by the interface and to the station that the question came from, with
//! addresses and ports exchanged; its hop limit is what was left of the question's.
//!
//! The UDP checksum of what comes is not read: the tag says more, and a frame from
//! the same host may carry only the beginning of one (checksum offload).

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};
use clarion_abi::Outcome;
use clarion_fence::{
    Asked, Kind, LEN, Message, Own, Peer, Received, Rejected, Wire, addressee, answer, answer_stranger, ask,
    open, receive, seal,
};

use crate::checksum::Sum;
use crate::frame::{Access, Ethernet, Frame, Tables, is_station};
use crate::ndp::Ipv6;

/// Next header, and protocol, of UDP.
pub(crate) const UDP: u8 = 17;

/// An IPv4 header without options.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Ipv4 {
    /// Version and header length.
    first: u8,
    service: u8,
    length: [u8; 2],
    identification: [u8; 2],
    /// Flags and fragment offset.
    fragment: [u8; 2],
    hops: u8,
    protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Udp {
    source: [u8; 2],
    destination: [u8; 2],
    length: [u8; 2],
    checksum: [u8; 2],
}

/// UDP's header and a signal.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Datagram {
    udp: Udp,
    wire: Wire,
}

const HEADER4: usize = 20;
const HEADER6: usize = 40;
/// Length of a signal's datagram.
const LENGTH: u16 = 72;
const _: () = assert!(LENGTH as usize == size_of::<Udp>() + LEN);
/// The same with its IPv4 header.
const WHOLE4: u16 = 20 + LENGTH;
/// Version 4, five words.
const PLAIN: u8 = 0x45;
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fff_u16.to_be();

/// Where in a frame a signal may be.
#[derive(Clone, Copy)]
pub(crate) struct Signal {
    /// The IP header.
    ip: usize,
    /// The UDP header.
    udp: usize,
    is_v6: bool,
}

/// The signal, by length and port, in the IPv4 packet at offset `AT`.
#[inline(always)]
pub(crate) fn in_v4<F: Frame, T: Tables, const AT: usize>(frame: &F, tables: &T) -> Option<Signal> {
    let udp = AT + HEADER4;
    let found = frame.view::<Ipv4>(AT)?.protocol == UDP && is_signal(frame, tables, udp);
    found.then_some(Signal { ip: AT, udp, is_v6: false })
}

/// The same in an IPv6 packet.
#[inline(always)]
pub(crate) fn in_v6<F: Frame, T: Tables, const AT: usize>(frame: &F, tables: &T) -> Option<Signal> {
    let udp = AT + HEADER6;
    let found = frame.view::<Ipv6>(AT)?.next == UDP && is_signal(frame, tables, udp);
    found.then_some(Signal { ip: AT, udp, is_v6: true })
}

/// Whether the datagram at offset `at` has a signal's length and port. Of other
/// people's UDP hardly any has the length, so no map is read for it.
#[inline(always)]
fn is_signal<F: Frame, T: Tables>(frame: &F, tables: &T, at: usize) -> bool {
    let Some(udp) = frame.view::<Udp>(at) else { return false };
    if u16::from_be_bytes(udp.length) != LENGTH {
        return false;
    }
    let port = tables.port();
    port != 0 && u16::from_ne_bytes(udp.destination) == port
}

/// Whether the IP header says what the datagram does: one packet, of that length.
#[inline(always)]
fn is_whole<F: Frame>(frame: &F, signal: Signal) -> bool {
    if signal.is_v6 {
        return frame.view::<Ipv6>(signal.ip).is_some_and(|ip| u16::from_be_bytes(ip.payload) == LENGTH);
    }
    let Some(ip) = frame.view::<Ipv4>(signal.ip) else { return false };
    ip.first == PLAIN
        && u16::from_be_bytes(ip.length) == WHOLE4
        && u16::from_ne_bytes(ip.fragment) & FRAGMENT == 0
}

/// Judges a signal, and turns it into the answer if there is one. `None`: it is none.
#[inline(always)]
pub(crate) fn handle<F: Frame, T: Tables>(frame: &mut F, tables: &T, signal: Signal) -> Option<Outcome> {
    let Some(datagram) = frame.view::<Datagram>(signal.udp) else { return Some(Outcome::SignalMalformed) };
    if !is_whole(frame, signal) {
        return Some(Outcome::SignalMalformed);
    }
    // An agent's datagram of that length.
    let to = addressee(&datagram.wire)?;
    let (Some(own), Some(keys)) = (tables.own(), tables.keys()) else { return None };
    if to != own.id {
        return Some(Outcome::SignalElsewhere);
    }
    let now = tables.now();
    if !own.alive(now) {
        return Some(Outcome::SignalStale);
    }
    let message = match open(&datagram.wire, keys) {
        Ok(message) => message,
        Err(Rejected::Foreign) => return None,
        Err(Rejected::UnknownKey) => return Some(Outcome::SignalUnknownKey),
        Err(Rejected::BadTag) => return Some(Outcome::SignalForged),
    };
    let judged = match message.kind {
        Kind::Yes if tables.vote(&datagram.wire) => Err(Outcome::SignalVote),
        Kind::Yes => Err(Outcome::SignalVoteUnread),
        Kind::Ask => promise(tables, own, &message, now),
        Kind::Probe | Kind::Answer => hear(tables, own, &message, now),
    };
    let (outcome, reply) = match judged {
        Ok(judged) => judged,
        Err(outcome) => return Some(outcome),
    };
    Some(if write(frame, signal, &seal(&reply, &keys.current)) { outcome } else { Outcome::SignalMalformed })
}

/// What a signal comes to, and the answer to it.
type Judged = Result<(Outcome, Message), Outcome>;

#[inline(always)]
fn promise<T: Tables>(tables: &T, own: &Own, message: &Message, now: u64) -> Judged {
    let vote = message.vote();
    let held = match tables.hold(vote.about) {
        Access::Held(held) => held,
        Access::Busy => return Err(Outcome::SignalBusy),
        Access::Unwatched => return Err(Outcome::SignalRefused),
    };
    let granted = |peer: &Peer| tables.granted(vote.about, peer).max(peer.granted);
    let asked = ask(own, &mut held.watched.peer, granted, vote.inc, message.from, now);
    tables.release(held);
    match asked {
        Asked::Yes => Ok((Outcome::SignalPromised, message.yes(own.inc))),
        Asked::NotSuspect | Asked::Promised | Asked::NewerPromise => Err(Outcome::SignalRefused),
    }
}

/// Takes in a probe or an answer; a probe is answered.
#[inline(always)]
fn hear<T: Tables>(tables: &T, own: &Own, message: &Message, now: u64) -> Judged {
    let asks = matches!(message.kind, Kind::Probe);
    let held = match tables.hold(message.from) {
        Access::Held(held) => held,
        Access::Busy => return Err(Outcome::SignalBusy),
        Access::Unwatched if asks => {
            let leases = tables.leases().ok_or(Outcome::SignalStranger)?;
            return Ok((Outcome::SignalStrangerAnswered, answer_stranger(own, leases, message, now)));
        }
        Access::Unwatched => return Err(Outcome::SignalStranger),
    };
    let peer = &mut held.watched.peer;
    let received = receive(own, held.leases, peer, message, now);
    if !asks {
        tables.release(held);
        return Err(match received {
            Received::Taken => Outcome::SignalTaken,
            Received::Replayed => Outcome::SignalReplayed,
            Received::Older => Outcome::SignalOlder,
        });
    }
    // Nobody else changes the peer meanwhile, its promise included.
    let promise = peer.promise;
    let reply = answer(own, held.leases, peer, || promise, message.from, now);
    tables.release(held);
    let outcome = match received {
        Received::Taken => Outcome::SignalProbeAnswered,
        Received::Replayed => Outcome::SignalReplayAnswered,
        Received::Older => Outcome::SignalOlderAnswered,
    };
    Ok((outcome, reply))
}

/// Puts the answer in the question's place and sends it back; what follows stays.
/// `false`: nothing has changed.
#[inline(always)]
fn write<F: Frame>(frame: &mut F, signal: Signal, wire: &Wire) -> bool {
    let Some(ethernet) = frame.view::<Ethernet>(0) else { return false };
    if !is_station(ethernet.source) || !is_station(ethernet.destination) {
        return false;
    }
    let swapped = [ethernet.source, ethernet.destination];
    if !frame.put(0, &swapped) {
        return false;
    }
    let mut sum = Sum::default();
    let written = if signal.is_v6 {
        let Some(ip) = frame.view::<Ipv6>(signal.ip) else { return false };
        let swapped = [ip.destination, ip.source];
        sum.address(swapped[0].words());
        sum.address(swapped[1].words());
        frame.put(signal.ip + offset_of!(Ipv6, source), &swapped)
    } else {
        let Some(ip) = frame.view::<Ipv4>(signal.ip) else { return false };
        let swapped = [ip.destination, ip.source];
        sum.word(swapped[0]);
        sum.word(swapped[1]);
        frame.put(signal.ip + offset_of!(Ipv4, source), &swapped)
    };
    sum.number(LENGTH);
    sum.number(u16::from(UDP));
    let Some(udp) = frame.view::<Udp>(signal.udp) else { return false };
    let ([a, b], [c, d], asked) = (udp.source, udp.destination, udp.checksum);
    // Addresses exchanged and of one length, both have one pseudo-header.
    let checksum = if frame.sums_later() && asked == sum.fold().to_ne_bytes() {
        asked
    } else {
        sum.word([a, b, c, d]);
        sum.number(LENGTH);
        for word in wire.0 {
            sum.long(u64::from_ne_bytes(word));
        }
        // 0 would say that there is none (RFC 768).
        match !sum.fold() {
            0 => [0xff; 2],
            checksum => checksum.to_ne_bytes(),
        }
    };
    let udp = Udp { source: [c, d], destination: [a, b], length: LENGTH.to_be_bytes(), checksum };
    written && frame.put(signal.udp, &udp) && frame.put(signal.udp + size_of::<Udp>(), wire)
}
