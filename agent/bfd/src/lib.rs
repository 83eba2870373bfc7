//! Bidirectional Forwarding Detection (RFC 5880, 5881, 5883) as a node of a cluster
//! speaks it to its routers: is the path to the peer alive? No sockets, no clock, no
//! tasks: `now` is an argument, octets go in and out, and the driver in `clarion-agent`
//! owns everything else.
//!
//! ```text
//!   datagram, where it came from ──► Sessions ──► Session ──► packets to send
//!                                     which one?     │
//!   now ───────────────────────────────────────────►─┴──► events: up, down and why
//! ```
//!
//! * [`wire`]: packets as values; what of RFC 5880 §6.8.6 the packet alone shows.
//! * [`session`]: the state machine and timers of RFC 5880 §6.8.
//! * [`sessions`]: all sessions of a node: discriminators, which session a datagram is
//!   for, what is refused and why.
//! * [`transport`]: ports and hop limits (RFC 5881 §4, §5, RFC 5883 §4, §5).
//!
//! What is not here: authentication (a packet with it is refused, as RFC 5880 §6.8.6
//! asks of a session without), and demand mode of our own; a peer's is honoured. BGP
//! learns of a path through [`session::Event`] alone.

pub mod session;
pub mod sessions;
pub mod transport;
pub mod wire;

mod random;

pub use session::{Session, SessionConfig};
pub use sessions::Sessions;
