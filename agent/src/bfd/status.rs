//! What a BFD session tells the rest of the agent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use clarion_bfd::session::{Counters, Timing};
use tokio::sync::watch;

pub use clarion_bfd::wire::State as BfdState;

/// Status of all BFD sessions by BGPPeer name.
pub type Statuses = BTreeMap<String, BfdStatus>;

/// One BGPPeer's BFD session.
#[derive(Debug, Clone, PartialEq)]
pub struct BfdStatus {
    /// The profile in force.
    pub profile: String,
    /// The peer: label `peer` of MetalLB's BFD metrics.
    pub peer: IpAddr,
    /// The VRF, if the session is in one.
    pub device: Option<String>,
    /// State of the session; `Down` if there is none for [`Self::problem`].
    pub state: BfdState,
    /// Since when.
    pub since: SystemTime,
    /// Why it is in that state.
    pub cause: Option<String>,
    /// How often the path failed: from up to down, but for a peer's operator who switched
    /// the session off, which says nothing about the path (RFC 5882 §4.2).
    pub failures: u64,
    /// Why the path failed last.
    pub failure: Option<String>,
    /// The pace that both sides agreed on.
    pub timing: Option<Timing>,
    /// Packets and changes.
    pub counters: Counters,
    /// Why there is no session, or why it cannot send.
    pub problem: Option<String>,
}

/// Where the thread writes and everybody else reads.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<watch::Sender<Arc<Statuses>>>);

impl Board {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Arc::default())))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Statuses>> {
        self.0.subscribe()
    }

    pub(super) fn set(&self, statuses: Statuses) {
        self.0.send_if_modified(|all| {
            let news = **all != statuses;
            if news {
                *all = Arc::new(statuses);
            }
            news
        });
    }
}
