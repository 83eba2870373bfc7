//! The rules. Each is a few comparisons; why they fence is in
//! `docs/design/ownership.md`.

use crate::state::{ABLE, Lease, Leases, NEVER, NodeId, Own, Peer, Promise, VOTERS};
use crate::wire::{FLAG_ABLE, FLAG_GRANT, FLAG_OK, Kind, Message};

/// Leases that keep a node with `voters` voters: with itself, a majority.
#[must_use]
pub const fn keep(voters: u64) -> u64 {
    voters.div_ceil(2)
}

/// Promises that depose it: so many that fewer than [`keep`] remain.
#[must_use]
pub const fn depose(voters: u64) -> u64 {
    voters + 1 - keep(voters)
}

/// [`Own::needs`] of a node with `voters` voters. Two nodes have no majority
/// between them, so a lease decides nothing there.
#[must_use]
pub const fn needed(voters: u64) -> u64 {
    if voters <= 1 { 0 } else { keep(voters) }
}

/// Leases valid now.
#[inline(always)]
#[must_use]
pub fn held(own: &Own, leases: &Leases, now: u64) -> u64 {
    let mut count = 0;
    let mut i = 0;
    while i < VOTERS {
        let (voter, lease) = (own.voters[i], &leases.0[i]);
        if voter.0 != 0 && lease.voter.0 == voter.0 && lease.inc == own.inc && lease.until > now {
            count += 1;
        }
        i += 1;
    }
    count
}

/// Whether this node may answer for what it owns.
#[inline(always)]
#[must_use]
pub fn ok(own: &Own, leases: &Leases, now: u64) -> bool {
    own.alive(now) && own.needs != NEVER && (own.needs == 0 || held(own, leases, now) >= own.needs)
}

/// Whether an address whose entry is of this incarnation is answered.
#[inline(always)]
#[must_use]
pub fn answers(own: &Own, leases: &Leases, entry_inc: u64, now: u64) -> bool {
    entry_inc == own.inc && ok(own, leases, now)
}

/// Whether a round trip to the peer succeeded within the last lease.
#[inline(always)]
#[must_use]
pub const fn fresh(own: &Own, peer: &Peer, now: u64) -> bool {
    peer.rt != 0 && now.saturating_sub(peer.rt) < own.times.lease
}

/// Whether a promise about the peer's present incarnation stands. It ends only
/// when the peer, having heard a stamp of ours from after any decision that the
/// promise could have served, says that its majority is whole.
#[inline(always)]
#[must_use]
pub const fn in_force(own: &Own, peer: &Peer, promise: &Promise) -> bool {
    promise.inc != 0 && promise.inc == peer.inc && peer.ok_echo < promise.at.saturating_add(own.times.window)
}

/// Whether the peer is granted a lease: heard, hearing us (else a node that
/// nothing reaches would keep its voters' confidence), and not promised away.
#[inline(always)]
#[must_use]
pub const fn grants(own: &Own, peer: &Peer, promise: &Promise, now: u64) -> bool {
    let recent = own.times.lease / 5 * 3;
    peer.inc != 0 && peer.rt != 0 && now.saturating_sub(peer.rt) < recent && !in_force(own, peer, promise)
}

/// When a peer becomes suspect whose newest granted stamp was heard at `granted`
/// (the later of the kernel's and the agent's), unless it is granted another.
#[inline(always)]
#[must_use]
pub const fn suspect_from(own: &Own, granted: u64) -> u64 {
    granted.saturating_add(own.times.lease).saturating_add(own.times.margin)
}

/// Whether every lease that we granted the peer has surely ended.
#[inline(always)]
#[must_use]
pub const fn suspect(own: &Own, granted: u64, now: u64) -> bool {
    now > suspect_from(own, granted)
}

#[inline(always)]
fn compose(own: &Own, leases: &Leases, kind: Kind, to: NodeId, now: u64) -> Message {
    let mut flags = 0;
    if ok(own, leases, now) {
        flags |= FLAG_OK;
    }
    if own.flags & ABLE != 0 {
        flags |= FLAG_ABLE;
    }
    let (from, inc, beat_ms) = (own.id, own.inc, own.beat_ms(now));
    Message { kind, from, to, stamp: now, inc, echo: 0, echo_inc: 0, beat_ms, flags }
}

/// The kernel's answer to a peer's probe.
///
/// A grant and a promise at one moment, on two CPUs, must not miss each other.
/// Therefore who grants stores `granted` first and then reads the promise, and
/// who promises stores the promise first and then reads `granted` ([`ask`]), with
/// a full barrier between. `promise` reads the peer's promise anew each time it
/// is called.
#[inline(always)]
#[must_use]
pub fn answer(
    own: &Own,
    leases: &Leases,
    peer: &mut Peer,
    promise: impl Fn() -> Promise,
    to: NodeId,
    now: u64,
) -> Message {
    let mut message = compose(own, leases, Kind::Answer, to, now);
    (message.echo, message.echo_inc) = (peer.stamp, peer.inc);
    if grants(own, peer, &promise(), now) {
        peer.granted = peer.heard;
        message.flags |= FLAG_GRANT;
    }
    recheck(own, peer, &promise(), &mut message);
    message
}

/// Takes back a grant that a promise forbids: called with the promise as it is
/// after `granted` was stored.
#[inline(always)]
pub const fn recheck(own: &Own, peer: &Peer, promise: &Promise, message: &mut Message) {
    if in_force(own, peer, promise) {
        message.flags &= !FLAG_GRANT;
    }
}

