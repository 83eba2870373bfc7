//! What a session tells the rest of the agent: status objects, metrics and
//! `kubectl clarion` read it from one value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use clarion_bgp::Withheld;
use clarion_bgp::session::{Cause, Counters, Negotiated, StateName};
use tokio::sync::watch;

use crate::bfd::BfdStatus;

/// Status of all sessions by BGPPeer name.
pub type Sessions = BTreeMap<String, SessionStatus>;

/// One session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionStatus {
    /// Label `peer` of MetalLB's metrics: `addr:port`.
    pub peer: String,
    /// The state of RFC 4271 §8.2.2.
    pub state: StateName,
    /// Since when it is in that state, for ages.
    pub since: Instant,
    /// The same for people.
    pub since_wall: SystemTime,
    /// Why it is in that state.
    pub cause: Cause,
    /// Why the last session or attempt failed; kept when the next one is under way.
    pub last_failure: Option<Cause>,
    /// What was agreed, while Established.
    pub negotiated: Option<Negotiated>,
    /// How often it was Established.
    pub established: u64,
    /// Messages and routes, over all sessions with this peer.
    pub counters: Counters,
    /// Prefixes the peer has been told: `announced_prefixes_total`.
    pub announced: usize,
    /// Prefixes the peer should be told, in MetalLB's words "that should be being
    /// advertised": `pending_prefixes_total`.
    pub wanted: usize,
    /// Routes that cannot be sent, by reason.
    pub withheld: BTreeMap<Withheld, usize>,
    /// The BFD session that watches the path, if the BGPPeer asks for one.
    pub bfd: Option<BfdStatus>,
}

impl SessionStatus {
    /// `session_up` of MetalLB's metrics.
    #[must_use]
    pub fn up(&self) -> bool {
        self.state == StateName::Established
    }

    /// `updates_total` of MetalLB's metrics: UPDATE messages sent.
    #[must_use]
    pub fn updates_total(&self) -> u64 {
        self.counters.updates_sent
    }
}

/// Where the tasks write and everybody else reads.
#[derive(Debug, Clone)]
pub(super) struct StatusBoard(Arc<watch::Sender<Arc<Sessions>>>);

impl StatusBoard {
    pub(super) fn new() -> (Self, watch::Receiver<Arc<Sessions>>) {
        let (sender, receiver) = watch::channel(Arc::default());
        (Self(Arc::new(sender)), receiver)
    }

    pub(super) fn set(&self, name: &str, status: SessionStatus) {
        self.0.send_modify(|all| {
            Arc::make_mut(all).insert(name.to_owned(), status);
        });
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.send_modify(|all| {
            Arc::make_mut(all).remove(name);
        });
    }
}
