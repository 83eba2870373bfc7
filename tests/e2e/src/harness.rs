//! Runs many tests on few labs.
//!
//! A group is a topology and its tests, one after the other on one lab: its
//! start costs more than most tests. A test leaves the lab as it found it; after
//! one that failed the group's lab is taken down and a new one started, so that
//! one failure is one failure.

use anyhow::{Context, Result};
use clarion_lab::{Lab, Spec};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A test: a sentence and what it does.
pub type Case = (&'static str, fn(&mut Lab) -> Result<()>);

/// Tests that share a topology.
#[derive(Debug)]
pub struct Group {
    /// A word, part of every test's full name.
    pub name: &'static str,
    /// What the lab is made of.
    pub spec: fn() -> Spec,
    /// What is applied before the first test.
    pub prepare: fn(&Lab) -> Result<()>,
    /// The tests.
    pub cases: &'static [&'static [Case]],
}

/// How many passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

/// Runs the groups' tests whose full name `GROUP::SENTENCE` contains every
/// argument (`a|b`: one of them), prints a line for each and a last line `N passed, N failed`.
/// `--list` only prints the names.
pub fn main(groups: &[Group]) -> ExitCode {
    if let Err(error) = clarion_lab::signals::exit_on_signals() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let list = arguments.iter().any(|a| a == "--list");
    // Other words with dashes are cargo's own harness's; they ask for nothing here.
    let wanted: Vec<&str> = arguments.iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
    let mut tally = Tally::default();
    for group in groups {
        let chosen: Vec<Case> = group
            .cases
            .iter()
            .copied()
            .flatten()
            .filter(|(name, _)| {
                let full = format!("{}::{name}", group.name);
                wanted.iter().all(|words| words.split('|').any(|word| full.contains(word)))
            })
            .copied()
            .collect();
        if list {
            chosen.iter().for_each(|(name, _)| println!("{}::{name}", group.name));
        } else if !chosen.is_empty() {
            run_group(group, &chosen, &mut tally);
        }
    }
    if list {
        return ExitCode::SUCCESS;
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_group(group: &Group, cases: &[Case], tally: &mut Tally) {
    let mut lab = None;
    for (name, run) in cases {
        let full = format!("{}::{name}", group.name);
        let mut held = match lab.take().map_or_else(|| start(group), Ok) {
            Ok(held) => held,
            Err(error) => {
                report(tally, &full, Duration::ZERO, Err(error));
                continue;
            }
        };
        let begin = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut held))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow::anyhow!("panicked: {}", text.unwrap_or("(no text)")))
        });
        if result.is_ok() {
            lab = Some(held);
        }
        report(tally, &full, begin.elapsed(), result);
    }
}

fn start(group: &Group) -> Result<Lab> {
    let begin = Instant::now();
    let mut steps = Vec::new();
    let lab = Lab::start_observed((group.spec)(), &mut |what, took| {
        steps.push(format!("{} {} ms", what.split(':').next().unwrap_or(what), took.as_millis()));
    });
    let lab = lab.context("starting the lab")?;
    (group.prepare)(&lab).context("preparing the lab")?;
    println!("lab  {:>7} ms  {} ({})", begin.elapsed().as_millis(), group.name, steps.join(", "));
    Ok(lab)
}

fn report(tally: &mut Tally, name: &str, took: Duration, result: Result<()>) {
    match result {
        Ok(()) => {
            tally.passed += 1;
            println!("ok   {:>7} ms  {name}", took.as_millis());
        }
        Err(error) => {
            tally.failed += 1;
            println!("FAIL {:>7} ms  {name}\n{error:#}", took.as_millis());
        }
    }
}
