//! `cargo xtask setup`.
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::Result;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    All,
    Build,
}
impl Mode {
    pub(crate) fn from_check(check: bool) -> Self {
        if check { Self::Check } else { Self::All }
    }
}
#[derive(Debug)]
pub(crate) struct Setup;
impl Setup {
    pub(crate) fn print(&self) {}
    pub(crate) fn require(&self) -> Result<()> {
        Ok(())
    }
}
pub(crate) fn run(_: &Workspace, _: &Ui, _: Mode, _: &dyn Fn(&Workspace) -> Result<()>) -> Result<Setup> {
    Ok(Setup)
}
