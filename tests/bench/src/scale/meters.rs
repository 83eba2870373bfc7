//! What the cluster's parts have done and used so far: requests by kind, processor
//! time, memory. Two readings and their difference make a figure.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use clarion_e2e::controllers;
use clarion_lab::Lab;
use clarion_lab::http::Request;
use clarion_lab::process::ProcessId;

/// Clock ticks a second in `/proc` (`USER_HZ`, fixed on Linux).
const TICKS: f64 = 100.0;

/// Verbs of `apiserver_request_total` that write.
const WRITING: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];

/// One reading.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Writes that the product is behind, by verb and resource.
    pub writes: BTreeMap<String, f64>,
    /// Processor seconds of kube-apiserver.
    pub api_server: f64,
    /// Processor seconds of all controllers.
    pub controllers: f64,
    /// Processor seconds of all agents.
    pub agents: f64,
}

impl Reading {
    /// Reads everything.
    ///
    /// # Errors
    /// When the API server does not answer or a process is not there.
    pub fn take(lab: &Lab) -> Result<Self> {
        let sum = |all: Vec<ProcessId>| all.into_iter().map(seconds).sum::<Result<f64>>();
        Ok(Self {
            writes: writes(lab)?,
            api_server: seconds(lab.control_plane()?.process("kube-apiserver")?.id())?,
            controllers: sum(controllers::processes(lab))?,
            agents: sum(agents(lab))?,
        })
    }

    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let writes = self.writes.iter().map(|(what, now)| {
            let then = before.writes.get(what).copied().unwrap_or_default();
            (what.clone(), now - then)
        });
        Self {
            writes: writes.filter(|(_, n)| *n > 0.0).collect(),
            api_server: self.api_server - before.api_server,
            controllers: self.controllers - before.controllers,
            agents: self.agents - before.agents,
        }
    }

    /// Adds what another difference says.
    pub fn add(&mut self, other: &Self) {
        for (what, n) in &other.writes {
            *self.writes.entry(what.clone()).or_default() += n;
        }
        self.api_server += other.api_server;
        self.controllers += other.controllers;
        self.agents += other.agents;
    }

    /// Nothing.
    #[must_use]
    pub fn zero() -> Self {
        Self { writes: BTreeMap::new(), api_server: 0.0, controllers: 0.0, agents: 0.0 }
    }
}

/// All agents' processes.
#[must_use]
pub fn agents(lab: &Lab) -> Vec<ProcessId> {
    lab.nodes().iter().flat_map(|node| node.machine().processes("clarion-agent")).collect()
}

/// The largest of the processes' figures in a field of `/proc/PID/status`, in megabytes (10^6 bytes).
///
/// # Errors
/// When a process is gone.
pub fn largest(processes: &[ProcessId], field: &str) -> Result<f64> {
    let mut largest = 0.0_f64;
    for process in processes {
        let text = process.status_field(field).with_context(|| format!("{field} of {process:?}"))?;
        let kib: f64 = text.trim_end_matches("kB").trim().parse()?;
        largest = largest.max(kib * 1024.0 / 1e6);
    }
    ensure!(largest > 0.0, "no process to measure");
    Ok(largest)
}

/// The writes that a Service causes through the product: its status, events, status
/// objects, plans. What the lab's own controllers, kubelets and the bench write is not
/// among it, nor are Leases, which cost the same without any Service.
fn writes(lab: &Lab) -> Result<BTreeMap<String, f64>> {
    let answer = lab.api(&Request::get("/metrics"))?;
    ensure!(answer.status == 200, "/metrics of the API server: {}", answer.status);
    let mut writes = BTreeMap::new();
    for line in answer.text().lines().filter_map(|l| l.strip_prefix("apiserver_request_total{")) {
        let Some((labels, value)) = line.rsplit_once("} ") else { continue };
        let label = |name: &str| {
            let at = labels.find(&format!("{name}=\""))? + name.len() + 2;
            labels[at..].split('"').next()
        };
        let (group, resource) = (label("group").unwrap_or(""), label("resource").unwrap_or(""));
        let (subresource, verb) = (label("subresource").unwrap_or(""), label("verb").unwrap_or(""));
        let product = matches!(group, "metallb.io" | "clarion.dev")
            || resource == "events"
            || (resource == "services" && subresource == "status");
        if product && WRITING.contains(&verb) {
            let what =
                format!("{verb} {resource}{}{subresource}", if subresource.is_empty() { "" } else { "/" });
            *writes.entry(what).or_default() += value.trim().parse::<f64>()?;
        }
    }
    Ok(writes)
}

/// Processor time of a process, user and system.
fn seconds(process: ProcessId) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.pid))?;
    // The name may contain anything; the fields are counted from its end.
    let fields: Vec<&str> = text.rsplit_once(')').context("/proc/PID/stat")?.1.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("/proc/PID/stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}
