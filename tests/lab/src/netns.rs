//! Network namespaces: making them, entering them with a thread or a command.
//!
//! Named namespaces (`ip netns`) are used, so that a person can look into a
//! running lab with the usual tools. Only the calling thread or the child
//! process enters; the host's own namespace is never touched.

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A named network namespace. It is deleted by the lab's reaper, not on drop:
/// there is one way of cleaning up, and it also works when this process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes the namespace and switches duplicate address detection off in it:
    /// the lab's addresses are fixed, and waiting for DAD costs seconds.
    ///
    /// # Errors
    /// When `ip netns add` fails (not root, or the name is taken).
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let ns = Self { name: name.to_owned() };
        ns.sysctl(&[
            ("net.ipv6.conf.all.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
        ])?;
        ns.ip("link set lo up")?;
        Ok(ns)
    }

    /// A namespace that exists, made by somebody else in the lab.
    pub fn existing(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// The name for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds the namespace.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs lines of `ip` commands (without the leading `ip`) inside, stopping at
    /// the first that fails.
    ///
    /// # Errors
    /// With the text of `ip` and the line's number.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("ip: is iproute2 installed?")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.as_bytes())?;
            stdin.write_all(b"\n")?;
        }
        let out = child.wait_with_output()?;
        ensure!(
            out.status.success(),
            "ip in namespace {}: {}\n{lines}",
            self.name,
            String::from_utf8_lossy(&out.stderr).trim()
        );
        Ok(())
    }

    /// Writes sysctls inside.
    ///
    /// # Errors
    /// Names the sysctl that could not be written.
    pub fn sysctl(&self, values: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in values {
                let path = format!("/proc/sys/{}", key.replace('.', "/"));
                std::fs::write(&path, value).with_context(|| format!("sysctl {key}={value}"))?;
            }
            Ok(())
        })?
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets made there
    /// stay in the namespace and may be used from anywhere afterwards.
    ///
    /// # Errors
    /// When the namespace is gone or may not be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = File::open(self.path()).with_context(|| format!("namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || -> Result<T> {
                setns(&file, CloneFlags::CLONE_NEWNET).context("setns")?;
                Ok(work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A command that will run inside the namespace, with everything else
    /// (mounts, processes) as in the caller.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let file = File::open(self.path()).with_context(|| format!("namespace {}", self.name))?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only setns(2) is called, which is async-signal-safe;
        // the file was opened before and is kept alive by the closure.
        unsafe {
            command.pre_exec(move || setns(&file, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
        }
        Ok(command)
    }

    /// Runs a command inside to its end and returns what it printed.
    ///
    /// # Errors
    /// When it cannot start or ends with another status than 0; the text holds
    /// its standard error.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        run(self.command(program)?.args(args)).with_context(|| format!("in namespace {}", self.name))
    }
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// With the command line and its standard error when it did not succeed.
pub fn run(command: &mut Command) -> Result<String> {
    let line = || {
        let mut text = command.get_program().to_string_lossy().into_owned();
        for arg in command.get_args() {
            text.push(' ');
            text.push_str(&arg.to_string_lossy());
        }
        text
    };
    let line = line();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{line}: cannot start"))?;
    if !out.status.success() {
        bail!("{line}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
