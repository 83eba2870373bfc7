//! `cargo xtask tidy`: the rules of the house that a compiler does not know.
//!
//! Every check is a pure function over files or cargo's metadata, so that its own
//! tests show it fail on a bad sample. A line that has to break a rule says so
//! right above: `// tidy: RULE, because …`; without a reason that is refused, too.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::generate;
use crate::workspace::Workspace;

mod arrows;
mod metadata;
mod modules;
mod rules;
mod shape;
mod source;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The rule, in words.
    pub(crate) name: String,
    /// Each with place and remedy; none if the rule is kept.
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    pub(crate) fn new(name: impl Into<String>, problems: Vec<String>) -> Self {
        Self { name: name.into(), problems }
    }
}

/// The command itself.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn command(workspace: &Workspace) -> Result<ExitCode> {
    let outcomes = run(workspace)?;
    let mut failed = 0;
    for outcome in &outcomes {
        println!("{}  {}", if outcome.problems.is_empty() { "ok  " } else { "FAIL" }, outcome.name);
        for problem in &outcome.problems {
            println!("        {problem}");
        }
        failed += usize::from(!outcome.problems.is_empty());
    }
    println!("largest files:");
    for (path, lines) in shape::largest(&source::read(&workspace.root)?, 10) {
        println!("  {lines:>5}  {path}");
    }
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every check.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn run(workspace: &Workspace) -> Result<Vec<Outcome>> {
    let sources = source::read(&workspace.root)?;
    let metadata = metadata::read(workspace)?;
    let mut outcomes = vec![
        Outcome::new("each room depends only on what the architecture allows", arrows::check(&metadata)),
        Outcome::new(
            "pure rooms cannot see a runtime, an API client, sockets or netlink",
            purity(workspace)?,
        ),
        Outcome::new("no source file is longer than 500 lines", shape::sizes(&sources)),
        Outcome::new("every source file begins with what it is for", shape::docs(&sources)),
        Outcome::new("main.rs only parses and calls", shape::mains(&sources)),
        Outcome::new(
            "every source file is part of a module tree",
            modules::orphans(&workspace.root, &sources, &metadata),
        ),
        Outcome::new("Cargo.lock is committed and fits the manifests", lock(workspace)),
        Outcome::new("generated files are what the generator writes", generated(&workspace.root)),
    ];
    outcomes.extend(rules::RULES.iter().map(|rule| Outcome::new(rule.what, rules::check(rule, &sources))));
    Ok(outcomes)
}

/// `cargo tree` of each pure room: what is linked, not only what is named.
fn purity(workspace: &Workspace) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in arrows::PURE {
        let mut tree = workspace.cargo(&[
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-p",
            package,
        ]);
        let output = tree.output().context("cargo tree cannot be started")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            problems.push(format!("cargo tree -p {package}: {}", why.trim()));
            continue;
        }
        problems.extend(arrows::impure(package, &String::from_utf8_lossy(&output.stdout)));
    }
    Ok(problems)
}

fn lock(workspace: &Workspace) -> Vec<String> {
    let mut problems = Vec::new();
    let tracked = Command::new("git")
        .args(["ls-files", "--error-unmatch", "Cargo.lock"])
        .current_dir(&workspace.root)
        .output()
        .is_ok_and(|output| output.status.success());
    if !tracked {
        problems.push("Cargo.lock is not committed: git add Cargo.lock".to_owned());
    }
    let fits = workspace.cargo(&["metadata", "--format-version", "1", "--locked", "--offline"]).output();
    if let Err(why) = fits.map_err(|error| error.to_string()).and_then(|output| {
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }) {
        problems.push(format!("Cargo.lock does not fit the manifests, build once and commit it: {why}"));
    }
    problems
}

fn generated(root: &Path) -> Vec<String> {
    match generate::run(root, true) {
        Ok(()) => Vec::new(),
        Err(error) => vec![format!("{error:#}")],
    }
}
