//! clarion-controller: hands out addresses and writes status.
//!
//! ```text
//! watches ─Change─► index ─► Config ─► planner (allocator) ─► plan ─► writer ─► Service status
//!                     └── state.rs: synchronous, no IO ──┘           └─► events, report ─► conditions
//! ```
//!
//! [`state::State`] is the whole of the controller without IO; [`reconcile`] connects
//! it to the API server. [`plans`] plans layer 2 owners beside it, from the same watch of
//! Services. Nothing but status, events, the Lease, the Secret, OwnerPlans and
//! ConfigurationState is written, and nothing without the Lease. Nothing is stored
//! elsewhere: what a Service holds is what its status says.

pub mod args;
mod contest;
pub mod events;
pub mod fence;
mod handover;
pub mod http;
pub mod index;
pub mod lease;
pub mod metrics;
pub mod placement;
pub mod planner;
pub mod plans;
pub mod pools;
pub mod publish;
pub mod reconcile;
pub mod report;
mod retries;
pub mod rival;
pub mod runtime;
pub mod secret;
pub mod service;
pub mod state;
pub mod watches;
pub mod words;
pub mod writer;
