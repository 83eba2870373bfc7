//! What a node's kernel does about the ownership of layer 2 addresses.
//!
//! The XDP program compiles this crate, the agent calls it for its half, and the
//! simulator of `agent/l2` runs it: what was simulated is what is shipped. The
//! protocol and its reasons are in `docs/design/ownership.md`.
//!
//! | module | what |
//! |---|---|
//! | `siphash` | the tag under the cluster's key |
//! | `wire` | a probe or answer as 64 bytes |
//! | `state` | what is in the maps, and who writes it |
//! | `rules` | send, receive, ok, suspect, ask |
//!
//! Every time is nanoseconds of the boot clock, which runs while a machine is
//! suspended. Sums saturate: a time that cannot be written is "never", and an
//! age below zero (another CPU read its clock later) is none.
//!
//! For the verifier of Linux 5.15: no slice, no panic, no allocation, no loop
//! without a constant bound, no atomic that 5.12 lacks. Each structure has one
//! writer, the kernel or the agent, so that no update of one overwrites the
//! other's; see [`Peer`].

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod rules;
mod siphash;
mod state;
#[cfg(test)]
mod tests;
mod wire;

pub use rules::{
    Asked, Received, answer, answer_stranger, answers, ask, depose, fresh, grants, held, in_force, keep,
    needed, ok, probe, receive, recheck, suspect, suspect_from,
};
pub use siphash::{Key, SipHash, tag_bytes, tag_words};
pub use state::{ABLE, Lease, Leases, NEVER, NodeId, Own, Peer, Promise, Times, VOTERS};
pub use wire::{
    FLAG_ABLE, FLAG_GRANT, FLAG_OK, Keys, Kind, LEN, Message, Rejected, Vote, Wire, addressee, open, seal,
};
