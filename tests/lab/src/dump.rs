//! Waiting for a state of the whole lab, and what is written down when it does
//! not come: every part's view, so that the first failure suffices to see why.

use crate::lab::{Lab, NAMESPACE};
use crate::process::tail;
use crate::tools::artifacts;
use anyhow::{Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Lines of each log in the dump.
const LOG_LINES: usize = 80;

impl Lab {
    /// Waits until `look` returns something. Its errors are not final (an API
    /// server that starts refuses connections); the last one is reported.
    ///
    /// # Errors
    /// After `deadline`: names what was waited for, the last error, the pods and
    /// the file with the state of every part.
    pub fn wait_until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let begin = Instant::now();
        let mut last_error = None;
        let found = crate::wait::poll(deadline, || match look() {
            Ok(found) => {
                last_error = None;
                Ok(found)
            }
            Err(error) => {
                last_error = Some(error);
                Ok(None)
            }
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
        let why = last_error.map(|error| format!("\nlast error: {error:#}")).unwrap_or_default();
        let file = self.dump(what);
        bail!(
            "{what}: not within {:.1} s{why}\n{}\nstate of every part: {}",
            begin.elapsed().as_secs_f64(),
            self.summary(),
            file.map_or_else(|error| format!("{error:#}"), |path| path.display().to_string())
        )
    }

    /// Writes the state of every part to a file that outlives the lab.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn dump(&self, what: &str) -> Result<PathBuf> {
        let word: String =
            what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
        let file = artifacts()?.join(format!("{}-{word}.txt", self.id()));
        std::fs::write(&file, self.state(what))?;
        Ok(file)
    }

    /// The log files of a namespace's containers on all nodes, of earlier runs too
    /// as far as the kubelets keep them.
    pub fn pod_logs(&self, namespace: &str) -> Vec<PathBuf> {
        let sign = format!("{namespace}_");
        let all = self.nodes().iter().flat_map(|n| logs(&n.machine().dir().join("kubelet")));
        all.filter(|path| path.to_string_lossy().contains(&sign)).collect()
    }

    /// Pods and the latest events: what is looked at first.
    fn summary(&self) -> String {
        if self.control_plane.is_none() {
            return String::new();
        }
        let pods = self.kubectl(&["get", "pods", "-A", "-o", "wide"]);
        let events = self.kubectl(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        let events = events.unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<&str> = events.lines().collect();
        let latest = lines[lines.len().saturating_sub(8)..].join("\n");
        format!("{}{latest}", pods.unwrap_or_else(|error| format!("{error:#}\n")))
    }

    fn state(&self, what: &str) -> String {
        let mut text = format!("waiting for: {what}\nlab {} in {}\n", self.id(), self.dir().display());
        for process in self.processes() {
            let state = if process.alive() { "runs" } else { "GONE" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{state} {}", process.name());
        }
        if self.control_plane.is_some() {
            for args in [
                &["get", "nodes,pods,services,endpointslices,leases", "-A", "-o", "wide"] as &[&str],
                &["get", "events", "-A", "--sort-by=.lastTimestamp"],
                &["get", "services", "-A", "-o", "yaml"],
                &["get", "ipaddresspools,l2advertisements,bgpadvertisements,bgppeers", "-A", "-o", "yaml"],
                &[
                    "get",
                    "servicel2statuses,servicebgpstatuses,configurationstates",
                    "-n",
                    NAMESPACE,
                    "-o",
                    "yaml",
                ],
                &["describe", "pods", "-n", NAMESPACE],
            ] {
                section(&mut text, &format!("kubectl {}", args.join(" ")), self.kubectl(args));
            }
        }
        self.network_state(&mut text);
        for log in logs(self.dir()) {
            section(&mut text, &log.display().to_string(), Ok(tail(&log, LOG_LINES)));
        }
        text
    }

    fn network_state(&self, text: &mut String) {
        for netns in self.namespaces() {
            for args in [&["-br", "addr"] as &[&str], &["route"], &["-6", "route"], &["neigh"]] {
                let title = format!("{}: ip {}", netns.name(), args.join(" "));
                section(text, &title, netns.output("ip", args));
            }
        }
        for node in self.nodes().iter().filter(|n| n.machine().is_on()) {
            for args in [&["net"] as &[&str], &["prog", "list"], &["map", "list"]] {
                let title = format!("{}: bpftool {}", node.machine().name(), args.join(" "));
                section(text, &title, node.machine().output("bpftool", args));
            }
            let pins = node.machine().output("find", &["/sys/fs/bpf"]);
            section(text, &format!("{}: pins", node.machine().name()), pins);
        }
        for router in &self.routers {
            for command in ["show bgp summary", "show bgp ipv4 unicast", "show bgp ipv6 unicast"] {
                let title = format!("{}: {command}", router.machine().name());
                section(text, &title, router.vtysh(command));
            }
        }
    }
}

fn section(text: &mut String, title: &str, body: Result<String>) {
    let body = body.unwrap_or_else(|error| format!("{error:#}"));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n==== {title}\n{}", body.trim_end());
}

/// All log files below the lab's directory, pods' included.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            // Symbolic links are not followed, so this ends.
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|e| e == "log") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
