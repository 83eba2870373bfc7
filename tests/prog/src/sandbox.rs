//! A network namespace and a BPF file system of a test's own.
//!
//! Both belong to one thread and end with it, so nothing is left behind whatever
//! happens in between, and tests run side by side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

/// Runs something in fresh network and mount namespaces, with an empty BPF file
/// system, whose path it is given. The loopback interface is up; its index is 1.
///
/// # Errors
/// Not root, the kernel refuses a namespace, or what the closure returns.
///
/// # Panics
/// When the closure does.
pub fn enter<R: Send>(work: impl FnOnce(&Path) -> anyhow::Result<R> + Send) -> anyhow::Result<R> {
    if !geteuid().is_root() {
        bail!(
            "these tests make network namespaces and load BPF programs: run them as root (sudo cargo xtask test)"
        );
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mount_point = isolate()?;
            work(mount_point.path())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn isolate() -> anyhow::Result<tempfile::TempDir> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("cannot make namespaces")?;
    let none = None::<&Path>;
    // Nothing mounted here shows outside.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("cannot privatise mounts")?;
    let point = tempfile::tempdir().context("cannot make a mount point")?;
    mount(Some("bpf"), point.path(), Some("bpf"), MsFlags::empty(), none)
        .context("cannot mount a BPF file system")?;
    ip("link set lo up")?;
    Ok(point)
}

/// Runs `ip` with the words given.
///
/// # Errors
/// It is not installed, or it failed; the error has what it said.
pub fn ip(arguments: &str) -> anyhow::Result<()> {
    run("ip", arguments)
}

/// Runs a program with the words given, in the calling thread's namespaces.
///
/// # Errors
/// It is not installed, or it failed; the error has what it said.
pub fn run(program: &str, arguments: &str) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A directory below the sandbox's BPF file system for a data plane's pins.
#[must_use]
pub fn pin_dir(bpffs: &Path) -> PathBuf {
    bpffs.join("clarion")
}
