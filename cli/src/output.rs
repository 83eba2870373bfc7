//! Tables with colour on a terminal; JSON and YAML for programs.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use serde::Serialize;

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// Stable, for programs.
    Json,
    /// Stable, for programs.
    Yaml,
}

/// Prints `report` as asked; `human` makes the text for people.
pub(crate) fn print<R: Serialize>(
    format: Format,
    report: &R,
    human: impl FnOnce(&R) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => human(report),
        Format::Json => serde_json::to_string_pretty(report)?,
        Format::Yaml => serde_yaml::to_string(report)?,
    };
    write(&text)
}

/// Prints a text.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    // A closed pipe (`| head`) is no error of ours.
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A borderless table as kubectl prints them.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [Cell; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(|h| Cell::new(h).fg(Color::DarkGrey)));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    if !std::io::stdout().is_terminal() {
        table.force_no_tty();
    }
    // comfy-table pads the last column; a diff of two outputs should not see blanks.
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A cell that is good, or draws the eye.
#[expect(clippy::needless_pass_by_value, reason = "callers pass texts, numbers and references alike")]
pub(crate) fn verdict(text: impl ToString, good: bool) -> Cell {
    Cell::new(text.to_string()).fg(if good { Color::Green } else { Color::Red })
}

/// A plain cell; `-` where there is nothing, as kubectl writes `<none>`.
#[expect(clippy::needless_pass_by_value, reason = "callers pass texts, numbers and references alike")]
pub(crate) fn plain(text: impl ToString) -> Cell {
    let text = text.to_string();
    Cell::new(if text.is_empty() { "-".to_owned() } else { text })
}
