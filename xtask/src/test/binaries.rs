//! The test executables: built all at once, then found and run one by one, so
//! that a budget is about running and a suite about its tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::build;
use crate::run;
use crate::ui::Ui;
use crate::workspace::Workspace;

/// A compiled test target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executable {
    /// Package and target: `clarion-agent bgp_interop`.
    pub(super) package: String,
    pub(super) target: String,
    /// Whether the target is a file in the package's `tests/`.
    pub(super) integration: bool,
    pub(super) path: PathBuf,
    /// The package's folder, where its tests expect to run.
    pub(super) folder: PathBuf,
}

impl Executable {
    /// The command that runs it, as cargo would.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// The sets of packages whose tests are compiled; xtask's are apart, as its
/// binary is (see [`build::PACKAGES`]).
fn sets() -> [Vec<&'static str>; 2] {
    [build::PACKAGES.to_vec(), vec!["-p", "xtask"]]
}

/// Compiles every test and returns the executables, in one run of cargo a set: a
/// second question would wait for whoever else builds here.
///
/// # Errors
/// When one does not compile.
pub(super) fn build(workspace: &Workspace, ui: &Ui) -> Result<Vec<Executable>> {
    let step = ui.step("tests", "cargo test --release --no-run");
    let log = run::fresh_log(&workspace.logs, "build-tests")?;
    let mut messages = String::new();
    for packages in sets() {
        let mut arguments = vec!["test", "--release", "--no-run", "--message-format=json-render-diagnostics"];
        arguments.extend(packages);
        let finished = run::logged(workspace.cargo(&arguments), &log, build::BUDGET, &mut |line| {
            if line.starts_with(run::CARGO_MESSAGE) {
                messages.push_str(line);
                messages.push('\n');
            } else {
                step.now(line.trim());
            }
        })?;
        if !finished.success() {
            step.failed("do not compile");
            bail!(
                "cargo test --no-run: {}\n{}\nwhole log: {}",
                finished.why(),
                run::tail(&log),
                log.display()
            );
        }
    }
    let mut found = parse(&messages)?;
    ensure!(!found.is_empty(), "cargo named no test executable");
    found.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    step.done(&format!("{} executables", found.len()));
    Ok(found)
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn parse(output: &str) -> Result<Vec<Executable>> {
    let mut found = Vec::new();
    for line in output.lines().filter(|line| line.starts_with(run::CARGO_MESSAGE)) {
        let message: Message = serde_json::from_str(line).context("cargo's message is not understood")?;
        let (Some(path), Some(manifest), Some(target), Some(profile)) =
            (message.executable, message.manifest_path, message.target, message.profile)
        else {
            continue;
        };
        if message.reason != "compiler-artifact" || !profile.test {
            continue;
        }
        let folder = manifest.parent().unwrap_or(Path::new(".")).to_owned();
        let package = package_name(&manifest)?;
        found.push(Executable {
            package,
            integration: target.kind == ["test"],
            target: target.name,
            path,
            folder,
        });
    }
    Ok(found)
}

/// The name in a manifest. (`package_id` has it in a form that differs between releases.)
fn package_name(manifest: &Path) -> Result<String> {
    let text = std::fs::read_to_string(manifest)
        .with_context(|| format!("{} cannot be read", manifest.display()))?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.map(str::to_owned).with_context(|| format!("{} has no name", manifest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_executables_are_taken_from_cargos_messages() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "[package]\nname = \"clarion-x\"\n").unwrap();
        let message = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{}","target":{{"name":"t","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/x/t"}}"#,
                manifest.display()
            )
        };
        let output =
            [message("test", true), message("bin", false), r#"{"reason":"build-finished"}"#.to_owned()]
                .join("\n");
        let found = parse(&output).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].package.as_str(), found[0].integration), ("clarion-x", true));
        assert_eq!(found[0].folder, folder.path());
    }
}
