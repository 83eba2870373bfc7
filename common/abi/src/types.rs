//! Layouts of map keys and values.

use bytemuck::{Pod, Zeroable};
use clarion_fence::Peer;
use core::mem::{align_of, offset_of, size_of};

/// Key of an IPv4 address: where it is served, and which it is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct KeyV4 {
    /// Index of the interface that the frame arrives on.
    pub ifindex: u32,
    /// The address's four bytes in network order, as a word of this machine
    /// (`u32::from_ne_bytes(octets)`).
    pub address: u32,
    /// VLAN id (1 to 4094) of the frame's tag; 0 = untagged or priority-tagged.
    pub vlan: u16,
    /// Always 0: hash maps compare every byte.
    pub pad: u16,
}

/// Key of an IPv6 address. In words, since the program builds it on its stack,
/// where the verifier takes no store across words.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct KeyV6 {
    /// Index of the interface that the frame arrives on.
    pub ifindex: u32,
    /// VLAN id (1 to 4094) of the frame's tag; 0 = untagged or priority-tagged.
    pub vlan: u16,
    /// Always 0: hash maps compare every byte.
    pub pad: u16,
    /// The address's sixteen bytes in network order, as two words of this machine
    /// (`u64::from_ne_bytes` of each half): see [`words`].
    pub address: [u64; 2],
}

/// An IPv6 address's bytes as the words of [`KeyV6::address`].
#[inline(always)]
#[must_use]
pub const fn words(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
}

/// The bytes of [`words`].
#[inline(always)]
#[must_use]
pub const fn octets(words: [u64; 2]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h] = words[0].to_ne_bytes();
    let [i, j, k, l, m, n, o, p] = words[1].to_ne_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// The address is answered with [`Slot::mac`].
pub const STATE_ANSWER: u16 = 1;
/// Requests for the address are dropped: another node owns it.
pub const STATE_SILENCE: u16 = 2;

/// Value of an address. Any other [`Slot::state`] than the two constants passes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Slot {
    /// The incarnation of this node that owns the address: it is answered only while
    /// this is the present one and its leases are a majority, and silenced
    /// otherwise. 0 = it needs no lease.
    pub inc: u64,
    /// Epoch of the ownership; the program only keeps it for who reads back.
    pub epoch: u64,
    /// The station that the answer names. It may claim the address.
    pub mac: [u8; 6],
    /// [`STATE_ANSWER`] or [`STATE_SILENCE`].
    pub state: u16,
    /// The station that sends the answer: this node's. Another than `mac` only while
    /// the address is handed over.
    pub station: [u8; 6],
    /// Always 0.
    pub pad: u16,
    /// Index of the address's counter and conflict record, below
    /// [`crate::MAX_COUNTED`].
    pub counter: u32,
    /// Always 0.
    pub rest: u32,
}

/// What holds for all addresses.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Control {
    /// The agent's last heartbeat, nanoseconds of the boot clock; 0 = never one.
    pub heartbeat: u64,
    /// How long after it the program goes on answering and silencing, in
    /// nanoseconds. Afterwards every frame passes.
    pub grace: u64,
}

/// What the fence listens to, and where it looks. Written by the agent.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Switch {
    /// The UDP port that signals are sent to, as its two bytes lie in a packet
    /// (`u16::to_be`); 0 = the program knows no signals.
    pub port: u64,
    /// Which of the two `Own` counts: the other is written, then this is turned, so
    /// that none is read half written.
    pub own: u64,
}

/// A peer that is watched.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Watched {
    /// What the kernel knows of it.
    pub peer: Peer,
    /// Not 0 while a CPU changes the above: another gives its message up, as if it
    /// had been lost on the way.
    pub busy: u64,
}

/// A value of the fence's in a map: aya takes only types of this crate.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<T>(pub T);

/// The boot clock as each CPU last read it; the program's own.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Clock {
    /// The timer tick in which it was read.
    pub tick: u64,
    /// What it said, in nanoseconds.
    pub boot: u64,
}

/// The last station that claimed an answered address and had no right to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Conflict {
    /// Its MAC in the first six bytes, the rest 0: one aligned word, so that
    /// two CPUs never mix two stations.
    pub mac: [u8; 8],
    /// When, in nanoseconds of the boot clock.
    pub last: u64,
    /// Frames that claimed so since the index was given out.
    pub count: u64,
}

const _: () = {
    assert!(size_of::<KeyV4>() == 12 && align_of::<KeyV4>() == 4);
    assert!(offset_of!(KeyV4, address) == 4 && offset_of!(KeyV4, vlan) == 8);
    assert!(size_of::<KeyV6>() == 24 && align_of::<KeyV6>() == 8);
    assert!(offset_of!(KeyV6, vlan) == 4 && offset_of!(KeyV6, address) == 8);
    assert!(size_of::<Slot>() == 40 && align_of::<Slot>() == 8);
    assert!(offset_of!(Slot, mac) == 16 && offset_of!(Slot, state) == 22 && offset_of!(Slot, station) == 24);
    assert!(offset_of!(Slot, counter) == 32);
    assert!(size_of::<Switch>() == 16 && size_of::<Watched>() == 112 && offset_of!(Watched, busy) == 104);
    assert!(size_of::<Control>() == 16 && size_of::<Clock>() == 16 && size_of::<Conflict>() == 24);
};

#[cfg(feature = "user")]
mod user {
    //! aya's marker for bytes that may enter a map.
    use super::{Cell, Conflict, Control, KeyV4, KeyV6, Slot, Switch, Watched};
    use crate::Filter;

    macro_rules! pod {
        ($($name:ty),+) => {$(
            // SAFETY: `bytemuck::Pod` (checked by its derive: no padding, any
            // bit pattern valid) promises all that aya's marker asks for.
            unsafe impl aya::Pod for $name {}
        )+};
    }
    pod!(KeyV4, KeyV6, Slot, Control, Conflict, Filter, Switch, Watched);

    // SAFETY: as above; the wrapper adds nothing.
    unsafe impl<T: bytemuck::Pod> aya::Pod for Cell<T> {}
}
