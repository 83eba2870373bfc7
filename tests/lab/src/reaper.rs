//! Cleaning up, in one way for every ending.
//!
//! A small shell process in a session of its own waits for the end of a pipe
//! whose other end this process holds. Drop, panic, Ctrl-C, SIGKILL: the pipe
//! ends, and the shell kills what was registered, deletes the namespaces, undoes
//! mounts and removes the directory. The script lies in the lab's directory, so
//! a later run can finish what a power failure of the host left.

use crate::process::ProcessId;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// Directories of labs are `PREFIX` + the lab's id in the system's temporary
/// directory.
const DIR_PREFIX: &str = "clarion-lab-";
/// Namespaces of labs begin so; the process id of the holder follows.
const ID_PREFIX: &str = "clr";

const SCRIPT: &str = r#"#!/bin/sh
# Ends one lab; started beside it, and again by a later run if need be.
# $1 = the lab's directory, $2 = its id. Begins when standard input ends.
dir=$1 id=$2
cat >/dev/null
cd /
alive() { [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" && $1 != "X" {print $20}')" = "$2" ]; }
while read -r pid start; do
  if alive "$pid" "$start"; then kill -KILL "$pid"; fi
done <"$dir/pids"
while read -r pid start; do
  n=0
  while alive "$pid" "$start" && [ $n -lt 500 ]; do sleep 0.01; n=$((n + 1)); done
done <"$dir/pids"
for ns in /run/netns/"$id"-*; do
  if [ -e "$ns" ]; then ip netns del "${ns##*/}"; fi
done
awk -v d="$dir/" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
rm -rf "$dir"
"#;

/// Holds one lab's life: when this is dropped, or this process ends in any way,
/// the lab is cleaned up.
#[derive(Debug)]
pub struct Reaper {
    id: String,
    dir: PathBuf,
    life: Mutex<Option<(ChildStdin, Child)>>,
}

impl Reaper {
    /// Makes the lab's directory and starts the reaper beside it.
    ///
    /// # Errors
    /// When the directory cannot be made or `sh` does not start.
    pub fn start() -> Result<Self> {
        static LABS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let me = std::process::id();
        let n = LABS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Two digits for the number, so that no id is another one's with a digit more.
        let id = format!("{ID_PREFIX}{}{:0>2}", base36(me), base36(n));
        let dir = std::env::temp_dir().join(format!("{DIR_PREFIX}{id}"));
        std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let owner = i32::try_from(me).ok().and_then(ProcessId::of).context("own process")?;
        std::fs::write(dir.join("owner"), format!("{} {}\n", owner.pid, owner.start))?;
        std::fs::write(dir.join("pids"), "")?;
        std::fs::write(dir.join("cleanup.sh"), SCRIPT)?;
        let mut child = script(&dir, &id).stdin(Stdio::piped()).spawn().context("sh")?;
        let pipe = child.stdin.take().context("the reaper's pipe")?;
        Ok(Self { id, dir, life: Mutex::new(Some((pipe, child))) })
    }

    /// The lab's id, the prefix of its namespaces' names.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The lab's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Registers a process to be killed at the end. One that has ended already is
    /// nothing to register.
    pub fn watch(&self, pid: i32) {
        let Some(process) = ProcessId::of(pid) else { return };
        let line = format!("{} {}\n", process.pid, process.start);
        let file = OpenOptions::new().append(true).open(self.dir.join("pids"));
        if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            eprintln!("lab: cannot register process {pid} for cleaning up: {error}");
        }
    }

    /// Cleans up now and waits for it; later calls do nothing.
    pub fn finish(&self) {
        let life = self.life.lock().ok().and_then(|mut life| life.take());
        if let Some((pipe, mut child)) = life {
            drop(pipe);
            if let Err(error) = child.wait() {
                eprintln!("lab: the reaper of {} did not end: {error}", self.dir.display());
            }
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Cleans up after labs whose holder is gone and whose reaper did not finish.
/// Labs of living processes are left alone.
///
/// # Errors
/// When the temporary directory cannot be read.
pub fn sweep() -> Result<()> {
    for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(DIR_PREFIX)) else { continue };
        // A directory without an owner yet is one that is being made.
        let Ok(owner) = std::fs::read_to_string(entry.path().join("owner")) else { continue };
        let mut numbers = owner.split_whitespace();
        let owner =
            numbers.next().and_then(|pid| pid.parse().ok()).zip(numbers.next().and_then(|s| s.parse().ok()));
        if owner.is_some_and(|(pid, start)| !ProcessId { pid, start }.alive()) {
            // Its own reaper may be at it just now; then one of the two finds nothing to do.
            if let Err(error) = crate::netns::run(&mut script(&entry.path(), id)) {
                eprintln!("lab: sweeping {}: {error:#}", entry.path().display());
            }
        }
    }
    Ok(())
}

fn script(dir: &Path, id: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(dir.join("cleanup.sh")).arg(dir).arg(id).stdout(Stdio::null());
    // SAFETY: only setsid(2) is called between fork and exec; it is async-signal-safe. A session of
    // its own keeps the terminal's Ctrl-C away from the one process that must outlive it.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
    }
    command
}

fn base36(mut number: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    loop {
        text.push(DIGITS[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.reverse();
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_base_36() {
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36 * 36 + 1), "101");
    }
}
