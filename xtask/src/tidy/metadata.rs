//! The part of `cargo metadata` that the checks need.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace::Workspace;

/// The workspace's packages.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) targets: Vec<Target>,
}

/// A dependency as its manifest names it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(super) kind: Option<String>,
}

/// A library, binary, test or build script.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Target {
    /// Its root file.
    pub(super) src_path: PathBuf,
}

/// Asks cargo; nothing is downloaded.
///
/// # Errors
/// When cargo fails or answers something else.
pub(super) fn read(workspace: &Workspace) -> Result<Metadata> {
    let mut command = workspace.cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = command.output().context("cargo metadata cannot be started")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("cargo metadata answered something else than expected")
}
