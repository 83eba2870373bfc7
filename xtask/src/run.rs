//! Running other programs: a log of everything, a budget of time, and an end
//! that lets them clean up.
//!
//! Each child has a process group of its own. When its time is over or somebody
//! pressed Ctrl-C, the group gets SIGINT and [`GRACE`] to remove what it made,
//! then SIGKILL. Its output goes to a log file line by line; a caller that wants
//! to follow gets each line as it comes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt;
use crate::ui::Step;

/// Time from SIGINT to SIGKILL: what a lab needs to take down some dozens of
/// namespaces and processes, with a margin.
const GRACE: Duration = Duration::from_secs(30);

/// How often a silent child is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long output is still read after a child has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// How many lines may wait for the follower; the child then waits, too.
const LINES_DEPTH: usize = 256;

/// How many lines of a log are shown when its program failed.
const TAIL: usize = 40;

/// How a line of `cargo --message-format=json` begins.
pub(crate) const CARGO_MESSAGE: &str = "{\"reason\":";

/// A longer line of a child is cut here, so that no child can exhaust memory.
const MAX_LINE: u64 = 64 * 1024;

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself.
    Status(ExitStatus),
    /// Stopped, for it took longer than this.
    OverBudget(Duration),
    /// Stopped by Ctrl-C.
    Interrupted,
}

/// What a child did.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) elapsed: Duration,
}

impl Finished {
    /// Whether it ended by itself with status 0.
    pub(crate) fn success(&self) -> bool {
        matches!(self.ended, Ended::Status(status) if status.success())
    }

    /// Why it did not succeed, in words.
    pub(crate) fn why(&self) -> String {
        match self.ended {
            Ended::Status(status) => status.to_string(),
            Ended::OverBudget(budget) => format!("stopped: its budget of {} s is over", budget.as_secs()),
            Ended::Interrupted => "interrupted".to_owned(),
        }
    }
}

/// Runs a child to its end, appending both its streams to `log`.
///
/// # Errors
/// When it cannot be started or the log cannot be written.
pub(crate) fn logged(
    mut command: Command,
    log: &Path,
    budget: Duration,
    follow: &mut dyn FnMut(&str),
) -> Result<Finished> {
    let started = Instant::now();
    let mut file = open_log(log)?;
    writeln!(file, "$ {}", describe(&command)).context("the log cannot be written")?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
    let lines = read_streams(&mut child)?;
    let mut end = Ending::new(&child, budget);
    let mut exited: Option<Instant> = None;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                // Cargo's messages for programs are the follower's alone.
                if !line.starts_with(CARGO_MESSAGE) {
                    writeln!(file, "{line}").context("the log cannot be written")?;
                }
                follow(&line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        end.check();
        // A daemon left behind may hold the pipes open: the child's own end
        // counts, and what is still in the pipe gets a moment.
        match exited {
            Some(since) if since.elapsed() > DRAIN => break,
            Some(_) => {}
            None => exited = child.try_wait().context("waiting failed")?.map(|_| Instant::now()),
        }
    }
    let status = wait(&mut child, &mut end)?;
    Ok(Finished { ended: end.why.unwrap_or(Ended::Status(status)), elapsed: started.elapsed() })
}

/// Like [`logged`], for a step: the step shows the newest line, and a failure is
/// an error with the tail of the log.
///
/// # Errors
/// When the child cannot be started or does not succeed.
pub(crate) fn stepped(command: Command, log: &Path, budget: Duration, step: &Step<'_>) -> Result<Duration> {
    let what = describe(&command);
    let finished = logged(command, log, budget, &mut |line| step.now(line.trim()))?;
    if finished.success() {
        return Ok(finished.elapsed);
    }
    if interrupt::requested() {
        bail!("interrupted");
    }
    bail!("`{what}`: {}\n{}\nwhole log: {}", finished.why(), tail(log), log.display())
}

/// Standard output of a short command, trimmed; `None` when it fails or is not there.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The last lines of a log, indented.
pub(crate) fn tail(log: &Path) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(TAIL)..];
    shown.iter().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}

