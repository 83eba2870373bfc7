//! `cargo xtask image`.
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
pub(crate) fn command(_: &Workspace, _: &Ui, _: Option<std::path::PathBuf>) -> Result<()> {
    bail!("not written yet")
}
