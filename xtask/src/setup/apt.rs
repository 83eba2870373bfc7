//! Installing Debian packages, after saying which.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::daemons::Quiet;
use crate::run;
use crate::ui::Ui;
use crate::workspace::{Workspace, is_root, which};

/// For downloads over a slow line.
const BUDGET: Duration = Duration::from_secs(15 * 60);

/// apt-get, on Debian and its relatives.
pub(super) fn tool() -> Option<PathBuf> {
    which("apt-get")
}

/// The one command that a person with the rights would run.
pub(super) fn remedy(packages: &[&str]) -> String {
    format!("sudo apt-get install --no-install-recommends -y {}", packages.join(" "))
}

/// Installs packages if there is apt-get and we are root. Packages that this
/// release does not have are left out. Returns what a person would do about
/// whatever is missing afterwards; that something failed is said, not returned,
/// for the caller looks again at what is there.
///
/// # Errors
/// When apt-get cannot be started or the daemons' guard cannot be set, and on Ctrl-C.
pub(super) fn install(workspace: &Workspace, ui: &Ui, packages: &[&str]) -> Result<String> {
    let all = remedy(packages);
    if tool().is_none() || !is_root() {
        return Ok(all);
    }
    let step =
        ui.step("packages", &format!("apt-get install --no-install-recommends {}", packages.join(" ")));
    let log = run::fresh_log(&workspace.logs, "apt")?;
    let mut known: Vec<&str> = packages.iter().copied().filter(|package| has_candidate(package)).collect();
    if known.len() < packages.len() {
        // A fresh machine has no lists at all.
        if let Err(error) = run::stepped(apt(&["update", "-q"]), &log, BUDGET, &step) {
            ui.say(&format!("  apt-get update failed, going on with the lists there are: {error:#}"));
        }
        known = packages.iter().copied().filter(|package| has_candidate(package)).collect();
    }
    if known.is_empty() {
        step.failed("this release has none of these packages");
        return Ok(all);
    }
    let quiet = Quiet::set(ui)?;
    let mut arguments = vec!["install", "--no-install-recommends", "-y", "-q"];
    arguments.extend(&known);
    let result = run::stepped(apt(&arguments), &log, BUDGET, &step);
    quiet.end(ui, &known);
    match result {
        Ok(_) => step.done(&known.join(" ")),
        Err(error) => step.failed(&format!("{error:#}")),
    }
    Ok(all)
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

/// Whether the package lists know a version of it that could be installed.
fn has_candidate(package: &str) -> bool {
    let output = run::output_of(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    output.is_some_and(|text| candidate_in(&text))
}

fn candidate_in(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|version| version.trim() != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_package_and_one_without_candidate_are_not_installable() {
        assert!(candidate_in("frr:\n  Installed: (none)\n  Candidate: 8.4.4-1.1\n"));
        assert!(!candidate_in("frr:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!candidate_in(""));
    }

    #[test]
    fn the_remedy_is_one_command() {
        assert_eq!(remedy(&["frr", "bird2"]), "sudo apt-get install --no-install-recommends -y frr bird2");
    }
}
