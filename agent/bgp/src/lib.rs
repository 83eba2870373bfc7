//! BGP-4 as a node of a cluster speaks it: it announces Service addresses and
//! learns nothing. No sockets, no clock, no tasks: `now` is an argument, bytes
//! go in and out, and the driver in `clarion-agent` owns everything else. So
//! every path of the protocol runs in tests under virtual time.
//!
//! ```text
//!   routes that should be there ──► rib ──┐
//!                                         ▼
//!   bytes from the peer ──► wire ──► session ──► bytes to the peer, actions, events
//!                                         ▲
//!   now, TCP came up or went ─────────────┘
//! ```
//!
//! * [`wire`]: messages as values, framing, which error is answered how.
//! * [`session`]: the state machine of RFC 4271 §8.
//! * [`rib`]: what was sent (Adj-RIB-Out), and the UPDATEs that make it what it should be.

pub mod rib;
pub mod session;
pub mod wire;

pub use rib::{NextHopPolicy, RouteAttributes, Withheld};
pub use session::{Session, SessionConfig};
