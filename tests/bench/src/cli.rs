//! The command line: which groups, in which order, printed how.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};

use crate::cluster::Cluster;
use crate::{Row, Rows, addresses, bgp, dataplane, layer2, operate, scale};

/// Measures Clarion in the lab, against rivals of the same run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    /// Groups; all when none is named.
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Also write the rows to a file, as a JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Ten thousand Services where a short run has one thousand: half an hour more.
    #[arg(long)]
    full: bool,
}

/// A group of rows, in the order in which they run: memory before anything has
/// used the cluster, power-offs last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The program in the kernel, frame by frame and on a wire.
    Dataplane,
    /// What running it costs.
    Operate,
    /// From a Service to its address and its first answer.
    Addresses,
    /// From a Service to its route.
    Bgp,
    /// From a power-off to the next answer.
    Layer2,
}

const ALL: [Group; 5] = [Group::Dataplane, Group::Operate, Group::Addresses, Group::Bgp, Group::Layer2];

impl Group {
    fn word(self) -> &'static str {
        match self {
            Self::Dataplane => "dataplane",
            Self::Operate => "operate",
            Self::Addresses => "addresses",
            Self::Bgp => "bgp",
            Self::Layer2 => "layer2",
        }
    }
}

/// Measures and prints. The exit code is 1 when a group could not be measured;
/// a bar that does not hold is a finding and no failure.
pub fn main() -> ExitCode {
    if let Err(error) = clarion_lab::signals::exit_on_signals() {
        eprintln!("bench: {error:#}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let groups: Vec<Group> =
        ALL.into_iter().filter(|group| cli.groups.is_empty() || cli.groups.contains(group)).collect();
    let mut rows = Rows::new();
    let failed = measure(&groups, cli.full, &mut rows);
    println!("{}", table(rows.rows()));
    for note in rows.notes() {
        println!("note: {note}");
    }
    for (group, error) in &failed {
        println!("{group} could not be measured: {error:#}");
    }
    if let Some(file) = &cli.json
        && let Err(error) = write_json(file, rows.rows())
    {
        eprintln!("bench: {error:#}");
        return ExitCode::FAILURE;
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the groups; one that fails does not keep the others from running.
fn measure(groups: &[Group], full: bool, rows: &mut Rows) -> Vec<(&'static str, anyhow::Error)> {
    let mut failed = Vec::new();
    let mut cluster = None;
    for group in groups {
        eprintln!("{}", group.word());
        let begin = Instant::now();
        let before = rows.rows().len();
        let result = one(*group, full, &mut cluster, rows);
        let count = rows.rows().len() - before;
        eprintln!("  {count} rows in {:.1} s", begin.elapsed().as_secs_f64());
        if let Err(error) = result {
            // What failed may have left the cluster in any state.
            cluster = None;
            failed.push((group.word(), error));
        } else if count == 0 {
            rows.note(format!("{} has no rows yet", group.word()));
        }
    }
    failed
}

fn one(group: Group, full: bool, shared: &mut Option<Cluster>, rows: &mut Rows) -> Result<()> {
    if group == Group::Dataplane {
        return dataplane::run(rows);
    }
    let cluster = match shared {
        Some(cluster) => cluster,
        None => shared.insert(Cluster::start()?),
    };
    match group {
        Group::Dataplane => Ok(()),
        Group::Operate => operate::run(cluster, rows),
        Group::Addresses => {
            addresses::run(cluster, rows)?;
            // It would share the cores with the next lab.
            *shared = None;
            scale::run(full, rows)
        }
        Group::Bgp => bgp::run(cluster, rows),
        Group::Layer2 => layer2::run(cluster, rows),
    }
}

fn write_json(file: &Path, rows: &[Row]) -> Result<()> {
    let mut text = serde_json::to_string_pretty(rows)?;
    text.push('\n');
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// The table for people. Colours only show on a terminal.
fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "group", "what", "unit", "runs", "p50", "p99", "min", "max", "versus", "ratio", "bar", "",
    ]);
    for row in rows {
        let number = |value: f64| Cell::new(figure(value)).set_alignment(CellAlignment::Right);
        let versus = row.versus.as_ref().map(|v| format!("{} {}", figure(v.p50), v.name)).unwrap_or_default();
        table.add_row([
            Cell::new(&row.group),
            Cell::new(&row.name),
            Cell::new(&row.unit),
            Cell::new(row.runs).set_alignment(CellAlignment::Right),
            number(row.p50).add_attribute(Attribute::Bold),
            number(row.p99),
            number(row.min),
            number(row.max),
            Cell::new(versus),
            row.ratio.map_or_else(|| Cell::new(""), |ratio| Cell::new(format!("{ratio:.2} ×"))),
            Cell::new(row.bar.as_deref().unwrap_or("")),
            match row.holds {
                Some(true) => Cell::new("holds").fg(Color::Green),
                Some(false) => Cell::new("does not hold").fg(Color::Red),
                None => Cell::new(""),
            },
        ]);
    }
    table
}

/// Three significant digits or whole numbers, as the size asks for.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bar;

    #[test]
    fn the_table_says_in_words_whether_a_bar_holds() {
        let text = table(&[
            Row::new("dataplane", "a", "ns", &[50.0]).bar(Bar::AtMost(60.0)),
            Row::new("dataplane", "b", "ns", &[70.0]).bar(Bar::AtMost(60.0)),
        ])
        .to_string();
        assert!(text.contains("does not hold") && text.contains("≤ 60 ns"), "{text}");
    }

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        assert_eq!(
            [figure(1234.5), figure(12.34), figure(1.234), figure(0.0)],
            ["1234", "12.3", "1.23", "0.00"]
        );
    }

    #[test]
    fn the_rows_of_a_file_can_be_read_again() {
        let file = std::env::temp_dir().join(format!("clarion-bench-{}.json", std::process::id()));
        write_json(&file, &[Row::new("bgp", "a", "ms", &[1.0])]).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["group"], "bgp");
        assert!(rows[0]["versus"].is_null());
    }
}