/// The answer to a probe of a node that is no peer of ours: it may be about to
/// choose us for an address. Nothing is remembered.
#[inline(always)]
#[must_use]
pub fn answer_stranger(own: &Own, leases: &Leases, probe: &Message, now: u64) -> Message {
    let mut message = compose(own, leases, Kind::Answer, probe.from, now);
    (message.echo, message.echo_inc) = (probe.stamp, probe.inc);
    message
}

/// The agent's probe of a peer. If it grants, the caller stores `peer.heard` as
/// its own `granted`, reads the peer again, and calls [`recheck`].
#[must_use]
pub fn probe(own: &Own, leases: &Leases, peer: &Peer, to: NodeId, now: u64) -> Message {
    let mut message = compose(own, leases, Kind::Probe, to, now);
    (message.echo, message.echo_inc) = (peer.stamp, peer.inc);
    if grants(own, peer, &peer.promise, now) {
        message.flags |= FLAG_GRANT;
    }
    message
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Of an incarnation before the newest heard. It is answered nevertheless: a
    /// node whose clock was set back learns by it that it needs a greater one.
    Older,
    /// Not newer than what was heard before: replayed, doubled or overtaken.
    Replayed,
    /// It was news.
    Taken,
}

/// The kernel takes in a peer's message (addressed to us and properly tagged).
#[inline(always)]
pub fn receive(own: &Own, leases: &mut Leases, peer: &mut Peer, message: &Message, now: u64) -> Received {
    if message.inc < peer.inc || message.inc == 0 {
        return Received::Older;
    }
    if message.inc > peer.inc {
        // Nothing of the former incarnation holds. It has a whole lease's time. Who
        // was promised what, and when, still keeps others from asking.
        peer.inc = message.inc;
        (peer.heard, peer.granted) = (now, now);
        (peer.stamp, peer.rt, peer.ok_echo) = (0, 0, 0);
    }
    if message.stamp <= peer.stamp {
        return Received::Replayed;
    }
    peer.stamp = message.stamp;
    peer.heard = now;
    peer.beat = now.saturating_sub((message.beat_ms as u64).saturating_mul(1_000_000));
    peer.flags = message.flags as u64;
    peer.ahead = if message.echo_inc > own.inc { message.echo_inc } else { 0 };
    // A stamp of another boot or from the future is worth nothing.
    if message.echo_inc == own.inc && message.echo != 0 && message.echo <= now {
        round_trip(own, leases, peer, message, now);
    }
    Received::Taken
}

#[inline(always)]
fn round_trip(own: &Own, leases: &mut Leases, peer: &mut Peer, message: &Message, now: u64) {
    if message.echo > peer.rt {
        peer.rt = message.echo;
    }
    extend(own, leases, message);
    if message.has(FLAG_OK) && message.echo > peer.ok_echo {
        let promised = in_force(own, peer, &peer.promise);
        peer.ok_echo = message.echo;
        if promised && !in_force(own, peer, &peer.promise) {
            // Suspicion starts anew.
            peer.granted = now;
        }
    }
}

#[inline(always)]
fn extend(own: &Own, leases: &mut Leases, message: &Message) {
    let mut at = VOTERS;
    let mut i = 0;
    while i < VOTERS {
        if own.voters[i].0 == message.from.0 {
            at = i;
        }
        i += 1;
    }
    if message.from.0 == 0 {
        return;
    }
    let Some(lease) = leases.0.get_mut(at) else { return };
    if lease.voter.0 != message.from.0 || lease.inc != own.inc {
        *lease = Lease { voter: message.from, inc: own.inc, until: 0 };
    }
    let until = message.echo.saturating_add(own.times.lease);
    if message.has(FLAG_GRANT) && until > lease.until {
        lease.until = until;
    }
}

/// What a voter says when it is asked to promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It will grant that incarnation no more.
    Yes,
    /// It may still hold a lease of ours.
    NotSuspect,
    /// Another asker was promised so within the window: two who decide at once
    /// would choose two owners.
    Promised,
    /// A promise about a newer incarnation stands and must not be forgotten.
    NewerPromise,
}

/// The voter's side of an ASK of `asker` about incarnations up to `inc` of the
/// peer. `granted` reads, each time it is called, when the newest stamp that was
/// granted a lease was heard: the later of the kernel's word and the agent's. It
/// is called again after the promise was stored, for the reason given at
/// [`answer`].
#[inline(always)]
#[must_use]
pub fn ask(
    own: &Own,
    peer: &mut Peer,
    granted: impl Fn(&Peer) -> u64,
    inc: u64,
    asker: NodeId,
    now: u64,
) -> Asked {
    if asker.0 != own.id.0 {
        peer.promise.asked = now;
    }
    // An incarnation before the newest heard can never be granted anything again.
    let reborn = peer.inc > inc;
    if !reborn && !suspect(own, granted(peer), now) {
        return Asked::NotSuspect;
    }
    let before = peer.promise;
    let bound = before.inc != 0 && now.saturating_sub(before.at) < own.times.window;
    if bound && before.by.0 != asker.0 {
        return Asked::Promised;
    }
    if before.inc > inc && in_force(own, peer, &before) {
        return Asked::NewerPromise;
    }
    (peer.promise.inc, peer.promise.by, peer.promise.at) = (inc, asker, now);
    if !reborn && !suspect(own, granted(peer), now) {
        peer.promise = before;
        return Asked::NotSuspect;
    }
    Asked::Yes
}
