//! The compiler and the linker of BPF objects.
//!
//! A nightly rustup toolchain with rust-src builds core for BPF itself; Debian's
//! `rustc-web` packages bring core for BPF ready made, which serves where rustup
//! offers no sources. `bpf-linker` comes from PATH or is built once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Mode, Part, State, lock};
use crate::run;
use crate::ui::Ui;
use crate::workspace::{Workspace, clean_cargo_env, which};

/// Debian's packages for the toolchain.
pub(super) const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// What rustup would be told.
pub(super) const NIGHTLY_REMEDY: &str =
    "rustup toolchain install nightly --profile minimal --component rust-src";

/// The version that is known to link what the compilers above emit.
const LINKER: &str = "0.10.3";

/// 65-130 s were measured on two cores; other builds run beside it.
const BUDGET: Duration = Duration::from_secs(15 * 60);

/// Who compiles BPF here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// rustup's nightly with rust-src, at its sysroot.
    Nightly(PathBuf),
    /// Debian's /usr/bin/rustc with its core for BPF.
    Debian(PathBuf),
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly(sysroot) => write!(f, "rustup nightly with rust-src, {}", sysroot.display()),
            Self::Debian(core) => write!(f, "/usr/bin/rustc with {}", core.display()),
        }
    }
}

/// The toolchain that is there, if any.
pub(super) fn toolchain() -> Option<Toolchain> {
    let sysroot =
        run::output_of(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]));
    if let Some(sysroot) = sysroot.map(PathBuf::from)
        && sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
    {
        return Some(Toolchain::Nightly(sysroot));
    }
    if !Path::new("/usr/bin/cargo").is_file() {
        return None;
    }
    let mut rustc = Command::new("/usr/bin/rustc");
    rustc.args(["--print", "target-libdir", "--target", "bpfel-unknown-none"]);
    let core = PathBuf::from(run::output_of(&mut rustc)?);
    core.is_dir().then_some(Toolchain::Debian(core))
}

/// Asks rustup for a nightly with sources, where there is rustup. That it failed
/// is said, not returned: the caller looks again.
///
/// # Errors
/// When the log cannot be written.
pub(super) fn install_nightly(workspace: &Workspace, ui: &Ui) -> Result<()> {
    if which("rustup").is_none() {
        return Ok(());
    }
    let step = ui.step("BPF toolchain", NIGHTLY_REMEDY);
    let log = run::fresh_log(&workspace.logs, "rustup")?;
    let mut words = NIGHTLY_REMEDY.split(' ');
    let mut rustup = Command::new(words.next().unwrap_or("rustup"));
    rustup.args(words);
    match run::stepped(rustup, &log, BUDGET, &step) {
        Ok(_) => step.done("nightly with rust-src"),
        Err(error) => step.failed(&format!("{error:#}")),
    }
    Ok(())
}

/// Finds bpf-linker on PATH or in the cache, else builds it there.
///
/// # Errors
/// When the lock or log cannot be written, and on Ctrl-C.
pub(super) fn ensure_linker(workspace: &Workspace, ui: &Ui, mode: Mode) -> Result<Part> {
    let since = Instant::now();
    let tools = workspace.cache.join("tools");
    let cached = tools.join("bin/bpf-linker");
    let find = || which("bpf-linker").into_iter().chain([cached.clone()]).find(|file| works(file));
    if let Some(file) = find() {
        return Ok(Part::new("bpf-linker", State::Found, file.display().to_string(), since));
    }
    let command = format!("cargo install bpf-linker --version {LINKER} --locked --root {}", tools.display());
    let missing = || State::Missing { remedy: format!("in another folder than this repository: {command}") };
    if !mode.may_install() {
        return Ok(Part::new("bpf-linker", missing(), "", since));
    }
    let step = ui.step("bpf-linker", &format!("{command} (links the XDP program; 1-2 minutes, once)"));
    let _lock = lock::hold(&workspace.cache.join("bpf-linker.lock"), &step)?;
    if find().is_none() {
        let log = run::fresh_log(&workspace.logs, "bpf-linker")?;
        if let Err(error) = run::stepped(install(workspace, &tools), &log, BUDGET, &step) {
            step.failed(&format!("{error:#}"));
            return Ok(Part::new("bpf-linker", missing(), "", since));
        }
    }
    step.done(&cached.display().to_string());
    Ok(Part::new("bpf-linker", State::Built, cached.display().to_string(), since))
}

/// The command, away from this workspace's `.cargo/config.toml` (its target and
/// its static linking are not the linker's) and from any flags of the caller.
fn install(workspace: &Workspace, tools: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "bpf-linker", "--version", LINKER, "--locked", "--root"]).arg(tools);
    cargo.current_dir(&workspace.cache);
    clean_cargo_env(&mut cargo);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    cargo
}

/// Whether it runs and is of the release series that was tried, or a later one.
fn works(file: &Path) -> bool {
    let output = run::output_of(Command::new(file).arg("--version"));
    output.as_deref().and_then(linker_version).is_some_and(|version| version >= (0, 10))
}

fn linker_version(output: &str) -> Option<(u32, u32)> {
    let mut numbers = output.strip_prefix("bpf-linker ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_version_is_read() {
        assert_eq!(linker_version("bpf-linker 0.10.3"), Some((0, 10)));
        assert_eq!(linker_version("bpf-linker 1.2.0-dev"), Some((1, 2)));
        assert_eq!(linker_version("ld 2.40"), None);
    }
}
