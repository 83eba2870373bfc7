//! The suites: what each runs, what it needs, and how long it may take.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::binaries::Executable;
use super::counts::Counts;
use super::{Ready, Verdict, go};
use crate::ui::{Step, Ui};
use crate::workspace::Workspace;
use crate::{checks, interrupt, run};

/// A suite, in the order in which they run: the cheap and telling ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum SuiteName {
    /// Rules of the house, formatting, clippy.
    Tidy,
    /// Unit and property tests of every room.
    Unit,
    /// The BPF program in the kernel, frame by frame (BPF_PROG_TEST_RUN).
    Prog,
    /// Our BGP against FRR in network namespaces.
    Interop,
    /// The lab's kubelet.
    LabGo,
    /// The lab itself, without a cluster.
    Lab,
    /// The shipped binaries in a cluster in the lab.
    E2e,
}

/// All of them, in order.
const ALL: [SuiteName; 7] = [
    SuiteName::Tidy,
    SuiteName::Unit,
    SuiteName::Prog,
    SuiteName::Interop,
    SuiteName::LabGo,
    SuiteName::Lab,
    SuiteName::E2e,
];

/// With `--long`, budgets grow by this factor.
const LONG: u32 = 4;

impl SuiteName {
    /// Its word on the command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::Unit => "unit",
            Self::Prog => "prog",
            Self::Interop => "interop",
            Self::LabGo => "lab-go",
            Self::Lab => "lab",
            Self::E2e => "e2e",
        }
    }

    /// Whether it needs root, routers or the control plane.
    pub(super) fn needs_lab(self) -> bool {
        !matches!(self, Self::Tidy | Self::Unit | Self::LabGo)
    }

    /// Whether it needs Rust tests or binaries compiled.
    pub(super) fn needs_build(self) -> bool {
        !matches!(self, Self::Tidy | Self::LabGo)
    }

    /// Longer than any good run on two cores; clippy's and Go's first compilation included.
    fn budget(self) -> Duration {
        Duration::from_secs(match self {
            Self::Tidy => 900,
            Self::Unit | Self::Interop => 300,
            Self::Prog | Self::Lab => 180,
            Self::LabGo | Self::E2e => 600,
        })
    }

    /// Whether a test executable belongs to it.
    fn owns(self, executable: &Executable) -> bool {
        let owner = match (executable.package.as_str(), executable.integration) {
            ("clarion-prog-tests", _) => Self::Prog,
            ("clarion-e2e", true) => Self::E2e,
            ("clarion-lab", true) => Self::Lab,
            (_, true) if executable.target.contains("interop") => Self::Interop,
            _ => Self::Unit,
        };
        self == owner
    }
}

/// Every suite if none is wanted; each once and in order.
pub(super) fn chosen(wanted: &[SuiteName]) -> Vec<SuiteName> {
    ALL.into_iter().filter(|suite| wanted.is_empty() || wanted.contains(suite)).collect()
}

/// Runs one suite.
///
/// # Errors
/// When it could not be run at all.
pub(super) fn run(
    suite: SuiteName,
    workspace: &Workspace,
    ui: &Ui,
    ready: &Ready,
    long: bool,
) -> Result<Verdict> {
    let budget = suite.budget() * if long { LONG } else { 1 };
    let started = Instant::now();
    let log = run::fresh_log(&workspace.logs, suite.word())?;
    let (counts, trouble) = match suite {
        SuiteName::Tidy => tidy(workspace, ui)?,
        SuiteName::LabGo => go::run(workspace, ui, &log, budget)?,
        _ => executables(suite, workspace, ui, ready, long, &log, budget)?,
    };
    Ok(Verdict {
        name: suite.word().to_owned(),
        counts,
        took: started.elapsed(),
        budget: Some(budget),
        trouble,
    })
}

