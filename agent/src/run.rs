//! The agent's life: open the pins (the kernel goes on answering), start both
//! halves, wait for the end, leave everything pinned.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clarion_core::NodeName;
use clarion_daemon::watch::Watches;
use clarion_dataplane::Dataplane;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::desired::Me;
use crate::fast::VipState;
use crate::{capabilities, fast, serve, slow};

/// BGP says goodbye within this, or not at all; what is handed over is claimed by then.
const GOODBYE: Duration = Duration::from_millis(1500);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Something that cannot be repaired from within: kubelet starts the agent anew,
/// and the kernel answers meanwhile.
pub async fn run(args: Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        !args.node_name.is_empty(),
        "--node-name is not set: give the DaemonSet the environment METALLB_NODE_NAME from fieldRef spec.nodeName"
    );
    let lacking = capabilities::missing();
    anyhow::ensure!(
        lacking.is_empty(),
        "the agent lacks {}: add what is missing to securityContext.capabilities.add of the DaemonSet",
        lacking.join(", ")
    );
    let ignored = args.ignored();
    if !ignored.is_empty() {
        tracing::warn!(
            flags = ignored.join(" "),
            "these flags of MetalLB's speaker mean nothing here: remove them"
        );
    }
    let args = Arc::new(args);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // First of all, so that the heartbeat of an agent that restarts is not missed.
    let dataplane = Dataplane::open(args.dataplane())?;
    dataplane.beat()?;
    let client = clarion_daemon::client::connect().await?;
    let watches = Watches::default();

    let (desired_tx, desired) = watch::channel(None);
    let (peers_tx, peers) = watch::channel(Arc::default());
    let (owners_tx, owners) = watch::channel(Arc::default());
    let (slow_tx, slow_rx) = watch::channel(Arc::default());
    let (fast_tx, mut fast_rx) = watch::channel(Arc::default());
    let (sessions_tx, sessions) = watch::channel(Arc::default());
    let (counters_tx, counters) = mpsc::channel(4);
    let (stop_tx, stop) = watch::channel(fast::Life::Runs);
    let pulse = Arc::new(fast::Pulse::new());
    let counts = Arc::new(slow::Counts::default());

    let me =
        Me { node: NodeName::new(args.node_name.as_str()), ignore_exclude_label: args.ignore_exclude_lb };
    let mut fast_done = fast::start(fast::Inputs {
        me,
        dataplane,
        exclusion_file: args.exclude_l2_config.clone(),
        desired: desired.clone(),
        peers,
        owners,
        port: args.ml_bindport,
        restart_grace: Duration::from_secs(args.restart_grace),
        counters,
        status: fast_tx,
        pulse: Arc::clone(&pulse),
        sessions: sessions_tx,
        stop,
    })
    .context("cannot start the thread of the fast half")?;

    let mut tasks = JoinSet::new();
    let sources = serve::Sources {
        args: Arc::clone(&args),
        desired: desired.clone(),
        fast: fast_rx.clone(),
        slow: slow_rx,
        sessions,
        counters: counters_tx,
        counts: Arc::clone(&counts),
        pulse,
        watches: watches.clone(),
    };
    serve::start(sources, &mut tasks).await?;
    let outputs = slow::Outputs { desired: desired_tx, peers: peers_tx, owners: owners_tx, status: slow_tx };
    tasks.spawn(slow::run(Arc::clone(&args), client, watches, outputs, fast_rx.clone(), counts));
    tracing::info!(node = args.node_name, version = env!("CARGO_PKG_VERSION"), "clarion-agent runs");

    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = tasks.join_next() => Err(match ended {
            Some(Ok(error)) => error,
            Some(Err(error)) => anyhow::Error::new(error).context("a task of the agent failed"),
            None => anyhow::anyhow!("the agent has no tasks left"),
        }),
        ended = &mut fast_done => return ended.context("the fast half panicked")?.context("the fast half failed"),
    };
    if desired.borrow().as_ref().is_some_and(|desired| desired.cordoned) {
        tracing::info!("ending on a node that is cordoned: its layer 2 addresses are handed over");
        stop_tx.send_replace(fast::Life::Leaves);
        // The fast half needs the slow one until then.
        let gone = fast_rx.wait_for(|fast| fast.vips.values().all(|vip| vip.state != VipState::Announced));
        if tokio::time::timeout(fast::HAND_OVER, gone).await.is_err() {
            tracing::warn!("not all addresses were claimed by other nodes in time");
        }
    } else {
        tracing::info!("ending; the kernel goes on answering for {} s", args.restart_grace);
        stop_tx.send_replace(fast::Life::Restarts);
    }
    // Ends the slow half, and with it the last sender of BGP's desired state.
    tasks.shutdown().await;
    if tokio::time::timeout(GOODBYE, fast_done).await.is_err() {
        tracing::warn!("BGP sessions did not end in time");
    }
    result
}
