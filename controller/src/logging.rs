//! The log: one line an event, on stdout, levels by MetalLB's names.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts logging. `level` is one of MetalLB's, all, debug, info, warn,
/// error and none, or trace, which is all.
/// Libraries below say little unless everything is asked for.
pub fn start(level: &str, format: LogFormat) {
    let filter = match level {
        "all" | "trace" => "trace",
        "debug" => "info,clarion_controller=debug",
        "warn" => "warn",
        "error" => "error",
        "none" => "off",
        _ => "warn,clarion_controller=info",
    };
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// An error with all of its causes on one line: `#[source]`s are not in `Display`.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
