//! `cargo xtask demo`: sets up, builds, then becomes the walk through the lab.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::before::{needs_root, writable};
use crate::bench::become_child;
use crate::build;
use crate::setup::{self, Mode};
use crate::ui::Ui;
use crate::workspace::Workspace;

/// The command itself. The demo owns the terminal and its Ctrl-C, so xtask is
/// replaced by it.
///
/// # Errors
/// When a part is missing or something does not compile.
pub(crate) fn command(workspace: &Workspace, ui: &Ui, hold: bool, json: Option<&Path>) -> Result<()> {
    needs_root("demo")?;
    json.map_or(Ok(()), writable)?;
    let setup = setup::run(workspace, ui, Mode::All, &|workspace| build::all(workspace, ui))?;
    setup.require()?;
    let mut demo = Command::new(workspace.bin.join("demo"));
    if hold {
        demo.arg("--hold");
    }
    if let Some(json) = json {
        demo.arg("--json").arg(json);
    }
    setup.lab_env(workspace, &mut demo);
    become_child(demo)
}
