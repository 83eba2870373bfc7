//! The agents: one that is ended by a test, and their DaemonSet, changed for a moment.

use std::time::Duration;

use anyhow::{Context, Result};
use clarion_lab::{Lab, NAMESPACE};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::look::SOON;

/// The DaemonSet as it is.
///
/// # Errors
/// When there is none.
pub fn daemonset(lab: &Lab) -> Result<Value> {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/clarion-agent");
    lab.get(&path)?.context("no DaemonSet")
}

/// Replaces a field of the agent's container, such as `args`, on all nodes at once: the tests
/// that do it are not about rollouts.
///
/// # Errors
/// When the API server refuses it.
pub fn replace(lab: &Lab, field: &str, value: &Value) -> Result<()> {
    let at_once = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "100%" } });
    let path = format!("/spec/template/spec/containers/0/{field}");
    let operations = json!([
        { "op": "replace", "path": "/spec/updateStrategy", "value": at_once },
        { "op": "replace", "path": path, "value": value },
    ]);
    let operations = operations.to_string();
    lab.kubectl(&["patch", "daemonset", "clarion-agent", "-n", NAMESPACE, "--type=json", "-p", &operations])?;
    Ok(())
}

/// Ends the agent of a node by a signal and waits for the next one, and that long for it to be
/// ready.
///
/// # Errors
/// When there is none, or none comes.
pub fn restart(lab: &Lab, node: &str, signal: Signal, ready: Duration) -> Result<()> {
    let old = lab.node(node)?.process("clarion-agent")?;
    old.signal(signal);
    lab.wait_until("a new agent", SOON, || {
        let now = lab.node(node)?.machine().processes("clarion-agent");
        Ok(now.first().filter(|agent| **agent != old).map(drop))
    })?;
    lab.wait_clarion_ready(ready)
}
