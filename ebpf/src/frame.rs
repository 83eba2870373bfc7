//! What the protocol code sees of the world, a frame and the tables, and the rules
//! that hold for every protocol.

use bytemuck::{Pod, Zeroable};
use clarion_abi::{Control, Filter, KeyV4, KeyV6, Outcome, STATE_ANSWER, STATE_SILENCE, Slot, Watched};
use clarion_fence::{Keys, Leases, NodeId, Own, Peer, Wire, answers};

/// An Ethernet header without tags.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Ethernet {
    pub(crate) destination: [u8; 6],
    pub(crate) source: [u8; 6],
    pub(crate) ether_type: [u8; 2],
}

/// A frame, from its Ethernet header to its end. Views are structures of byte
/// arrays: nothing in a packet is aligned.
#[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
pub trait Frame {
    /// The bytes from offset `at` as a `T`; `None` where the frame is shorter.
    fn view<T: Pod>(&self, at: usize) -> Option<&T>;
    /// Writes a `T` there; `false`: the frame is shorter, nothing has changed.
    fn put<T: Pod>(&mut self, at: usize, value: &T) -> bool;
    /// The id in a VLAN tag that is not among the bytes, since the NIC or the kernel took
    /// it off; it goes back with the answer.
    fn stripped(&self) -> Option<u16> {
        None
    }
    /// Whether the UDP checksum at hand is left to whoever sends the frame on, if it is
    /// the sum of the pseudo-header alone (checksum offload).
    fn sums_later(&self) -> bool {
        false
    }
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Cuts or lengthens the end; new bytes are anything. `false`: nothing has
    /// changed, the driver has no room.
    fn resize(&mut self, len: usize) -> bool;
}

/// What became of the wish to change a peer's record.
pub enum Access<'a> {
    /// The node is not watched.
    Unwatched,
    /// Another CPU changes it.
    Busy,
    /// This CPU is alone with it until it says [`Tables::release`].
    Held(Held<'a>),
}

/// A peer's record to be changed, and our leases, among them the one that it grants.
pub struct Held<'a> {
    /// The record.
    pub watched: &'a mut Watched,
    /// The leases.
    pub leases: &'a mut Leases,
}

/// The maps, the clock and the interface.
pub trait Tables {
    /// Index of the interface that the frame came in on.
    fn ifindex(&self) -> u32;
    /// The filter in front of the maps; `None` looks everything up.
    fn filter(&self) -> Option<&Filter>;
    /// An IPv4 address.
    fn v4(&self, key: &KeyV4) -> Option<Slot>;
    /// An IPv6 address.
    fn v6(&self, key: &KeyV6) -> Option<Slot>;
    /// Heartbeat and grace.
    fn control(&self) -> Control;
    /// What the agent says about this node; `None`: it never said anything.
    fn own(&self) -> Option<&Own>;
    /// This node's leases.
    fn leases(&self) -> Option<&Leases>;
    /// The UDP port that signals are sent to, as it lies in a packet; 0 = none.
    fn port(&self) -> u16;
    /// The cluster's keys.
    fn keys(&self) -> Option<&Keys>;
    /// Lets this CPU alone change a peer's record.
    fn hold(&self, node: NodeId) -> Access<'_>;
    /// Ends that.
    fn release(&self, held: Held<'_>);
    /// When the newest stamp that the agent granted the peer a lease for was heard, read
    /// after all that was stored in `peer` before.
    fn granted(&self, node: NodeId, peer: &Peer) -> u64;
    /// Leaves a vote to the agent. `false`: there is no room.
    fn vote(&self, wire: &Wire) -> bool;
    /// Nanoseconds of the boot clock.
    fn now(&self) -> u64;
    /// The boot clock, up to one timer tick (1 to 10 ms) ago. In a virtual machine
    /// the exact one costs as much as all the rest of an answer.
    fn recent(&self) -> u64;
    /// One more frame was answered for the address with this counter.
    fn answered(&self, counter: u32);
    /// A foreign station claimed the address with this counter.
    fn conflict(&self, counter: u32, mac: [u8; 6], now: u64);
}

/// What an address's entry amounts to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Answer it.
    Answer,
    /// Drop requests for it.
    Silence,
    /// It is ours, but the leases are not: as `Silence`, but counted apart.
    Fenced,
    /// The agent has been away for too long: the node is as if without Clarion.
    Stale,
}

/// Judges an entry at this moment.
#[inline(always)]
pub(crate) fn standing<T: Tables>(tables: &T, slot: &Slot) -> Standing {
    let control = tables.control();
    // Seconds are at stake, so a tick does not matter; a heartbeat after the last
    // tick is in the future, hence fresh.
    if control.heartbeat == 0 || tables.recent().saturating_sub(control.heartbeat) > control.grace {
        return Standing::Stale;
    }
    match slot.state {
        STATE_ANSWER if slot.inc != 0 && !owned(tables, slot.inc) => Standing::Fenced,
        STATE_ANSWER => Standing::Answer,
        STATE_SILENCE => Standing::Silence,
        // No agent of this ABI writes another state; leave the frame alone.
        _ => Standing::Stale,
    }
}

/// Whether this node may answer for what it owns as incarnation `inc`.
#[inline(always)]
fn owned<T: Tables>(tables: &T, inc: u64) -> bool {
    let (Some(own), Some(leases)) = (tables.own(), tables.leases()) else { return false };
    // Leases are renewed four times in their length, so nearly always they are worth
    // half of it even by a clock that is a tick ahead. Else: to the nanosecond.
    let ahead = tables.recent().saturating_add(own.times.lease / 2);
    answers(own, leases, inc, ahead) || answers(own, leases, inc, tables.now())
}

/// Judges a frame whose sender says that it has an address of the maps: an answered
/// one that another station claims is a conflict (RFC 5227 §2.4). Such a frame gets
/// no answer, whatever it asks: that would go to our own address at somebody
/// else's MAC. `None`: nothing of ours is taken.
#[inline(always)]
pub(crate) fn claim<T: Tables>(tables: &T, slot: &Slot, mac: [u8; 6], conflict: Outcome) -> Option<Outcome> {
    if slot.mac == mac || slot.station == mac {
        return None;
    }
    match standing(tables, slot) {
        Standing::Answer => {
            tables.conflict(slot.counter, mac, tables.now());
            Some(conflict)
        }
        Standing::Stale => Some(Outcome::Stale),
        // The claim is the owner's, or the successor's.
        Standing::Silence | Standing::Fenced => None,
    }
}

/// Whether a MAC can be a station's: not of a group, not zero.
#[inline(always)]
pub(crate) fn is_station(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

/// Whether a frame to this Ethernet destination concerns the station `own`:
/// group addresses do, another station's (seen in promiscuous mode) do not.
#[inline(always)]
pub(crate) fn reaches(destination: [u8; 6], own: [u8; 6]) -> bool {
    destination[0] & 1 == 1 || destination == own
}
