//! `cargo xtask bench`: builds, then becomes the benchmark binary.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::before::{needs_root, writable};
use crate::build;
use crate::setup::{self, Mode};
use crate::ui::Ui;
use crate::workspace::Workspace;

/// Sets up, builds, and replaces xtask by `clarion-bench`, so that its signals,
/// terminal and exit code are its own.
///
/// # Errors
/// When a part is missing or something does not compile.
pub(crate) fn command(
    workspace: &Workspace,
    ui: &Ui,
    groups: &[String],
    json: Option<&Path>,
    full: bool,
) -> Result<()> {
    needs_root("bench")?;
    json.map_or(Ok(()), writable)?;
    let setup = setup::run(workspace, ui, Mode::All, &|workspace| build::all(workspace, ui))?;
    setup.require()?;
    let mut bench = Command::new(workspace.bin.join("clarion-bench"));
    bench.args(groups);
    if let Some(json) = json {
        bench.arg("--json").arg(json);
    }
    if full {
        bench.arg("--full");
    }
    // Objects beside the shipped one: an empty program to compare with.
    bench.env("CLARION_BPF", workspace.root.join("target/bpf"));
    setup.lab_env(workspace, &mut bench);
    become_child(bench)
}

/// Replaces this process. Only returns when that fails.
///
/// # Errors
/// When the program cannot be started.
pub(crate) fn become_child(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let error = command.exec();
    Err(error).with_context(|| format!("{name} cannot be started"))
}
