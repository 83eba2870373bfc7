//! /metrics on one port, /healthz and /readyz on another.

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Why this process is not ready; empty: it is. A standby is ready too: it could take over.
pub type Unready = Vec<String>;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves /metrics; port 0 serves nothing, for ever.
///
/// # Errors
/// The port cannot be had.
pub async fn metrics(port: u16, metrics: Metrics) -> anyhow::Result<()> {
    let page = move || {
        let metrics = metrics.clone();
        async move { ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics.page()) }
    };
    serve(port, "--port", Router::new().route("/metrics", get(page))).await
}

/// Serves /healthz and /readyz; port 0 serves nothing, for ever.
///
/// # Errors
/// The port cannot be had.
pub async fn health(port: u16, unready: watch::Receiver<Unready>) -> anyhow::Result<()> {
    let ready = move || {
        let reasons = unready.borrow().join("\n");
        async move {
            match reasons.as_str() {
                "" => (StatusCode::OK, "ok\n".to_owned()),
                reasons => (StatusCode::SERVICE_UNAVAILABLE, format!("{reasons}\n")),
            }
        }
    };
    let router = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready));
    serve(port, "--health-probe-port", router).await
}

async fn serve(port: u16, flag: &str, router: Router) -> anyhow::Result<()> {
    if port == 0 {
        return std::future::pending().await;
    }
    // One socket for both families, unless the host has no IPv6.
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = match TcpListener::bind(both).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(("0.0.0.0", port))
            .await
            .with_context(|| format!("cannot listen on port {port}: choose another by {flag}"))?,
    };
    axum::serve(listener, router).await.with_context(|| format!("the server on port {port} ended"))
}