/// A fresh path for a log; what the last run wrote there is removed.
///
/// # Errors
/// When the folder cannot be made.
pub(crate) fn fresh_log(folder: &Path, name: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let log = folder.join(format!("{name}.log"));
    match std::fs::remove_file(&log) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", log.display()))
        }
        _ => Ok(log),
    }
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn open_log(log: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("{} cannot be written", log.display()))
}

/// Both streams as one channel of lines, which ends when both are closed.
fn read_streams(child: &mut Child) -> Result<Receiver<String>> {
    let (sender, lines) = mpsc::sync_channel(LINES_DEPTH);
    let stdout = child.stdout.take().context("no standard output")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let other = sender.clone();
    thread::spawn(move || read_lines(stdout, &sender));
    thread::spawn(move || read_lines(stderr, &other));
    Ok(lines)
}

fn read_lines(stream: impl Read, lines: &SyncSender<String>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line);
        if lines.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
            return; // nobody follows any more
        }
        line.clear();
    }
}

/// When and how a child has to go.
struct Ending {
    group: Pid,
    started: Instant,
    budget: Duration,
    why: Option<Ended>,
    asked: Option<Instant>,
}

impl Ending {
    fn new(child: &Child, budget: Duration) -> Self {
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        Self { group, started: Instant::now(), budget, why: None, asked: None }
    }

    /// Asks or forces the child to end when it is time.
    fn check(&mut self) {
        match self.asked {
            None => {
                if interrupt::requested() {
                    self.why = Some(Ended::Interrupted);
                } else if self.started.elapsed() > self.budget {
                    self.why = Some(Ended::OverBudget(self.budget));
                } else {
                    return;
                }
                self.signal(Signal::SIGINT);
                self.asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => self.signal(Signal::SIGKILL),
            Some(_) => {}
        }
    }

    fn signal(&self, signal: Signal) {
        // ESRCH: the group is gone already, which is what is wanted.
        let _gone = killpg(self.group, signal);
    }
}

/// Waits after the streams have ended; the budget and Ctrl-C still count.
fn wait(child: &mut Child, end: &mut Ending) -> Result<ExitStatus> {
    let (_keep, never) = mpsc::sync_channel::<()>(0);
    loop {
        if let Some(status) = child.try_wait().context("waiting failed")? {
            return Ok(status);
        }
        end.check();
        // The pause between two looks: nothing is ever sent here.
        let _timeout = never.recv_timeout(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_of_both_streams_are_followed_and_logged() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let mut seen = Vec::new();
        let finished =
            logged(shell("echo out; echo err >&2; exit 3"), &log, Duration::from_secs(20), &mut |line| {
                seen.push(line.to_owned());
            })
            .unwrap();
        seen.sort();
        assert_eq!(seen, ["err", "out"]);
        assert!(!finished.success());
        assert_eq!(finished.why(), "exit status: 3");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(
            text.starts_with("$ sh -c") && text.contains("\nout\n") && text.contains("\nerr\n"),
            "{text}"
        );
    }

    #[test]
    fn a_child_over_its_budget_is_asked_first_and_may_clean_up() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        // `wait` is interruptible where a foreground child is not.
        let script = "trap 'echo cleaned; kill $!; exit 1' INT; tail -f /dev/null & wait";
        let finished = logged(shell(script), &log, Duration::from_millis(300), &mut |_| {}).unwrap();
        assert!(matches!(finished.ended, Ended::OverBudget(_)), "{finished:?}");
        assert!(tail(&log).contains("cleaned"), "{}", tail(&log));
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_does_not_keep_us() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let script = "tail -f /dev/null & echo $!";
        let mut pid = String::new();
        let finished =
            logged(shell(script), &log, Duration::from_secs(20), &mut |line| line.clone_into(&mut pid))
                .unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
        assert!(finished.success());
        assert!(finished.elapsed < Duration::from_secs(10));
    }
}
