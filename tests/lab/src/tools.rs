//! Where the lab finds the programs that it starts.
//!
//! `cargo xtask` sets these variables; by hand: `cargo xtask setup` prints them.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Directory with etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
/// kube-proxy, kubectl and lab-kubelet.
pub const LAB_BIN: &str = "CLARION_LAB_BIN";
/// Directory with clarion-controller, clarion-agent and kubectl-clarion.
pub const CLARION_BIN: &str = "CLARION_BIN";
/// The repository's `manifests/`.
pub const MANIFESTS: &str = "CLARION_MANIFESTS";
/// Directory for what failed waits leave to be read; it survives the lab.
/// Default: `clarion-lab-failures` in the system's temporary directory.
pub const ARTIFACTS: &str = "CLARION_LAB_ARTIFACTS";

/// Where Debian, Ubuntu and Fedora install FRR's daemons.
const FRR_DIRS: [&str; 3] = ["/usr/lib/frr", "/usr/libexec/frr", "/usr/local/sbin"];

/// The path of a program of the control plane.
///
/// # Errors
/// When the variable is not set or the program is not there.
pub fn lab_program(name: &str) -> Result<PathBuf> {
    program(LAB_BIN, name)
}

/// The path of one of the shipped binaries.
///
/// # Errors
/// When the variable is not set or the program is not there.
pub fn clarion_program(name: &str) -> Result<PathBuf> {
    program(CLARION_BIN, name)
}

/// The directory with the manifests.
///
/// # Errors
/// When the variable is not set or names no directory.
pub fn manifests() -> Result<PathBuf> {
    let dir = directory(MANIFESTS)?;
    ensure!(dir.is_dir(), "{MANIFESTS}: {} is not a directory", dir.display());
    Ok(dir)
}

/// The directory for the state of failed waits; made when missing.
///
/// # Errors
/// When it cannot be made.
pub fn artifacts() -> Result<PathBuf> {
    let dir = std::env::var_os(ARTIFACTS)
        .map_or_else(|| std::env::temp_dir().join("clarion-lab-failures"), PathBuf::from);
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

/// The path of one of FRR's daemons.
///
/// # Errors
/// When FRR is not installed.
pub fn frr_daemon(name: &str) -> Result<PathBuf> {
    let found = FRR_DIRS.iter().map(|dir| PathBuf::from(dir).join(name)).find(|path| path.exists());
    found.with_context(|| format!("FRR's {name} is in none of {FRR_DIRS:?}: install the package frr"))
}

fn program(variable: &str, name: &str) -> Result<PathBuf> {
    let path = directory(variable)?.join(name);
    ensure!(
        path.exists(),
        "{} does not exist: run `cargo xtask setup` and `cargo xtask build`",
        path.display()
    );
    Ok(path)
}

fn directory(variable: &str) -> Result<PathBuf> {
    let value = std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set: start this by `cargo xtask`, which sets it"))?;
    std::path::absolute(PathBuf::from(value)).with_context(|| variable.to_owned())
}
