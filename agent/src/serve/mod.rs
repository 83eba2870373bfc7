//! What the agent shows of itself over HTTP: metrics, probes, and the admin view.
//!
//! Two listeners: `/metrics` for Prometheus on all addresses, and on the loopback
//! `/healthz`, `/readyz` and `/state`, which nobody but the node itself needs.

mod metrics;
mod state;
mod text;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use clarion_daemon::http::{Reach, listen, readiness};
use clarion_daemon::watch::Watches;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::bgp::Sessions;
use crate::desired::Desired;
use crate::fast::{Counted, CountersRequest, FastStatus, Pulse};
use crate::slow::{Counts, SlowStatus};

const METRICS_FLAG: &str = "--port";
const PROBES_FLAG: &str = "--health-probe-port";

/// The fast half answers a scrape within this or the scrape goes without.
const COUNTERS_TIMEOUT: Duration = Duration::from_secs(1);

/// A fast half that did not go round for this long hangs.
const HUNG: Duration = Duration::from_secs(10);

/// Everything that is shown, read from where it is published.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) args: Arc<Args>,
    pub(crate) desired: watch::Receiver<Option<Arc<Desired>>>,
    pub(crate) fast: watch::Receiver<Arc<FastStatus>>,
    pub(crate) slow: watch::Receiver<Arc<SlowStatus>>,
    pub(crate) sessions: watch::Receiver<Arc<Sessions>>,
    pub(crate) counters: mpsc::Sender<CountersRequest>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) watches: Watches,
}

impl Sources {
    async fn counted(&self) -> Option<Counted> {
        let (tx, rx) = oneshot::channel();
        self.counters.try_send(tx).ok()?;
        tokio::time::timeout(COUNTERS_TIMEOUT, rx).await.ok()?.ok()
    }

    /// What keeps the agent from being ready; empty when maps, watches and
    /// sessions reflect the desired state.
    fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> =
            self.slow.borrow().missing.iter().map(|kind| format!("the first list of {kind}")).collect();
        missing.extend(self.watches.denied());
        missing.extend(self.fast.borrow().missing.iter().cloned());
        let desired = self.desired.borrow();
        let wanted = desired.iter().flat_map(|d| d.peers.keys());
        let sessions = self.sessions.borrow();
        // A session need not be up (routers have their own lives); it must be under way.
        missing.extend(
            wanted
                .filter(|name| !sessions.contains_key(*name))
                .map(|name| format!("the session with BGPPeer {name}")),
        );
        missing
    }
}

/// Starts the listeners.
///
/// # Errors
/// A port is taken.
pub(crate) async fn start(sources: Sources, tasks: &mut JoinSet<anyhow::Error>) -> anyhow::Result<()> {
    let metrics = listen(Reach::Everybody, sources.args.port, METRICS_FLAG).await?;
    let router = Router::new().route("/metrics", get(metrics_page)).with_state(sources.clone());
    tasks.spawn(serve(metrics, METRICS_FLAG, router));
    // Nobody but the node itself may ask.
    let probes = listen(Reach::Loopback, sources.args.health_probe_port, PROBES_FLAG).await?;
    let router = Router::new()
        .route("/healthz", get(health_page))
        .route("/readyz", get(ready_page))
        .route("/state", get(state_page))
        .with_state(sources);
    tasks.spawn(serve(probes, PROBES_FLAG, router));
    Ok(())
}

async fn serve(listener: Option<TcpListener>, flag: &'static str, router: Router) -> anyhow::Error {
    clarion_daemon::http::serve(listener, flag, router).await.into()
}

async fn metrics_page(State(sources): State<Sources>) -> impl IntoResponse {
    let counted = sources.counted().await;
    ([(header::CONTENT_TYPE, text::CONTENT_TYPE)], metrics::page(&sources, counted.as_ref()))
}

/// Unhealthy is only what a new process would cure. Whether the API server can be
/// reached is not that: an agent that restarts for it would lose its last good state.
async fn health_page(State(sources): State<Sources>) -> impl IntoResponse {
    let age = sources.pulse.age();
    if age < HUNG {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the fast half has not gone round for {} s\n", age.as_secs()),
        )
    }
}

async fn ready_page(State(sources): State<Sources>) -> impl IntoResponse {
    readiness(&sources.missing().iter().map(|what| format!("waiting for {what}")).collect::<Vec<_>>())
}

async fn state_page(State(sources): State<Sources>) -> impl IntoResponse {
    let counted = sources.counted().await;
    let page = state::page(&sources, counted.as_ref());
    ([(header::CONTENT_TYPE, "application/json")], format!("{page:#}\n"))
}
