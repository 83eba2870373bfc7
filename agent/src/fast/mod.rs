//! The fast half: a thread and a runtime of its own, which never wait for the API
//! server. It knows who owns what, and keeps the kernel program, the segment and the
//! multicast groups in step with it.
//!
//! One loop, one owner of all state, no locks: something happens (what the ownership
//! machine hears or decides, a new [`Desired`], a change of the host's interfaces, a
//! deadline), the wanted state is computed by a pure function ([`plan::wanted`]),
//! and the difference is applied at once.

mod changes;
mod gratuitous;
mod half;
mod ownership;
mod packet;
pub(crate) mod plan;
mod scope;
mod slice;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use clarion_dataplane::Dataplane;
use tokio::sync::{mpsc, oneshot, watch};

#[cfg(test)]
pub(crate) use self::ownership::OwnerReason;
pub(crate) use self::ownership::{Standing, Told};
#[cfg(test)]
pub(crate) use self::plan::VipStatus;
pub(crate) use self::plan::{VipState, Vips};
pub(crate) use self::status::{FastStatus, Pulse};
use crate::bgp::{DesiredPeers, Sessions};
use crate::desired::owners::Owners;
use crate::desired::{Desired, Me};

/// What the fast half is started with.
pub(crate) struct Inputs {
    pub(crate) me: Me,
    pub(crate) dataplane: Dataplane,
    /// File of MetalLB's ConfigMap metallb-excludel2; need not exist.
    pub(crate) exclusion_file: std::path::PathBuf,
    pub(crate) desired: watch::Receiver<Option<Arc<Desired>>>,
    pub(crate) peers: watch::Receiver<Arc<DesiredPeers>>,
    /// The plan of owners, the nodes in it, the cluster's key.
    pub(crate) owners: watch::Receiver<Arc<Owners>>,
    /// UDP port of agents and kernels.
    pub(crate) port: u16,
    /// How long the kernel goes on without an agent.
    pub(crate) restart_grace: std::time::Duration,
    pub(crate) counters: mpsc::Receiver<CountersRequest>,
    pub(crate) status: watch::Sender<Arc<FastStatus>>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) sessions: watch::Sender<Arc<Sessions>>,
    /// Whether to end, and how; pins stay.
    pub(crate) stop: watch::Receiver<Life>,
}

/// What is handed over at the end has this long to be claimed.
pub(crate) const HAND_OVER: std::time::Duration = std::time::Duration::from_millis(1200);

/// Whether the agent goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Runs,
    /// It ends, and another one is expected: the kernel goes on with what this one holds.
    Restarts,
    /// It ends for good: what it holds is handed to other nodes first.
    Leaves,
}

/// A request for what was counted.
pub(crate) type CountersRequest = oneshot::Sender<Counted>;

/// What was counted since the maps (kernel) and the process (frames) began.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) kernel: clarion_dataplane::Counters,
    /// Gratuitous frames sent, by address.
    pub(crate) gratuitous: std::collections::BTreeMap<std::net::IpAddr, u64>,
    /// What the ownership machine noted.
    pub(crate) told: Told,
}

/// Starts the thread. The receiver gets the error that ended it, or nothing when
/// it was told to stop.
///
/// # Errors
/// No thread could be made.
pub(crate) fn start(inputs: Inputs) -> std::io::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let (done_tx, done) = oneshot::channel();
    std::thread::Builder::new().name("fast".to_owned()).spawn(move || {
        if let Err(error) = slice::shorten() {
            tracing::debug!(%error, "the fast half is scheduled like any other thread");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(half::run(inputs)),
            Err(error) => Err(anyhow::Error::new(error).context("the fast half has no runtime")),
        };
        // Nobody listens when the process ends anyway.
        drop(done_tx.send(result));
    })?;
    Ok(done)
}
