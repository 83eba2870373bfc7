//! The compiler and the linker of BPF objects.
//!
//! A nightly rustup toolchain with rust-src builds core for BPF itself; Debian's
//! `rustc-web` packages bring core for BPF ready made, which serves where rustup
//! offers no sources. `bpf-linker` comes from PATH or is built once.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Mode, Part, State, lock};
use crate::ebpf::{self, Toolchain};
use crate::run;
use crate::ui::Ui;
use crate::workspace::{Workspace, clean_cargo_env, which};

/// Debian's packages for the toolchain.
pub(super) const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// What rustup would be told.
pub(super) const NIGHTLY_REMEDY: &str =
    "rustup toolchain install nightly --profile minimal --component rust-src";

/// 65-130 s were measured on two cores; other builds run beside it.
const BUDGET: Duration = Duration::from_secs(15 * 60);

/// The toolchain that is there, as the table of parts names it.
pub(super) fn toolchain() -> Option<String> {
    Some(match ebpf::find_toolchain()? {
        Toolchain::Nightly => "rustup's nightly with rust-src".to_owned(),
        Toolchain::Distribution(cargo) => format!("{} with a prebuilt core for BPF", cargo.display()),
    })
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
    let name = "bpf-linker";
    let command = install(workspace)?;
    let how = run::describe(&command);
    let missing = || State::Missing { remedy: format!("outside of this repository: {how}") };
    if let Some(file) = ebpf::find_bpf_linker() {
        let state = if works(&file) { State::Found } else { missing() };
        return Ok(Part::new(name, state, file.display().to_string(), since));
    }
    if !mode.may_install() {
        return Ok(Part::new(name, missing(), "", since));
    }
    let step = ui.step(name, &format!("{how} (links the XDP program; 1-2 minutes, once)"));
    let _lock = lock::hold(&workspace.cache.join("bpf-linker.lock"), &step)?;
    if ebpf::find_bpf_linker().is_none() {
        let log = run::fresh_log(&workspace.logs, name)?;
        if let Err(error) = run::stepped(command, &log, BUDGET, &step) {
            step.failed(&format!("{error:#}"));
            return Ok(Part::new(name, missing(), "", since));
        }
    }
    let place = ebpf::tools_dir()?.join("bin").join(name).display().to_string();
    step.done(&place);
    Ok(Part::new(name, State::Built, place, since))
}

/// The command, away from this workspace's `.cargo/config.toml` (its target and
/// its static linking are not the linker's) and from any flags of the caller.
fn install(workspace: &Workspace) -> Result<Command> {
    let mut cargo = ebpf::install_bpf_linker()?;
    cargo.current_dir(&workspace.cache);
    clean_cargo_env(&mut cargo);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    Ok(cargo)
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
