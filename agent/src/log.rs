//! Logs: text for people, JSON for machines, MetalLB's level words.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

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
    let filter = EnvFilter::try_new(level).map_err(|error| {
        anyhow::anyhow!("--log-level {level:?}: {error}; use trace, debug, info, warn or error")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