fn tidy(workspace: &Workspace, ui: &Ui) -> Result<(Counts, String)> {
    let outcomes = checks::run(workspace, ui)?;
    let bad: Vec<String> = outcomes.iter().filter(|o| !o.problems.is_empty()).map(checks::report).collect();
    let failed = bad.len() as u64;
    Ok((Counts { passed: outcomes.len() as u64 - failed, failed, ignored: 0 }, bad.join("\n")))
}

/// Runs every executable of a suite within its budget.
fn executables(
    suite: SuiteName,
    workspace: &Workspace,
    ui: &Ui,
    ready: &Ready,
    long: bool,
    log: &Path,
    budget: Duration,
) -> Result<(Counts, String)> {
    let mine: Vec<&Executable> = ready.executables.iter().filter(|e| suite.owns(e)).collect();
    ensure!(!mine.is_empty(), "there is no test executable for the suite {}", suite.word());
    let step = ui.step(suite.word(), &format!("{} executables", mine.len()));
    let mut sum = Counts::default();
    let mut troubles = Vec::new();
    for executable in &mine {
        let mut command = executable.command();
        ready.setup.lab_env(workspace, &mut command);
        if long {
            command.env("PROPTEST_CASES", "4096").env("CLARION_LONG", "1");
        }
        let left = budget.saturating_sub(step.elapsed());
        let name = format!("{} {}", executable.package, executable.target);
        let (counts, trouble) = one(command, &name, log, left, &step)?;
        sum += counts;
        troubles.extend(trouble);
        if interrupt::requested() {
            break;
        }
    }
    if troubles.is_empty() {
        step.done("all passed");
    } else {
        step.failed(&format!("log: {}", workspace.show(log)));
    }
    Ok((sum, troubles.join("\n")))
}

/// Runs one executable; one that dies without a closing line is one failure.
fn one(
    command: Command,
    name: &str,
    log: &Path,
    budget: Duration,
    step: &Step<'_>,
) -> Result<(Counts, Option<String>)> {
    let mut counts: Option<Counts> = None;
    let finished = run::logged(command, log, budget, &mut |line| {
        if let Some(more) = Counts::of_line(line) {
            *counts.get_or_insert_default() += more;
        } else {
            step.now(&format!("{name}: {}", line.trim()));
        }
    })?;
    let mut counts = counts.unwrap_or_default();
    if finished.success() && counts.failed == 0 {
        return Ok((counts, None));
    }
    counts.failed = counts.failed.max(1);
    let trouble = format!("  {name}: {}\n{}\n  whole log: {}", finished.why(), run::tail(log), log.display());
    Ok((counts, Some(trouble)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_run_once_and_in_order() {
        assert_eq!(chosen(&[]), ALL);
        assert_eq!(
            chosen(&[SuiteName::E2e, SuiteName::Unit, SuiteName::E2e]),
            [SuiteName::Unit, SuiteName::E2e]
        );
    }

    #[test]
    fn every_executable_belongs_to_exactly_one_suite() {
        let executable = |package: &str, target: &str, integration| Executable {
            package: package.to_owned(),
            target: target.to_owned(),
            integration,
            path: "x".into(),
            folder: "x".into(),
        };
        let of = |e: &Executable| ALL.into_iter().filter(|suite| suite.owns(e)).collect::<Vec<_>>();
        assert_eq!(of(&executable("clarion-agent", "bgp_interop", true)), [SuiteName::Interop]);
        assert_eq!(of(&executable("clarion-agent", "clarion_agent", false)), [SuiteName::Unit]);
        assert_eq!(of(&executable("clarion-alloc", "model", true)), [SuiteName::Unit]);
        assert_eq!(of(&executable("clarion-prog-tests", "arp", true)), [SuiteName::Prog]);
        assert_eq!(of(&executable("clarion-e2e", "e2e", true)), [SuiteName::E2e]);
        assert_eq!(of(&executable("clarion-e2e", "demo", false)), [SuiteName::Unit]);
        assert_eq!(of(&executable("clarion-lab", "wires", true)), [SuiteName::Lab]);
        assert_eq!(of(&executable("clarion-lab", "clarion_lab", false)), [SuiteName::Unit]);
    }
}
