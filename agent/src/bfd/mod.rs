//! The BFD driver: sockets, a thread and time around `clarion-bfd`.
//!
//! ```text
//!   BfdPeers (watch) ──► thread "bfd": one Speaker, all sessions ──► UDP
//!   Statuses (watch) ◄──────────┘
//! ```
//!
//! One thread for all sessions, and nothing else on it: a profile of 10 ms × 3 leaves no
//! time to wait for a plan of ten thousand addresses. BGP's supervisor starts it with the
//! first peer that asks for BFD, tells it what should be, and begins it again should it
//! fail; a peer's task reads its session's status and acts on what changed there. So BGP
//! knows of BFD only what a [`BfdStatus`] says.

mod entry;
mod link;
mod listen;
mod speaker;
mod status;
mod transmit;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

use clarion_bfd::SessionConfig;
use clarion_bfd::session::{ControlPlane, Role};
use clarion_bfd::wire::Interval;
use clarion_config::BfdProfile;
use tokio::sync::{oneshot, watch};

pub(crate) use status::Board;
pub use status::{BfdState, BfdStatus, Statuses};

/// The sessions that should be, by BGPPeer.
pub(crate) type BfdPeers = BTreeMap<String, BfdPeer>;

/// What a BGPPeer asks of BFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BfdPeer {
    /// Where the peer is.
    pub(crate) address: IpAddr,
    /// `spec.sourceAddress`.
    pub(crate) source: Option<IpAddr>,
    /// `spec.vrf`, or the interface of a link-local peer.
    pub(crate) device: Option<String>,
    /// Whether the peer may be several hops away.
    pub(crate) distance: Distance,
    /// The profile that it names.
    pub(crate) profile: BfdProfile,
}

/// How far away a BGP peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// On the link.
    Near,
    /// Several hops.
    Far,
    /// An internal peer: what its address and ours say. So does FRR.
    ByAddress,
}

/// The protocol's parameters for a profile. Echo packets are not sent and not looped back;
/// the slow half tells of profiles that ask for them.
fn parameters(profile: &BfdProfile) -> SessionConfig {
    SessionConfig {
        transmit_interval: Interval::from_millis(profile.transmit_interval_ms),
        receive_interval: Interval::from_millis(profile.receive_interval_ms),
        multiplier: NonZeroU8::new(profile.detect_multiplier).unwrap_or(NonZeroU8::MIN),
        role: if profile.passive_mode { Role::Passive } else { Role::Active },
        echo: None,
        loop_back: None,
        minimum_ttl: profile.minimum_ttl,
        // The thread ends with the agent.
        control_plane: ControlPlane::Shared,
    }
}

/// The running thread.
pub(crate) struct Handle {
    /// What should be. Dropping it ends the thread: peers are told that their sessions are
    /// held down, which says nothing about the path (RFC 5882 §4.2).
    pub(crate) desired: watch::Sender<Arc<BfdPeers>>,
    /// Comes when the thread has ended, with an error if it failed.
    pub(crate) done: oneshot::Receiver<()>,
}

/// Starts the thread.
///
/// # Errors
/// No thread could be made.
pub(crate) fn start(desired: Arc<BfdPeers>, board: Board) -> std::io::Result<Handle> {
    let (sender, receiver) = watch::channel(desired);
    let (done_tx, done) = oneshot::channel();
    std::thread::Builder::new().name("bfd".to_owned()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(speaker::run(receiver, board)),
            Err(error) => {
                tracing::error!(%error, "BFD has no runtime");
                return;
            }
        }
        // Nobody listens when the agent ends anyway.
        let _heard = done_tx.send(());
    })?;
    Ok(Handle { desired: sender, done })
}
