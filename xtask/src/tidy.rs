//! `cargo xtask tidy`.
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::process::ExitCode;
pub(crate) fn command(_: &Workspace) -> Result<ExitCode> {
    bail!("not written yet")
}
