//! `cargo xtask fmt` and `lint`.
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::process::ExitCode;
pub(crate) fn format(_: &Workspace) -> Result<()> {
    bail!("not written yet")
}
pub(crate) fn command(_: &Workspace, _: &Ui) -> Result<ExitCode> {
    bail!("not written yet")
}
