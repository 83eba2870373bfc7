//! clarion-agent: announces the cluster's addresses from one node.
//!
//! Two halves (`architecture.md`, "One picture"). The slow half watches the API
//! server and turns what it sees into one value, [`desired::Desired`]; it may
//! wait for the API server as long as it likes. The fast half owns a thread and
//! a runtime of its own: who is alive, who owns an address, the maps of the
//! kernel program, gratuitous frames and BGP. It never waits for the API server,
//! so that losing it changes nothing on the wire.
//!
//! ```text
//!   API server ─watch─► slow::index ─► View ─► desired() ─► Desired ──┐
//!                             Leases ─────────────────────────────┐   │ watch
//!                                                                 ▼   ▼
//!   netlink ─► Snapshot ────────────────────────────────► fast::half ─► Plan ─► kernel
//!                                                             │  └► gratuitous, groups, BGP
//!   API server ◄─ slow::status ◄─ FastStatus ◄────────────────┘  └► serve (metrics, /state)
//! ```
//!
//! A library only so that the binary stays small and the tests reach the parts.

pub mod args;
pub mod bfd;
pub mod bgp;
mod capabilities;
pub mod cleanup;
pub mod desired;
mod fast;
pub mod run;
mod serve;
mod slow;
pub mod view;
