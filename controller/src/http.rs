//! /metrics on one port, /healthz and /readyz on another.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use clarion_daemon::http::{HttpError, Reach, listen, readiness, serve};
use clarion_daemon::watch::Watches;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Why this process is not ready; empty: it is. A standby is ready too: it could take over.
pub type Unready = Vec<String>;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const METRICS_FLAG: &str = "--port";
const HEALTH_FLAG: &str = "--health-probe-port";

/// Serves /metrics; port 0 serves nothing, for ever.
///
/// # Errors
/// The port cannot be had, or the server ended.
pub async fn metrics(port: u16, metrics: Metrics) -> Result<(), HttpError> {
    let page = move || {
        let metrics = metrics.clone();
        async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics.page()) }
    };
    let listener = listen(Reach::Everybody, port, METRICS_FLAG).await?;
    Err(serve(listener, METRICS_FLAG, Router::new().route("/metrics", get(page))).await)
}

/// Serves /healthz and /readyz; port 0 serves nothing, for ever.
///
/// # Errors
/// The port cannot be had, or the server ended.
pub async fn health(port: u16, unready: watch::Receiver<Unready>, watches: Watches) -> Result<(), HttpError> {
    let ready = move || {
        let mut missing = unready.borrow().clone();
        missing.extend(watches.denied());
        async move { readiness(&missing) }
    };
    let router = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready));
    let listener = listen(Reach::Everybody, port, HEALTH_FLAG).await?;
    Err(serve(listener, HEALTH_FLAG, router).await)
}
