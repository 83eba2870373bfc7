//! Layouts of map keys and values.

use bytemuck::{Pod, Zeroable};
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
    /// Nanoseconds of the boot clock from which on the address is no longer
    /// answered, but silenced; 0 = never.
    pub deadline: u64,
    /// Epoch of the ownership; the program only keeps it for who reads back.
    pub epoch: u64,
    /// The answering station, and the one that may claim the address.
    pub mac: [u8; 6],
    /// [`STATE_ANSWER`] or [`STATE_SILENCE`].
    pub state: u16,
    /// Index of the address's counter and conflict record, below
    /// [`crate::MAX_COUNTED`].
    pub counter: u32,
    /// Always 0.
    pub pad: u32,
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
    assert!(size_of::<Slot>() == 32 && align_of::<Slot>() == 8);
    assert!(offset_of!(Slot, mac) == 16 && offset_of!(Slot, state) == 22 && offset_of!(Slot, counter) == 24);
    assert!(size_of::<Control>() == 16 && size_of::<Clock>() == 16 && size_of::<Conflict>() == 24);
};

#[cfg(feature = "user")]
mod user {
    //! aya's marker for bytes that may enter a map.
    use super::{Conflict, Control, KeyV4, KeyV6, Slot};
    use crate::Filter;

    macro_rules! pod {
        ($($name:ty),+) => {$(
            // SAFETY: `bytemuck::Pod` (checked by its derive: no padding, any
            // bit pattern valid) promises all that aya's marker asks for.
            unsafe impl aya::Pod for $name {}
        )+};
    }
    pod!(KeyV4, KeyV6, Slot, Control, Conflict, Filter);
}
