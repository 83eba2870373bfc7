//! Puts the tasks together and ends the process when one of them ends.
//!
//! | task | lives | its end means |
//! |---|---|---|
//! | watches (one a kind) | for ever | a bug: the process ends |
//! | lease | until the clean stop, after everything that writes | a bug |
//! | reconcile | until stopped | a bug |
//! | events | until nobody can tell anything any more, best effort | – |
//! | publisher, secret, plans | for ever, best effort | – (cancelled with the rest) |
//! | /metrics, /healthz | for ever | its port is taken: the process ends |

use std::time::Duration;

use anyhow::{Context, bail};
use clarion_daemon::Refusals;
use clarion_daemon::watch::Watches;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::Args;
use crate::fence::Fence;
use crate::metrics::Metrics;
use crate::reconcile::{self, Wires};
use crate::state::State;
use crate::{events, http, lease, placement, plans, publish, secret, watches};

/// Longest wait for the lease to be given back.
const LONGEST_STOP: Duration = Duration::from_secs(3);
/// For so long the events of the last writes delay it.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Runs the controller until SIGTERM or SIGINT.
///
/// # Errors
/// There is no way to an API server, a port is taken, or a task that must not end did.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let namespace = args.namespace.clone();
    let (port, health_port) = (args.port, args.health_probe_port);
    let me = identity(&args);
    for flag in args.ignored() {
        tracing::info!(flag, "accepted for MetalLB's manifests, without effect");
    }
    let client = clarion_daemon::client::connect().await?;
    tracing::info!(namespace, identity = me, version = env!("CARGO_PKG_VERSION"), "starting");

    let metrics = Metrics::new();
    let (stop, lease_stop) = (CancellationToken::new(), CancellationToken::new());
    let (change_tx, changes) = mpsc::channel(watches::QUEUE);
    let (leading_tx, leading) = watch::channel(None);
    let (reports, report_rx) = watch::channel(None);
    let (unready, unready_rx) = watch::channel(vec!["starting".to_owned()]);
    let (terms, term_rx) = watch::channel(0);
    let (fence, refusals) = (Fence::new(leading.clone()), Refusals::default());
    let (teller, tell) =
        events::start(client.clone(), fence.clone(), me.clone(), metrics.clone(), refusals.clone());

    let tracker = TaskTracker::new();
    let all = Watches::default();
    let watching = watches::start(&client, &namespace, args.lb_class(), &all, &change_tx, term_rx, &tracker);
    let (news_tx, news) = mpsc::channel(placement::QUEUE);
    let (config_tx, config) = watch::channel(None);
    let agents = tracker.spawn(placement::watches::agents(&client, &namespace, &all, news_tx.clone()));
    let mut watching: futures::stream::FuturesUnordered<_> = watching.into_iter().chain([agents]).collect();
    let mut election = tracker.spawn(lease::run(
        client.clone(),
        namespace.clone(),
        me,
        leading_tx,
        refusals.clone(),
        lease_stop.clone(),
    ));
    let wires = Wires {
        client: client.clone(),
        class: args.lb_class().map(str::to_owned),
        changes,
        plans: plans::Feed::new(news_tx.clone(), config_tx),
        leading: leading.clone(),
        fence: fence.clone(),
        terms,
        teller: teller.clone(),
        reports,
        unready,
        refusals: refusals.clone(),
        metrics: metrics.clone(),
        stop: stop.clone(),
    };
    let planning = tracker.spawn(stop.clone().run_until_cancelled_owned(plans::run(plans::Wires {
        client: client.clone(),
        namespace: namespace.clone(),
        settings: args.placement(),
        watches: all.clone(),
        ignore_exclude_label: args.ignore_exclude_lb,
        news,
        news_tx,
        config,
        leading: leading.clone(),
        fence: fence.clone(),
        refusals: refusals.clone(),
        metrics: metrics.clone(),
    })));
    let mut reconciling = tracker.spawn(reconcile::run(State::new(&namespace), wires));
    let publishing = publish::run(
        client.clone(),
        namespace.clone(),
        report_rx,
        fence,
        teller,
        refusals.clone(),
        metrics.clone(),
    );
    let side = tracker.spawn(stop.clone().run_until_cancelled_owned(async move {
        let making = keep_secret(client, namespace, args.ml_secret_name, args.deployment, refusals, leading);
        tokio::join!(publishing, making);
    }));
    let mut telling = tracker.spawn(tell);
    let serving =
        async { tokio::try_join!(http::metrics(port, metrics), http::health(health_port, unready_rx, all)) };

    let ended = tokio::select! {
        signal = stopped() => signal,
        served = serving => served.map(drop).map_err(anyhow::Error::from),
        end = &mut reconciling => Err(anyhow::anyhow!("the reconcile task ended: {end:?}")),
        end = &mut election => Err(anyhow::anyhow!("the lease task ended: {end:?}")),
        end = futures::StreamExt::next(&mut watching) => Err(anyhow::anyhow!("a watch ended: {end:?}")),
    };
    // Writers first, then the lease: no write without it.
    stop.cancel();
    let writers = async {
        if !reconciling.is_finished() {
            drop(reconciling.await);
        }
        drop(side.await);
        drop(planning.await);
        // It ends by itself once nobody has anything to tell any longer.
        if tokio::time::timeout(LAST_WORDS, &mut telling).await.is_err() {
            telling.abort();
            drop(telling.await);
        }
    };
    if tokio::time::timeout(LONGEST_STOP, writers).await.is_err() {
        bail!("writers did not stop within {LONGEST_STOP:?}; the Lease is left to expire");
    }
    lease_stop.cancel();
    if !election.is_finished() && tokio::time::timeout(LONGEST_STOP, election).await.is_err() {
        tracing::warn!("the Lease could not be given back within {LONGEST_STOP:?}; it will expire");
    }
    ended
}

/// Keeps the cluster's key while leading.
async fn keep_secret(
    client: Client,
    namespace: String,
    name: String,
    deployment: Option<String>,
    refusals: Refusals,
    mut leading: watch::Receiver<lease::Leading>,
) {
    loop {
        if leading.wait_for(Option::is_some).await.is_err() {
            return;
        }
        tokio::select! {
            () = secret::keep(&client, &namespace, &name, deployment.as_deref(), &refusals) => {}
            gone = leading.wait_for(Option::is_none) => if gone.is_err() { return },
        }
    }
}

async fn stopped() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    Ok(())
}

/// The pod's name: a container that starts again in the same pod takes its own Lease
/// up at once. Without one, a name that nobody else has.
fn identity(args: &Args) -> String {
    let pod = args.pod_name.clone().filter(|name| !name.is_empty());
    pod.unwrap_or_else(|| format!("clarion-controller-{:08x}", rand::random::<u32>()))
}
