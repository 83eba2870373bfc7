//! `cargo xtask build`: the BPF object, then the binaries that embed or drive it.
//!
//! Everything is built by one cargo command over one set of packages. Cargo
//! unites the features of the packages it is given, so another set would mean
//! other features, other copies of the dependencies, and binaries under test
//! that are not the ones shipped.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::ebpf;
use crate::run;
use crate::setup;
use crate::ui::Ui;
use crate::workspace::Workspace;

/// Cold on two cores beside the control plane's build, with a wide margin.
pub(crate) const BUDGET: Duration = Duration::from_secs(40 * 60);

/// The one set of packages: all but the BPF program, which has another target,
/// and xtask, which is running.
pub(crate) const PACKAGES: [&str; 5] = ["--workspace", "--exclude", "clarion-ebpf", "--exclude", "xtask"];

/// The shipped binaries.
pub(crate) const SHIPPED: [&str; 3] = ["clarion-controller", "clarion-agent", "kubectl-clarion"];

/// The command itself: finds the BPF toolchain, then builds.
///
/// # Errors
/// When a part is missing or something does not compile.
pub(crate) fn run(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let setup = setup::run(workspace, ui, setup::Mode::Build, &|_| Ok(()))?;
    setup.require()?;
    all(workspace, ui)?;
    for name in SHIPPED {
        let file = workspace.bin.join(name);
        let size = file.metadata().with_context(|| format!("{} was not built", file.display()))?.len();
        println!("{:>9.1} MB  {}", size as f64 / 1e6, workspace.show(&file));
    }
    Ok(())
}

/// The BPF object and every binary. The toolchain must be there already.
///
/// # Errors
/// When something does not compile.
pub(crate) fn all(workspace: &Workspace, ui: &Ui) -> Result<()> {
    object(workspace, ui)?;
    let step = ui.step("binaries", "cargo build --release");
    let log = run::fresh_log(&workspace.logs, "build")?;
    let mut arguments = vec!["build", "--release", "--bins"];
    arguments.extend(PACKAGES);
    match run::stepped(workspace.cargo(&arguments), &log, BUDGET, &step) {
        Ok(_) => step.done(&format!("in {}", workspace.show(&workspace.bin))),
        Err(error) => {
            step.failed("do not compile");
            return Err(error);
        }
    }
    Ok(())
}

/// The BPF object alone.
///
/// # Errors
/// When it does not compile.
pub(crate) fn object(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let step = ui.step("BPF object", "cargo build for bpfel-unknown-none");
    match ebpf::build(&workspace.root, false) {
        Ok(file) => step.done(&workspace.show(&file)),
        Err(error) => {
            step.failed("does not compile");
            return Err(error.context("the BPF object"));
        }
    }
    Ok(())
}
