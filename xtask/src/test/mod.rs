//! `cargo xtask test`: every suite in order, each with a budget of time and one
//! line of summary, and at the end the plain line `N passed, N failed`.
//!
//! Building is not part of a suite's budget: everything is built first, beside
//! the control plane's own build where that has still to happen. A suite that
//! cannot run counts as failed; nothing is skipped silently.

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::setup::{self, Mode, Setup};
use crate::ui::{self, Ui};
use crate::workspace::Workspace;
use crate::{before, build, interrupt};

mod binaries;
mod counts;
mod go;
mod suites;

pub(crate) use suites::SuiteName;

use binaries::Executable;
use counts::Counts;

/// What a suite came to.
#[derive(Debug)]
struct Verdict {
    name: String,
    counts: Counts,
    took: Duration,
    budget: Option<Duration>,
    /// What a person reads about the failure, with the path of the whole log.
    trouble: String,
}

impl Verdict {
    /// Something before the suites failed: one failure, named.
    fn of_error(name: &str, error: &anyhow::Error, since: Instant) -> Self {
        let counts = Counts { failed: 1, ..Counts::default() };
        Self {
            name: name.to_owned(),
            counts,
            took: since.elapsed(),
            budget: None,
            trouble: format!("{error:#}"),
        }
    }

    fn line(&self) -> String {
        let Counts { passed, failed, ignored } = self.counts;
        let mark = if failed == 0 { "ok  " } else { "FAIL" };
        let ignored = if ignored == 0 { String::new() } else { format!(", {ignored} ignored") };
        let budget = self.budget.map(|budget| format!(" of {} s", budget.as_secs())).unwrap_or_default();
        let name = &self.name;
        format!(
            "{mark}  {name:8} {passed:>5} passed {failed:>3} failed{ignored}  {}{budget}",
            ui::seconds(self.took)
        )
    }
}

/// The command itself.
///
/// # Errors
/// When logs cannot be written, or a suite needs root that we are not; failed tests
/// are an exit code.
pub(crate) fn command(workspace: &Workspace, ui: &Ui, wanted: &[SuiteName], long: bool) -> Result<ExitCode> {
    let started = Instant::now();
    let mut verdicts = Vec::new();
    let suites = suites::chosen(wanted);
    if suites.iter().any(|suite| suite.needs_lab()) {
        let words: Vec<&str> = wanted.iter().map(|suite| suite.word()).collect();
        before::needs_root(["test"].into_iter().chain(words).collect::<Vec<_>>().join(" ").as_str())?;
    }
    match prepare(workspace, ui, &suites) {
        Err(error) => verdicts.push(Verdict::of_error("setup", &error, started)),
        Ok(ready) => run_all(workspace, ui, &suites, &ready, long, &mut verdicts)?,
    }
    // Progress may have ended in the middle of a line on a terminal.
    println!();
    let mut sum = Counts::default();
    for verdict in &verdicts {
        println!("{}", verdict.line());
        sum += verdict.counts;
    }
    println!("{} in all", ui::seconds(started.elapsed()));
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if interrupt::requested() {
        return Ok(ExitCode::from(130));
    }
    Ok(if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the suites run on.
struct Ready {
    setup: Setup,
    executables: Vec<Executable>,
}

/// Set-up as far as the suites need it, and everything built.
fn prepare(workspace: &Workspace, ui: &Ui, suites: &[SuiteName]) -> Result<Ready> {
    let lab = suites.iter().any(|suite| suite.needs_lab());
    let mode = if lab { Mode::All } else { Mode::Build };
    let needs_build = suites.iter().any(|suite| suite.needs_build());
    let executables = RefCell::new(Vec::new());
    let setup = setup::run(workspace, ui, mode, &|workspace| {
        if !needs_build {
            return build::object(workspace, ui);
        }
        build::all(workspace, ui)?;
        executables.replace(binaries::build(workspace, ui)?);
        Ok(())
    })?;
    setup.require()?;
    Ok(Ready { setup, executables: executables.into_inner() })
}

fn run_all(
    workspace: &Workspace,
    ui: &Ui,
    suites: &[SuiteName],
    ready: &Ready,
    long: bool,
    verdicts: &mut Vec<Verdict>,
) -> Result<()> {
    for suite in suites {
        let started = Instant::now();
        let verdict = suites::run(*suite, workspace, ui, ready, long)
            .unwrap_or_else(|error| Verdict::of_error(suite.word(), &error, started));
        ui.say(&verdict.line());
        if verdict.counts.failed > 0 {
            ui.say(&verdict.trouble);
        }
        verdicts.push(verdict);
        if interrupt::requested() {
            break;
        }
    }
    Ok(())
}
