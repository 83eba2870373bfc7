//! Map keys and values, counter names and limits shared by the kernel program and user space.
//!
//! Both sides compile this crate, so a layout exists once. Rules that keep it
//! safe: `#[repr(C)]`, fixed-width integers and byte arrays only, padding that
//! has a name, and sizes and offsets asserted below. Addresses are bytes in
//! network order, in words of the machine; every other number is in its order.
//!
//! What the fence keeps (`clarion_fence::state`) lies in maps as it is there.
//!
//! Any change of a layout, of a map's name, kind or size, or of what a field
//! means needs another [`ABI_VERSION`]: pins live under it, so that an agent of
//! one version never reads what another wrote.

#![cfg_attr(not(test), no_std)]

mod filter;
mod outcome;
mod types;

pub use filter::{FILTER_BITS, FILTER_WORDS, Filter, filter_bit_v4, filter_bit_v6};
pub use outcome::{OUTCOMES, Outcome, Verdict};
pub use types::{
    Cell, Clock, Conflict, Control, KeyV4, KeyV6, STATE_ANSWER, STATE_SILENCE, Slot, Switch, Watched, octets,
    words,
};

/// Version of everything in this crate; names the directory of the pins.
pub const ABI_VERSION: u32 = 3;

/// Most addresses of one family (counted once for each interface and VLAN) that
/// the maps hold. Maps allocate as they fill, so room that is not used costs
/// 16 bytes of bucket for each.
pub const MAX_ADDRESSES: u32 = 65_536;

/// Entries of the per-address counters and conflict records. Entry 0 is shared
/// by all answered addresses beyond the others: a counter costs 8 bytes on every
/// CPU, and 10,000 Services on one node is the most that is promised.
pub const MAX_COUNTED: u32 = 16_384;

/// The index that addresses without a counter of their own share.
pub const SHARED_COUNTER: u32 = 0;

/// Most nodes that the kernel keeps in mind: those it votes about (64), those that
/// vote about it, and those that are probed as possible next owners (64).
pub const MAX_PEERS: u32 = 256;

/// Bytes of the ring of votes: a power of two, and a whole page on every
/// architecture. A vote takes 72.
pub const VOTES_BYTES: u32 = 65_536;

/// Most units of 8 bytes of NDP options that the program reads. Real ones have
/// one or two (link-layer address, nonce: RFC 3971 §5.3.2). The loop must be
/// bounded for the verifier; longer solicitations are left to the host.
pub const MAX_OPTION_UNITS: usize = 16;

/// Names of maps and programs in the object, at most 15 characters each (the
/// kernel keeps no more).
pub mod names {
    /// Hash: [`crate::KeyV4`] to [`crate::Slot`].
    pub const V4: &str = "CLARION_V4";
    /// Hash: [`crate::KeyV6`] to [`crate::Slot`].
    pub const V6: &str = "CLARION_V6";
    /// Array of one: [`crate::Control`].
    pub const CONTROL: &str = "CLARION_CTL";
    /// Array of one: [`crate::Filter`].
    pub const FILTER: &str = "CLARION_FILTER";
    /// Per-CPU array of `u64`, one for each [`crate::Outcome`].
    pub const OUTCOMES: &str = "CLARION_OUT";
    /// Per-CPU array of `u64`: frames answered, by counter index.
    pub const ANSWERS: &str = "CLARION_ANS";
    /// Per-CPU array of one: [`crate::Clock`].
    pub const CLOCK: &str = "CLARION_CLK";
    /// Array of [`crate::Conflict`], by counter index.
    pub const CONFLICTS: &str = "CLARION_CNF";
    /// Array of one: [`crate::Switch`].
    pub const SWITCH: &str = "CLARION_SWITCH";
    /// Array of two: `clarion_fence::Own`; [`crate::Switch::own`] says which counts.
    pub const OWN: &str = "CLARION_OWN";
    /// Array of one: `clarion_fence::Leases`.
    pub const LEASES: &str = "CLARION_LEASES";
    /// Hash: `clarion_fence::NodeId` to [`crate::Watched`].
    pub const PEERS: &str = "CLARION_PEERS";
    /// Hash: `clarion_fence::NodeId` to when the newest stamp that a probe of the
    /// agent's echoed with a grant was heard.
    pub const GRANTS: &str = "CLARION_GRANTS";
    /// Array of one: `clarion_fence::Keys`.
    pub const KEYS: &str = "CLARION_KEYS";
    /// Ring of `clarion_fence::Wire`: votes that came for the agent.
    pub const VOTES: &str = "CLARION_VOTES";
    /// The program for kernels that take XDP with fragments (Linux 5.18).
    pub const PROGRAM_FRAGS: &str = "clarion_frags";
    /// The same program for older ones.
    pub const PROGRAM: &str = "clarion";
    /// The same program at tc's ingress hook.
    pub const PROGRAM_TC: &str = "clarion_tc";
}
