//! The kernel program: ARP and NDP for owned addresses, and the fence that says whether
//! they are this node's to answer.
//!
//! Order of work: the Ethernet type decides in a few instructions and everything
//! that is neither ARP nor neighbour discovery nor a signal leaves uncounted; then a bitmap
//! says "surely not ours" for most of the rest; only then come the checks, the
//! hash lookup, the clock and the answer.
//!
//! `arp`, `ndp`, `signal` and `link` know neither XDP nor pointers: they see a frame through
//! [`Frame`] and the maps through [`Tables`]. So the host tests them as they are, and
//! the entry points of XDP and of tc (whose VLAN tag is not in the frame) bring a
//! `Frame` each and call the same functions. `kernel` holds all `unsafe`.
//!
//! For the verifier of Linux 5.15: everything is inlined (calls between BPF
//! functions lose its precision), loops have constant bounds, every access is
//! behind a comparison with the frame's end, and no helper is newer than 5.8.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![deny(unsafe_code)]

mod arp;
mod checksum;
mod frame;
#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the only place that meets raw packets, maps and helpers")]
pub mod kernel;
mod link;
mod ndp;
mod signal;
#[cfg(test)]
mod tests;

pub use frame::{Access, Frame, Held, Tables};
pub use link::handle;
