//! `cargo xtask setup`: what the BPF build and the lab need is found, else made.
//!
//! Each part is looked for first and installed second, and says beforehand what
//! it is about to install and why. Nothing happens twice: a second run finds
//! everything within a second or two. `test`, `demo` and `bench` call this, so
//! nobody has to know that it exists.
//!
//! The control plane takes minutes of CPU when it has to be built. It is started
//! first, and the other parts and the caller's own builds run beside it.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::ui::{self, Ui};
use crate::workspace::Workspace;

mod apt;
mod bpf;
pub(crate) mod controlplane;
mod daemons;
mod kernel;
mod lock;
mod packages;

/// How much is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Look at every part, install nothing.
    Check,
    /// Every part.
    All,
    /// Only what building needs: the BPF toolchain and its linker.
    Build,
}

impl Mode {
    /// The mode of `setup` with and without `--check`.
    pub(crate) fn from_check(check: bool) -> Self {
        if check { Self::Check } else { Self::All }
    }

    fn may_install(self) -> bool {
        self != Self::Check
    }
}

/// How a part came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It was there.
    Found,
    /// It was installed now.
    Installed,
    /// It was built now.
    Built,
    /// It is not there; the remedy is what a person can do.
    Missing { remedy: String },
}

/// One thing that is needed.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) state: State,
    /// Where it is, or what is wrong with it.
    pub(crate) place: String,
    pub(crate) took: Duration,
}

impl Part {
    fn new(name: &str, state: State, place: impl Into<String>, since: Instant) -> Self {
        Self { name: name.to_owned(), state, place: place.into(), took: since.elapsed() }
    }
}

/// Every part, and what the lab has to be told about it.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    parts: Vec<Part>,
    lab_bin: Option<PathBuf>,
    took: Duration,
}

/// Sets up what `mode` asks for. `beside` runs as soon as the BPF toolchain is
/// there, while the control plane may still be compiling.
///
/// # Errors
/// What `beside` returns, and Ctrl-C. A part that is missing is no error here:
/// see [`Setup::require`].
pub(crate) fn run(
    workspace: &Workspace,
    ui: &Ui,
    mode: Mode,
    beside: &dyn Fn(&Workspace) -> Result<()>,
) -> Result<Setup> {
    let started = Instant::now();
    std::fs::create_dir_all(&workspace.cache)
        .map_err(|error| anyhow!("{} cannot be made: {error}", workspace.cache.display()))?;
    let mut setup = Setup::default();
    thread::scope(|scope| -> Result<()> {
        let long = (mode != Mode::Build).then(|| scope.spawn(|| controlplane::ensure(workspace, ui, mode)));
        if mode != Mode::Build {
            setup.parts.push(kernel::look());
        }
        setup.parts.extend(packages::ensure(workspace, ui, mode)?);
        setup.parts.push(bpf::ensure_linker(workspace, ui, mode)?);
        if setup.complete() {
            beside(workspace)?;
        }
        if let Some(long) = long {
            let built = long.join().map_err(|_| anyhow!("the control plane's thread panicked"))??;
            setup.lab_bin = built.bin;
            setup.parts.extend(built.parts);
        }
        Ok(())
    })?;
    setup.took = started.elapsed();
    Ok(setup)
}

impl Setup {
    fn complete(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part.state, State::Missing { .. }))
    }

    /// Fails when a part is missing, with everything that a person has to do.
    ///
    /// # Errors
    /// When a part is missing.
    pub(crate) fn require(&self) -> Result<()> {
        let mut remedies: Vec<&str> = Vec::new();
        for part in &self.parts {
            if let State::Missing { remedy } = &part.state
                && !remedies.contains(&remedy.as_str())
            {
                remedies.push(remedy);
            }
        }
        if remedies.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = self
            .parts
            .iter()
            .filter(|part| matches!(part.state, State::Missing { .. }))
            .map(|part| part.name.as_str())
            .collect();
        bail!("missing: {}. Remedy:\n  {}", missing.join(", "), remedies.join("\n  "))
    }

    /// Tells a child of the lab where the binaries and manifests are.
    pub(crate) fn lab_env(&self, workspace: &Workspace, command: &mut Command) {
        if let Some(bin) = &self.lab_bin {
            command.env("CLARION_LAB_BIN", bin);
        }
        command.env("CLARION_BIN", &workspace.bin);
        command.env("CLARION_MANIFESTS", workspace.root.join("manifests"));
        command.env("CLARION_LAB_ARTIFACTS", workspace.logs.join("lab-failures"));
    }

    /// The table of parts, on standard output.
    pub(crate) fn print(&self) {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_header(["part", "state", "where", "took"]);
        for part in &self.parts {
            let state = match &part.state {
                State::Found => "found",
                State::Installed => "installed",
                State::Built => "built",
                State::Missing { .. } => "MISSING",
            };
            table.add_row([part.name.as_str(), state, part.place.as_str(), &ui::seconds(part.took)]);
        }
        println!("{table}");
        println!("set-up took {}", ui::seconds(self.took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, state: State) -> Part {
        Part { name: name.to_owned(), state, place: String::new(), took: Duration::ZERO }
    }

    #[test]
    fn what_is_missing_is_named_with_each_remedy_once() {
        let remedy = "sudo apt-get install frr bird2".to_owned();
        let setup = Setup {
            parts: vec![
                part("bgpd", State::Missing { remedy: remedy.clone() }),
                part("bird", State::Missing { remedy }),
                part("ip", State::Found),
            ],
            ..Setup::default()
        };
        let error = setup.require().unwrap_err().to_string();
        assert_eq!(error, "missing: bgpd, bird. Remedy:\n  sudo apt-get install frr bird2");
    }

    #[test]
    fn a_set_up_without_missing_parts_is_good() {
        let setup = Setup { parts: vec![part("ip", State::Installed)], ..Setup::default() };
        assert!(setup.require().is_ok());
    }
}
