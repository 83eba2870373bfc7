//! Processes: who they are, whether they live, signals.
//!
//! A process is its id *and* its start time, so that an id that was used again
//! is never hit. A zombie counts as gone: it runs nothing, and PID 1 of some
//! machines reaps late.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;

/// One process of this machine, told apart from later ones with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The id in the host's process namespace.
    pub pid: i32,
    /// Start in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start: u64,
}

/// What the lab reads of `/proc/PID/stat`.
#[derive(Clone, Debug)]
struct Stat {
    name: String,
    state: char,
    parent: i32,
    start: u64,
}

impl ProcessId {
    /// The process that has this id now; `None` when there is none, or a zombie.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (!matches!(stat.state, 'Z' | 'X')).then_some(Self { pid, start: stat.start })
    }

    /// Whether it still runs (or is stopped).
    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal; a process that is gone is not an error.
    pub fn signal(self, signal: Signal) {
        if self.alive() {
            // Gone between the check and the signal is the same as gone.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
    }

    /// Stops it as if it hung; its sockets stay open.
    pub fn pause(self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a paused process go on.
    pub fn resume(self) {
        self.signal(Signal::SIGCONT);
    }

    /// A field of `/proc/PID/status`, such as `CapEff` or `VmRSS`.
    pub fn status_field(self, field: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(|v| v.trim().to_owned())
    }

    /// Its command line, arguments separated by spaces.
    pub fn command_line(self) -> String {
        let raw = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&raw).trim_end_matches('\0').replace('\0', " ")
    }

    /// Everything that lives in this process's process namespace or below it,
    /// itself not among it. `nsenter` is the parent of what it starts, so the
    /// tree of parents alone does not tell what runs on a machine.
    pub fn inhabitants(self) -> Vec<Self> {
        let table = table();
        let Some(home) = namespace(self.pid) else { return Vec::new() };
        let mut found: Vec<i32> =
            table.keys().copied().filter(|pid| namespace(*pid).as_ref() == Some(&home)).collect();
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            let children = table.iter().filter(|(pid, s)| s.parent == parent && !found.contains(pid));
            let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
            found.extend(children);
            next += 1;
        }
        let alive = |pid: i32| table.get(&pid).filter(|s| !matches!(s.state, 'Z' | 'X'));
        let all = found.into_iter().filter(|pid| *pid != self.pid);
        all.filter_map(|pid| Some(Self { pid, start: alive(pid)?.start })).collect()
    }

    /// The name of its program, at most 15 characters (`comm`).
    pub fn name(self) -> String {
        stat(self.pid).map(|s| s.name).unwrap_or_default()
    }
}

/// The process namespace that a process lives in, as the kernel names it.
fn namespace(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// All processes by id.
fn table() -> HashMap<i32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?))
        })
        .collect()
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in parentheses and may itself contain some; so the fields
/// are counted from the last closing one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some(Stat {
        name,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// A process that the lab started on one of its machines.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    /// `nsenter`, which ends as the process inside ends.
    outer: Mutex<Child>,
    inner: ProcessId,
}

impl Process {
    /// Wraps a started `nsenter`, waiting for the process that it forks.
    ///
    /// # Errors
    /// When the child ended before its program ran; the text holds the log.
    pub(crate) fn adopt(name: &str, mut outer: Child, log: &Path) -> Result<Self> {
        let outer_pid = i32::try_from(outer.id()).context("process id")?;
        let children = format!("/proc/{outer_pid}/task/{outer_pid}/children");
        let inner = crate::wait::poll(std::time::Duration::from_secs(5), || {
            if let Some(status) = outer.try_wait()? {
                anyhow::bail!("{name} ended at once ({status}): {}", tail(log, 5));
            }
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            Ok(text.split_whitespace().next().and_then(|pid| pid.parse().ok()).and_then(ProcessId::of))
        })?
        .with_context(|| format!("{name}: nsenter made no child"))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), outer: Mutex::new(outer), inner })
    }

    /// The lab's name for it, such as `kube-apiserver`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with its standard output and error.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process itself, in the host's numbering.
    pub fn id(&self) -> ProcessId {
        self.inner
    }

    /// Whether it still runs; also reaps it.
    pub fn alive(&self) -> bool {
        if let Ok(mut outer) = self.outer.lock() {
            drop(outer.try_wait());
        }
        self.inner.alive()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&self) {
        self.inner.kill();
    }

    /// Stops it as if it hung; its sockets stay open.
    pub fn pause(&self) {
        self.inner.pause();
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.inner.resume();
        self.wake_outer();
    }

    /// `nsenter` stops itself when its child is stopped, and would never end.
    fn wake_outer(&self) {
        let pid = self.outer.lock().ok().and_then(|outer| i32::try_from(outer.id()).ok());
        if let Some(outer) = pid.and_then(ProcessId::of) {
            outer.resume();
        }
    }
}

impl Drop for Process {
    /// Ends the process and reaps `nsenter`, so that no zombie stays with the
    /// process that holds the lab.
    fn drop(&mut self) {
        self.inner.signal(Signal::SIGKILL);
        self.wake_outer();
        if let Ok(mut outer) = self.outer.lock() {
            drop(outer.wait());
        }
    }
}

/// The last `lines` lines of a log, or why it cannot be read.
pub fn tail(log: &Path, lines: usize) -> String {
    match std::fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("({}: {error})", log.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read() {
        let line = "7 (a) (b c) S 3 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 100 1";
        let stat = parse_stat(line).expect("parses");
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.start), ("a) (b c", 'S', 3, 4711));
    }

    #[test]
    fn a_zombie_counts_as_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("spawns");
        let pid = i32::try_from(child.id()).expect("fits");
        let gone = crate::wait::poll(std::time::Duration::from_secs(5), || {
            Ok(ProcessId::of(pid).is_none().then_some(()))
        });
        assert!(gone.expect("no error").is_some(), "a zombie must not count as alive");
        child.wait().expect("reaps");
    }

    #[test]
    fn a_process_sees_itself_and_its_children() {
        let me = ProcessId::of(i32::try_from(std::process::id()).expect("fits")).expect("alive");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("spawns");
        let pid = i32::try_from(child.id()).expect("fits");
        assert!(me.alive() && me.inhabitants().iter().any(|p| p.pid == pid));
        child.kill().expect("kills");
        child.wait().expect("reaps");
    }
}
