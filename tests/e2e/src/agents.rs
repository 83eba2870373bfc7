//! The agents' DaemonSet, changed for a moment by a test.

use anyhow::{Context, Result};
use clarion_lab::{Lab, NAMESPACE};
use serde_json::{Value, json};

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
