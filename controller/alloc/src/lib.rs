//! The address allocator: pools, requests, sharing, families, reasons. Pure.
//!
//! [`Allocator`] knows which Service holds which address and nothing else: no
//! Kubernetes, no clock, no randomness. The same calls in the same order give the
//! same answers, which is what makes a restart safe to reason about:
//! [`Allocator::recover`] puts back what Service status says, before the first
//! [`Allocator::decide`] may give an address to anybody.
//!
//! What every answer means is MetalLB's (contract §2.3 to §2.7), down to the words
//! of a [`Refusal`]. Where that leaves the order to chance (Go's map order), the
//! order here is by name.
//!
//! Free addresses are kept as gaps between the used ones and shared ones by what is in use
//! on them, so that the cost of a decision follows neither the size of a pool nor the
//! number of Services. Nor does that of a freed address: it wakes one that can use it.

mod allocator;
mod decide;
mod decision;
mod gaps;
mod pool;
mod request;
mod roster;
mod span;
mod tenants;
mod text;
mod waiting;

pub use allocator::{Allocator, Holding};
pub use decision::{Cleared, Decision, Discord, Grant, Lack, Outcome, Refusal, Unfit};
pub use pool::{Barred, PoolCounters, PoolSpec};
pub use request::{Claim, Eligible, Families, Port, Protocol, Request, Wish, WishError};
pub use text::quoted;
