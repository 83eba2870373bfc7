//! Logs: text for people, JSON for machines, MetalLB's level words.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Args, LogFormat};

/// Starts logging to stderr.
///
/// # Errors
/// The level is none of those words.
pub fn start(args: &Args) -> anyhow::Result<()> {
    let level = match args.log_level.as_str() {
        "all" => "trace",
        "none" => "off",
        other => other,
    };
    let level: LevelFilter = level.parse().map_err(|_| {
        anyhow::anyhow!("--log-level {level:?}: use all, trace, debug, info, warn, error or none")
    })?;
    // Targets instead of EnvFilter: it does without the regular expression engine,
    // which would cost half a megabyte on every node.
    let mut filter = Targets::new().with_default(level);
    if level < LevelFilter::DEBUG {
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
