//! The log: one line an event, on stderr, MetalLB's words for the levels.
//!
//! Much of what is logged was written by others: annotations, errors of the API server. So a line
//! is made safe where all pass, before it is written: no text in it begins another line, moves a
//! terminal's cursor, or is longer than somebody reads.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::text::cut;

/// The longest line as text.
const LONGEST_LINE: usize = 4096;
/// The longest text in a line of JSON that is longer than that.
const LONGEST_VALUE: usize = 1024;

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
    let layer = tracing_subscriber::fmt::layer().with_writer(Lines(format)).with_target(false);
    match format {
        Format::Text => registry.with(layer.with_ansi(false)).init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}

/// Makes a [`Line`] for each event.
struct Lines(Format);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { format: self.0, text: Vec::new() }
    }
}

/// What one event has written, until it is complete.
struct Line {
    format: Format,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let line = one_line(self.format, text.trim_end_matches('\n'));
        // There is nobody to tell that the log cannot be written.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// The line as it is written: without line breaks and control characters, and not longer than
/// people and collectors of logs take.
fn one_line(format: Format, line: &str) -> Cow<'_, str> {
    if line.len() <= LONGEST_LINE && !line.contains(char::is_control) {
        return Cow::Borrowed(line);
    }
    // JSON has none of them outside of its texts, where they are escaped.
    if format == Format::Json
        && let Ok(mut value) = serde_json::from_str(line)
    {
        shorten(&mut value);
        return Cow::Owned(value.to_string());
    }
    let escaped = cut(line.to_owned(), LONGEST_LINE);
    let escaped = escaped.chars().flat_map(|c| {
        let escape = c.is_control().then(|| c.escape_default());
        escape.into_iter().flatten().chain((!c.is_control()).then_some(c))
    });
    Cow::Owned(escaped.collect())
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONGEST_VALUE => *text = cut(std::mem::take(text), LONGEST_VALUE),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Array(all) => all.iter_mut().for_each(shorten),
        _ => {}
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
    fn an_event_is_one_line_whatever_others_wrote_into_it() {
        // (as formatted, as written)
        for (line, written) in [
            ("WARN plain é \"quoted\"", "WARN plain é \"quoted\""),
            ("WARN a\nERROR forged", r"WARN a\nERROR forged"),
            ("WARN \u{1b}[2Jgone\r\t\u{7f}", r"WARN \u{1b}[2Jgone\r\t\u{7f}"),
        ] {
            assert_eq!(one_line(Format::Text, line), written);
        }
        let long = "x".repeat(240_000);
        let text = one_line(Format::Text, &long).into_owned();
        assert!(text.len() < LONGEST_LINE + 4 && text.ends_with('…'));
        let event = serde_json::json!({ "level": "WARN", "message": long, "service": "ns/web" });
        let json: Value = serde_json::from_str(&one_line(Format::Json, &event.to_string())).unwrap();
        assert_eq!(json["service"], "ns/web");
        assert!(json["message"].as_str().is_some_and(|m| m.len() < LONGEST_VALUE + 4 && m.ends_with('…')));
    }

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
