//! A network namespace and a BPF file system of a test's own.
//!
//! Both belong to one thread and end with it, so nothing is left behind whatever
//! happens in between, and tests run side by side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{geteuid, gettid};

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

/// Work for the other end's thread.
type Job = Box<dyn FnOnce() + Send>;

/// A second network namespace, on a thread of its own: the other end of a veth.
/// It ends with this value.
#[derive(Debug)]
pub struct Peer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    id: i32,
}

impl Peer {
    /// Makes the namespace; its loopback interface is up.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn new() -> anyhow::Result<Self> {
        let (jobs, work) = channel::<Job>();
        let (ready, readiness) = channel();
        let thread = thread::spawn(move || {
            let made = unshare(CloneFlags::CLONE_NEWNET)
                .context("cannot make a network namespace")
                .and_then(|()| ip("link set lo up"))
                .map(|()| gettid().as_raw());
            let failed = made.is_err();
            if ready.send(made).is_err() || failed {
                return;
            }
            work.into_iter().for_each(|job| job());
        });
        let id = readiness.recv().context("the peer's thread ended")??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), id })
    }

    /// Makes a veth pair: `near` in the calling thread's namespace, `far` here.
    /// Both are up.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn veth(&self, near: &str, far: &str) -> anyhow::Result<()> {
        ip(&format!("link add {near} type veth peer name {far} netns {}", self.id))?;
        ip(&format!("link set {near} up"))?;
        let far = far.to_owned();
        self.run(move || ip(&format!("link set {far} up")))?
    }

    /// Makes a veth pair between two peers: `near` in this namespace, `far` in the
    /// other's. Both are up.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn join(&self, near: &str, other: &Self, far: &str) -> anyhow::Result<()> {
        let (id, near, far_end) = (other.id, near.to_owned(), far.to_owned());
        self.run(move || -> anyhow::Result<()> {
            ip(&format!("link add {near} type veth peer name {far_end} netns {id}"))?;
            ip(&format!("link set {near} up"))
        })??;
        let far = far.to_owned();
        other.run(move || ip(&format!("link set {far} up")))?
    }

    /// Runs something in this namespace and waits for it.
    ///
    /// # Errors
    /// It panicked.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> anyhow::Result<R> {
        let (done, result) = channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more: then nobody misses the result.
            drop(done.send(work()));
        });
        self.jobs.as_ref().context("the peer has ended")?.send(job).ok().context("the peer has ended")?;
        result.recv().context("the peer's work panicked")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the peer's thread panicked");
        }
    }
}
