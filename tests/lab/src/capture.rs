//! Recording frames with tcpdump, for a person or a test to read afterwards.

use crate::netns::Netns;
use crate::process::ProcessId;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running capture; it ends when dropped.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts to record an interface of a namespace into a file, and returns when
    /// it listens. `filter` is tcpdump's language.
    ///
    /// # Errors
    /// When tcpdump is missing or refuses the filter.
    pub fn start(netns: &Netns, interface: &str, filter: &str, file: &Path) -> Result<Self> {
        let mut child = netns
            .command("tcpdump")?
            // Root is kept (-Z), or the file could not be written; packets are written as they come (-U).
            .args(["-i", interface, "-U", "-Z", "root", "-w"])
            .arg(file)
            .arg(filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("tcpdump: is it installed?")?;
        let mut line = String::new();
        if let Some(stderr) = child.stderr.take() {
            let mut reader = BufReader::new(stderr);
            while !line.contains("listening on") {
                line.clear();
                anyhow::ensure!(reader.read_line(&mut line)? > 0, "tcpdump on {interface} ended: {line}");
            }
        }
        Ok(Self { child, file: file.to_owned() })
    }

    /// Ends the capture and returns it as text, one frame a line.
    ///
    /// # Errors
    /// When tcpdump cannot read the file.
    pub fn stop(mut self) -> Result<String> {
        self.end();
        crate::netns::run(Command::new("tcpdump").args(["-nn", "-e", "-r"]).arg(&self.file))
    }

    fn end(&mut self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(ProcessId::of) {
            id.signal(Signal::SIGINT);
        }
        drop(self.child.wait());
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}
