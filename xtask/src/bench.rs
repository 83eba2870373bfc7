//! `cargo xtask bench`.
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::path::Path;
pub(crate) fn command(_: &Workspace, _: &Ui, _: &[String], _: Option<&Path>) -> Result<()> {
    bail!("not written yet")
}
