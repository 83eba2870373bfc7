//! Where things are: the repository, the built binaries, the cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The repository that xtask was started in, and the places derived from it.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// Folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts release binaries of the shipped target.
    pub(crate) bin: PathBuf,
    /// What was built or fetched once and is reused by every clone:
    /// `${XDG_CACHE_HOME:-~/.cache}/clarion`.
    pub(crate) cache: PathBuf,
    /// Logs of the commands that xtask ran last.
    pub(crate) logs: PathBuf,
}

impl Workspace {
    /// Finds the repository upwards from this crate's folder, or from the
    /// current one when xtask is started without cargo.
    ///
    /// # Errors
    /// Outside of the repository, and without a home directory.
    pub(crate) fn find() -> Result<Self> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(manifest) => PathBuf::from(manifest),
            None => env::current_dir().context("the current directory cannot be read")?,
        };
        let Some(root) =
            start.ancestors().find(|d| d.join("xtask").is_dir() && d.join("Cargo.lock").is_file())
        else {
            bail!("no workspace above {}: start `cargo xtask` inside the repository", start.display());
        };
        // xtask lies beside the binaries it builds: the same profile and target.
        let executable = env::current_exe().context("the path of xtask itself cannot be read")?;
        let bin = executable.parent().context("xtask has no folder")?.to_owned();
        let logs = root.join("target/logs");
        Ok(Self { root: root.to_owned(), bin, cache: cache_dir()?, logs })
    }

    /// cargo, in the repository's root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(&self.root);
        clean_cargo_env(&mut command);
        command
    }

    /// A path as a reader wants it: relative to the repository where possible.
    pub(crate) fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// Removes what `cargo run` gave xtask and what must not reach another cargo: a
/// package's variables would enter the fingerprints of its dependants.
pub(crate) fn clean_cargo_env(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let package = name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_");
        if package
            || ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PRIMARY_PACKAGE"].contains(&name)
        {
            command.env_remove(name);
        }
    }
}

/// `${XDG_CACHE_HOME:-~/.cache}/clarion`.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) if !home.is_empty() => PathBuf::from(home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set: set one, the built tools are kept below it"),
    };
    Ok(base.join("clarion"))
}

/// A program by name: on PATH, else where distributions keep daemons that are not on it.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/sbin", "/usr/lib/frr", "/usr/libexec/frr"].map(PathBuf::from);
    env::split_paths(&path).chain(daemons).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// Whether this is a file that may be executed.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Whether we are root, which the lab needs.
pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
