//! The lab's own Go packages: vet and tests, without those that only link Kubernetes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::counts::Counts;
use crate::run;
use crate::setup::controlplane;
use crate::ui::Ui;
use crate::workspace::Workspace;

/// The packages below the module's root. The root links everything of
/// Kubernetes: the set-up's build compiles it, and it has nothing to test.
const PACKAGES: &str = "./...";

/// Runs vet and the tests.
///
/// # Errors
/// When go cannot be started.
pub(super) fn run(workspace: &Workspace, ui: &Ui, log: &Path, budget: Duration) -> Result<(Counts, String)> {
    let wanted = packages(workspace)?;
    let step = ui.step("lab-go", "go vet, go test");
    let mut counts = Counts::default();
    let mut trouble = String::new();
    for arguments in [["vet", "-trimpath"].as_slice(), ["test", "-trimpath", "-v", "-count=1"].as_slice()] {
        let vet = arguments[0] == "vet";
        let mut command = Command::new("go");
        command.args(arguments).args(&wanted).current_dir(workspace.root.join(controlplane::MODULE));
        // As the set-up builds, so that both share what was compiled.
        command.env("CGO_ENABLED", "0").env_remove("GOFLAGS");
        let left = budget.saturating_sub(step.elapsed());
        let mut failed_before = counts.failed;
        let finished = run::logged(command, log, left, &mut |line| {
            if let Some(one) = Counts::of_go_line(line) {
                counts += one;
            }
            step.now(line);
        })?;
        if vet {
            counts.passed += u64::from(finished.success());
            failed_before = counts.failed;
        }
        if !finished.success() {
            // A package that does not compile has no line of its own.
            counts.failed = counts.failed.max(failed_before + 1);
            trouble = format!(
                "  go {}: {}\n{}\n  whole log: {}",
                arguments[0],
                finished.why(),
                run::tail(log),
                log.display()
            );
        }
    }
    if trouble.is_empty() {
        step.done("all passed");
    } else {
        step.failed("see the log");
    }
    Ok((counts, trouble))
}

/// The module's packages except its root.
fn packages(workspace: &Workspace) -> Result<Vec<String>> {
    let mut list = Command::new("go");
    list.args(["list", PACKAGES])
        .current_dir(workspace.root.join(controlplane::MODULE))
        .env_remove("GOFLAGS");
    let all = run::output_of(&mut list).context("`go list ./...` failed in the lab's Go module")?;
    let root = all.lines().next().unwrap_or_default();
    let names: Vec<String> = all.lines().filter(|name| *name != root).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "the lab's Go module has no package below its root");
    Ok(names)
}
