//! The BGP driver: sockets, tasks and time around `clarion-bgp`.
//!
//! ```text
//!   DesiredPeers (watch) ──► supervisor ──► one task per peer ──► TCP
//!   Sessions (watch)     ◄────── status of each ◄──┘
//! ```
//!
//! * The **supervisor** compares what should be with the tasks that run. A peer
//!   whose connection parameters changed is ended and begun again; one whose
//!   routes or timers changed is told. It owns the tasks, so a task that ends
//!   by a fault is noticed, reported and begun again.
//! * A **peer task** owns one [`clarion_bgp::Session`] and its socket. It waits for
//!   TCP, the next deadline, or another order, and never for anything else.
//!
//! Nothing here waits for the API server, and no channel can fill up: all are watches.

mod config;
mod journal;
mod peer;
mod refused;
mod sockopt;
mod status;
mod supervisor;

use std::net::IpAddr;
use std::sync::Arc;

use clarion_bgp::session::LocalAddresses;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use config::{DesiredPeer, DesiredPeers, Password, PeerConfig, PeerConfigError};
use status::StatusBoard;
pub use status::{SessionStatus, Sessions};

/// Finds the other addresses of the interface that holds a session's local
/// address. Called when TCP came up; must not block. Leave `link_local` empty
/// unless the peer is known to share the link.
pub type AddressLookup = Arc<dyn Fn(IpAddr) -> LocalAddresses + Send + Sync>;

/// Starts the driver.
///
/// It ends when the sender of `desired` is dropped: sessions that negotiated
/// graceful restart are closed without a word, all others with NOTIFICATION
/// Cease, and the handle completes when that is done (at most about a second).
/// A driver that completes earlier has failed: treat it as the agent's failure.
///
/// The first value that names a peer should hold all of its routes: with graceful
/// restart, the End-of-RIB marker after them makes the peer forget all others.
///
/// Must be called inside a tokio runtime with IO and time.
pub fn start(
    desired: watch::Receiver<Arc<DesiredPeers>>,
    lookup: AddressLookup,
) -> (watch::Receiver<Arc<Sessions>>, JoinHandle<()>) {
    let (board, sessions) = StatusBoard::new();
    (sessions, tokio::spawn(supervisor::run(desired, lookup, board)))
}
