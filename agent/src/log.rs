//! Logs: text for people, JSON for machines, MetalLB's level words.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Args, LogFormat};

/// Starts logging to stderr.
///
/// # Errors
/// The level is no filter.
pub fn start(args: &Args) -> anyhow::Result<()> {
    let level = match args.log_level.as_str() {
        "all" => "trace",
        "none" => "off",
        other => other,
    };
    // Targets instead of EnvFilter: the same `info,hyper=warn`, without the regular
    // expression engine that would cost half a megabyte on every node.
    let mut filter: Targets = level.parse().map_err(|error| {
        anyhow::anyhow!("--log-level {level:?}: {error}; use trace, debug, info, warn or error")
    })?;
    if filter.iter().next().is_none() && filter.default_level() < Some(LevelFilter::DEBUG) {
        // Every failed request is reported by who made it, with what it means.
        filter = filter.with_target("kube_client", LevelFilter::OFF);
    }
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).init(),
        LogFormat::Json => registry.with(layer.json()).init(),
    }
    Ok(())
}
