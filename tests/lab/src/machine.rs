//! A machine of the lab: a network namespace, and for those that run processes
//! a process, mount and host name namespace behind one `init`.
//!
//! The process namespace is what makes a power failure honest: when its first
//! process is killed the kernel kills all others at once, whatever they are
//! doing. The mount namespace gives the machine its own `/run`, `/sys` and
//! bpffs, so that agents of three nodes pin their maps side by side.

use crate::netns::Netns;
use crate::process::{Process, ProcessId};
use crate::reaper::Reaper;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where programs are looked for inside machines.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The set-up of a machine's own mounts. `SIGCHLD` is ignored, so the kernel
/// reaps orphans that fall to this first process.
const INIT: &str = "set -e; hostname \"$1\"; mount -t sysfs sysfs /sys; mount -t bpf bpf /sys/fs/bpf; \
    mount -t tmpfs -o mode=755 tmpfs /run; mount -t tmpfs tmpfs /var/tmp; mkdir -p /run/lock; trap '' CHLD; echo ready; exec sleep infinity";

/// A machine: switched off it is only a network namespace.
#[derive(Debug)]
pub struct Machine {
    name: String,
    netns: Netns,
    dir: PathBuf,
    init: Option<Init>,
}

#[derive(Debug)]
struct Init {
    /// `unshare`, which ends with the machine.
    outer: Child,
    id: ProcessId,
}

impl Machine {
    /// Makes the namespace `PREFIX-NAME`; `dir` takes the logs.
    ///
    /// # Errors
    /// When the namespace or the directory cannot be made.
    pub fn create(prefix: &str, name: &str, dir: &Path) -> Result<Self> {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let netns = Netns::create(&format!("{prefix}-{name}"))?;
        Ok(Self { name: name.to_owned(), netns, dir, init: None })
    }

    /// Its name in the lab: `n1`, `r1`, `cp`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Where its logs and state files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it is switched on, that is can run processes.
    pub fn is_on(&self) -> bool {
        self.init.as_ref().is_some_and(|init| init.id.alive())
    }

    /// Its first process, in the host's numbering.
    pub fn init(&self) -> Option<ProcessId> {
        self.init.as_ref().map(|init| init.id)
    }

    /// Starts the machine's first process and registers it with the reaper.
    ///
    /// # Errors
    /// When a namespace or mount is refused.
    pub fn boot(&mut self, reaper: &Reaper) -> Result<()> {
        ensure!(!self.is_on(), "{} is on already", self.name);
        let log = self.dir.join("init.log");
        let stderr = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut outer = self
            .netns
            .command("unshare")?
            .args(["--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
            .args(["sh", "-c", INIT, "init", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .context("unshare")?;
        let outer_pid = i32::try_from(outer.id()).context("process id")?;
        reaper.watch(outer_pid);
        let mut line = String::new();
        if let Some(stdout) = outer.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        ensure!(line.trim() == "ready", "{}: {}", self.name, crate::process::tail(&log, 5));
        let children = std::fs::read_to_string(format!("/proc/{outer_pid}/task/{outer_pid}/children"))?;
        let pid = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        let id = pid.and_then(ProcessId::of).with_context(|| format!("{}: no first process", self.name))?;
        reaper.watch(id.pid);
        self.init = Some(Init { outer, id });
        Ok(())
    }

    /// Ends everything that runs on the machine, at once. Its interfaces stay.
    pub fn halt(&mut self) {
        if let Some(mut init) = self.init.take() {
            init.id.signal(Signal::SIGKILL);
            // `unshare` ends when its child has, so this also waits for the end.
            drop(init.outer.wait());
        }
    }

    /// Starts a program on the machine with nothing of this process's
    /// environment but what is given; output goes to `NAME.log`.
    ///
    /// # Errors
    /// When the machine is off or the program does not start.
    pub fn spawn(
        &self,
        name: &str,
        program: &Path,
        args: &[String],
        env: &[(&str, &str)],
    ) -> Result<Process> {
        let log = self.dir.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = self
            .enter(program)?
            .args(args)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &self.dir)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{name} on {}", self.name))?;
        Process::adopt(&format!("{}/{name}", self.name), child, &log)
    }

    /// Runs a command on the machine to its end and returns what it printed.
    ///
    /// # Errors
    /// When the machine is off, or the command fails.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        crate::netns::run(self.enter(program)?.args(args)).with_context(|| format!("on {}", self.name))
    }

    /// All processes on the machine, those of its containers too.
    pub fn inhabitants(&self) -> Vec<ProcessId> {
        self.init().map(ProcessId::inhabitants).unwrap_or_default()
    }

    /// Processes on the machine whose program has this name (`comm`, at most 15
    /// characters are compared).
    pub fn processes(&self, name: &str) -> Vec<ProcessId> {
        let short: String = name.chars().take(15).collect();
        self.inhabitants().into_iter().filter(|process| process.name() == short).collect()
    }

    /// Waits until no process of that name runs on the machine.
    ///
    /// # Errors
    /// After `deadline`, with the ids that remain.
    pub fn wait_gone(&self, name: &str, deadline: Duration) -> Result<()> {
        crate::wait::poll(deadline, || Ok(self.processes(name).is_empty().then_some(())))?
            .with_context(|| format!("{name} still runs on {}: {:?}", self.name, self.processes(name)))
    }

    fn enter(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let init = self.init().with_context(|| format!("{} is switched off", self.name))?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &init.pid.to_string(), "--net", "--mount", "--uts", "--pid", "--"])
            .arg(program);
        Ok(command)
    }
}
