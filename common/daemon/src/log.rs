//! The log: one line an event, on stderr, MetalLB's words for the levels.

use clap::ValueEnum;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// `--log-level`: MetalLB's words, and trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// The same as trace.
    All,
    /// Everything, of libraries too: bodies of requests among it.
    Trace,
    /// What is done, step by step.
    Debug,
    /// What changes.
    Info,
    /// What somebody should look at.
    Warn,
    /// What does not work.
    Error,
    /// Nothing.
    None,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; to be called once.
pub fn start(level: Level, format: Format) {
    // Targets instead of EnvFilter: it does without the regular expression engine, which
    // would cost half a megabyte on every node.
    let registry = tracing_subscriber::registry().with(filter(level));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    match format {
        Format::Text => registry.with(layer.with_ansi(false)).init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}

fn filter(level: Level) -> Targets {
    let level = match level {
        Level::All | Level::Trace => return Targets::new().with_default(LevelFilter::TRACE),
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
        Level::None => LevelFilter::OFF,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // By prefix: all rooms.
        .with_target("clarion", level)
        // They log each failed request, with the whole body where it cannot be decoded. Who made
        // the request says it, once, with what it means.
        .with_target("kube", LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as Of;

    #[test]
    fn libraries_are_quiet_and_kube_is_silent() {
        // (flag, target, level, written)
        for (flag, target, level, written) in [
            (Level::Info, "clarion_agent::slow", Of::INFO, true),
            (Level::Info, "clarion_agent::slow", Of::DEBUG, false),
            (Level::Info, "hyper", Of::INFO, false),
            (Level::Info, "hyper", Of::WARN, true),
            (Level::Error, "hyper", Of::WARN, false),
            (Level::Debug, "clarion_controller", Of::DEBUG, true),
            (Level::Debug, "kube_client::client", Of::WARN, false),
            (Level::Debug, "kube_runtime::watcher", Of::WARN, false),
            (Level::All, "kube_client::client", Of::WARN, true),
            (Level::None, "clarion_agent", Of::ERROR, false),
        ] {
            assert_eq!(filter(flag).would_enable(target, &level), written, "{flag:?} {target} {level}");
        }
    }
}
