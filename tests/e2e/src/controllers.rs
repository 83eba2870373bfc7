//! The controllers' processes, and which of them leads.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clarion_lab::process::ProcessId;
use clarion_lab::{Lab, NAMESPACE};

/// All controllers that run, on all nodes.
#[must_use]
pub fn processes(lab: &Lab) -> Vec<ProcessId> {
    lab.nodes().iter().flat_map(|node| node.machine().processes("clarion-controller")).collect()
}

/// Who the Lease says leads: a pod's name, empty while nobody does.
///
/// # Errors
/// When there is no Lease.
pub fn holder(lab: &Lab) -> Result<String> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/clarion-controller");
    let lease = lab.get(&path)?.context("no Lease clarion-controller")?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// A leader: the name of its pod, its node, its process.
#[derive(Debug, Clone)]
pub struct Leader {
    /// Name of the pod, as the Lease has it.
    pub pod: String,
    /// Name of the node.
    pub node: String,
    /// The process.
    pub process: ProcessId,
}

/// Waits until a controller leads that runs, and returns it.
///
/// # Errors
/// After the deadline, or when the node runs several controllers.
pub fn leader(lab: &Lab) -> Result<Leader> {
    lab.wait_until("a controller that leads and runs", Duration::from_secs(30), || {
        let pod = holder(lab)?;
        if pod.is_empty() {
            return Ok(None);
        }
        let object = lab.get(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}"))?;
        let Some(node) = object.and_then(|p| p["spec"]["nodeName"].as_str().map(str::to_owned)) else {
            return Ok(None);
        };
        let found = lab.node(&node)?.machine().processes("clarion-controller");
        ensure!(found.len() < 2, "{node} runs {} controllers, so which leads cannot be told", found.len());
        Ok(found.first().map(|process| Leader { pod, node, process: *process }))
    })
}

/// Stops a process as if it hung (SIGSTOP) and waits until none of its threads runs any
/// more: on a busy machine the signal takes its time.
///
/// # Errors
/// When the process is gone.
pub fn freeze(lab: &Lab, process: ProcessId) -> Result<()> {
    process.pause();
    lab.wait_until("a stopped process", Duration::from_secs(10), || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid))?;
        for thread in threads {
            let status = std::fs::read_to_string(thread?.path().join("status"))?;
            if !status.lines().any(|line| line.starts_with("State:\tT")) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Waits until as many controllers run and are ready as the Deployment wants.
///
/// # Errors
/// After the deadline.
pub fn all_ready(lab: &Lab) -> Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/clarion-controller");
    lab.wait_until("all controllers ready", Duration::from_secs(60), || {
        let deployment = lab.get(&path)?.context("no Deployment clarion-controller")?;
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or_default();
        let ready = deployment["status"]["readyReplicas"].as_u64() == Some(wanted);
        Ok((ready && processes(lab).len() as u64 == wanted).then_some(()))
    })
}
