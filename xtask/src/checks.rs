//! `cargo xtask fmt` and `lint`: what is refused before any test runs.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build;
use crate::run;
use crate::setup::{self, controlplane};
use crate::tidy::{self, Outcome};
use crate::ui::Ui;
use crate::workspace::Workspace;

/// Clippy compiles the dependencies once more, as metadata.
const BUDGET: Duration = Duration::from_secs(15 * 60);

/// Formats every crate and the Go module.
///
/// # Errors
/// When a formatter is missing or fails.
pub(crate) fn format(workspace: &Workspace) -> Result<()> {
    let rust = workspace.cargo(&["fmt", "--all"]).status().context("cargo fmt cannot be started")?;
    ensure!(rust.success(), "cargo fmt failed: rustup component add rustfmt");
    let go = gofmt(workspace, "-w").status().context("gofmt cannot be started: it comes with Go")?;
    ensure!(go.success(), "gofmt failed");
    Ok(())
}

/// The command `lint`.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn command(workspace: &Workspace, ui: &Ui) -> Result<ExitCode> {
    setup::run(workspace, ui, setup::Mode::Build, &|_| Ok(()))?.require()?;
    build::object(workspace, ui)?;
    let outcomes = run(workspace, ui)?;
    let failed = outcomes.iter().filter(|outcome| !outcome.problems.is_empty()).count();
    for outcome in &outcomes {
        println!("{}", report(outcome));
    }
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for a rule that is kept, and one for each problem of one that is not.
pub(crate) fn report(outcome: &Outcome) -> String {
    if outcome.problems.is_empty() {
        return format!("ok    {}", outcome.name);
    }
    format!("FAIL  {}\n        {}", outcome.name, outcome.problems.join("\n        "))
}

/// Tidy, formatting and clippy. The BPF object must have been built.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn run(workspace: &Workspace, ui: &Ui) -> Result<Vec<Outcome>> {
    let mut outcomes = tidy::run(workspace)?;
    outcomes.push(Outcome::new("Rust is formatted", rustfmt(workspace)));
    outcomes.push(Outcome::new("Go is formatted", unformatted_go(workspace)));
    outcomes.push(Outcome::new("clippy has nothing to say", clippy(workspace, ui)?));
    Ok(outcomes)
}

fn rustfmt(workspace: &Workspace) -> Vec<String> {
    let output = workspace.cargo(&["fmt", "--all", "--", "--check", "-l"]).output();
    match output {
        Err(error) => vec![format!("cargo fmt cannot be started: {error}")],
        Ok(output) if output.status.success() => Vec::new(),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let files = String::from_utf8_lossy(&text);
            let root = format!("{}/", workspace.root.display());
            files.lines().map(|file| format!("{}: cargo xtask fmt", file.trim_start_matches(&root))).collect()
        }
    }
}

fn unformatted_go(workspace: &Workspace) -> Vec<String> {
    let output = gofmt(workspace, "-l").output();
    match output {
        Err(error) => vec![format!("gofmt cannot be started, it comes with Go: {error}")],
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().map(|file| format!("{file}: cargo xtask fmt")).collect()
        }
    }
}

fn gofmt(workspace: &Workspace, what: &str) -> Command {
    let mut command = Command::new("gofmt");
    command.args([what, "."]).current_dir(workspace.root.join(controlplane::MODULE));
    command
}

/// Over the default members, which are what is shipped, their tests, and xtask.
/// The test rooms have fewer rules: a panic there is a failed test.
fn clippy(workspace: &Workspace, ui: &Ui) -> Result<Vec<String>> {
    let step = ui.step("clippy", "cargo clippy, no warnings");
    let log = run::fresh_log(&workspace.logs, "clippy")?;
    let mut problems = Vec::new();
    for packages in [&[] as &[&str], &["-p", "xtask"]] {
        let mut arguments = vec!["clippy", "--release", "--all-targets", "--quiet"];
        arguments.extend(packages);
        arguments.extend(["--", "-D", "warnings"]);
        let mut places = Vec::new();
        let mut message = String::new();
        let finished = run::logged(workspace.cargo(&arguments), &log, BUDGET, &mut |line| {
            if let Some(place) = line.trim_start().strip_prefix("--> ") {
                places.push(format!("{place}: {message}"));
                message.clear();
            } else if line.starts_with("error") || line.starts_with("warning") {
                line.clone_into(&mut message);
            }
            step.now(line);
        })?;
        if !finished.success() {
            problems.append(&mut places);
            problems.push(format!("cargo clippy: {}, whole log: {}", finished.why(), workspace.show(&log)));
        }
    }
    if problems.is_empty() {
        step.done("no warnings");
    } else {
        step.failed(&format!("{} problems", problems.len() - 1));
    }
    Ok(problems)
}
