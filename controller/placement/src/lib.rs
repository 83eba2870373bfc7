//! Which nodes may own each layer 2 address, in which order; and who votes for whom.
//!
//! Pure: no clock, no API server, no order of maps. [`Placement`] is told what may own
//! what ([`Candidates`], by the caller's rules) and keeps one list a group of addresses;
//! [`voters`] spreads the nodes' voters. What it promises and what not is in
//! `docs/design/placement.md`; in one breath: every node is the owner of as many addresses as the
//! next one, an owner stays until it may not own any longer, and what has become uneven is
//! evened out slowly.
//!
//! | module | question |
//! |---|---|
//! | [`class`](Candidates) | who may own, and who is preferred? |
//! | [`machine`](Placement) | what is the list now, and what has changed? |
//! | `spread` | who is next: the counts that make it even |
//! | [`voters`] | who keeps a node's leases? |

mod class;
mod machine;
mod spread;
#[cfg(test)]
mod tests;
pub mod voters;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use class::Candidates;
pub use machine::{Placement, Planned};

/// A node, as far as placement asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// Whether Kubernetes hears of it (condition Ready).
    pub ready: bool,
}

/// Addresses that must have one owner between them: one alone, both addresses of a
/// Service of two families, and whatever Services that share bind together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// Who may own them. Groups with equal candidates should share one allocation: what is
    /// computed of candidates is computed once for each.
    pub candidates: Arc<Candidates>,
}

/// What is done about unevenness while every owner may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebalance {
    /// Nothing: an owner stays for as long as it may.
    Never,
    /// The fewest moves that make it even, at most so many at once and not sooner than so
    /// long after what made it uneven, or after the last ones.
    Gradual {
        /// Groups moved at once, at least one.
        moves: usize,
        /// Pause before and between.
        every: Duration,
    },
}

/// How to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What is done about unevenness.
    pub rebalance: Rebalance,
    /// Longest list: the owner and its successors.
    pub longest: usize,
}

impl Default for Settings {
    fn default() -> Self {
        // A move costs the address's connections, so it is slow. Five nodes: an address
        // survives four failures before its plan is made anew.
        let rebalance = Rebalance::Gradual { moves: 10, every: Duration::from_secs(10) };
        Self { rebalance, longest: 5 }
    }
}

/// The time, on the two clocks that planning needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never goes back: for pauses.
    pub monotonic: Duration,
    /// Milliseconds since 1970: for epochs, see [`clarion_core::OwnerList::epoch`].
    pub unix_ms: u64,
}

/// FNV-1a: stable over versions, unlike std's hasher.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Orders equals differently for each address, so that not every remainder falls on the
/// node whose name comes first (the finisher of splitmix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
