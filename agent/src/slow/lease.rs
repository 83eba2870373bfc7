//! This node's own Lease: it tells the controller that the node has an agent, and people where
//! that can be reached and which boot it is. Nobody judges by it whether the node lives: that
//! is the ownership machine's affair, in a tenth of a second.

use std::collections::BTreeMap;
use std::time::Duration;

use clarion_api::{AGENT_LEASE_PREFIX, LABEL_AGENT};
use clarion_core::NodeName;
use clarion_daemon::chain;
use clarion_netlink::Mac;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;

use crate::fast::FastStatus;

const MANAGER: &str = "clarion-agent-lease";
/// How often it is renewed, and how long one attempt may take.
const PERIOD: Duration = Duration::from_secs(5);
/// What `leaseDurationSeconds` says, for people: two renewals may be lost.
const DURATION_SECONDS: i32 = 15;

/// The name of a node's Lease.
pub(super) fn name(node: &str) -> String {
    format!("{AGENT_LEASE_PREFIX}{node}")
}

/// What the API server has of this node, as far as its Lease tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Own {
    /// Its first InternalIP; empty if it has none.
    pub(super) address: String,
    /// `metadata.uid`; empty while there is no such node.
    pub(super) uid: String,
}

/// Renews the Lease for ever.
pub(super) async fn renew(
    client: Client,
    namespace: String,
    node: NodeName,
    own: watch::Receiver<Own>,
    status: watch::Receiver<std::sync::Arc<FastStatus>>,
) -> anyhow::Error {
    let api = Api::<Lease>::namespaced(client, &namespace);
    let boot = boot_id();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failing, mut had_node, mut released) = (false, false, false);
    loop {
        ticks.tick().await;
        let member = !own.borrow().uid.is_empty();
        had_node |= member;
        if had_node && !member {
            if !released {
                match release_by(&api, &node).await {
                    Ok(()) => {
                        tracing::warn!(%node, "there is no such Node any more: its Lease is deleted");
                        released = true;
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            let error = chain(&error);
                            tracing::warn!(%node, error, "cannot delete the Lease of a Node that is no more");
                        }
                    }
                }
            }
            continue;
        }
        released = false;
        let macs = status.borrow().interfaces.iter().map(|i| (i.name.clone(), format_mac(i.mac))).collect();
        let lease = lease(&node, &boot, &own.borrow(), &macs);
        let name = name(node.as_str());
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&lease);
        let attempt = tokio::time::timeout(PERIOD, api.patch(&name, &params, &patch));
        let problem = match attempt.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("the API server did not answer in time".to_owned()),
        };
        // Said once per spell: a dead API server must not fill the log.
        match (&problem, failing) {
            (Some(problem), false) => tracing::warn!(lease = name, problem, "cannot renew this node's Lease"),
            (None, true) => tracing::info!(lease = name, "this node's Lease is renewed again"),
            _ => {}
        }
        failing = problem.is_some();
    }
}

/// The Lease as it is now. It belongs to its Node: a node that is taken out of the cluster takes
/// its Lease along, by the API server's own garbage collector.
fn lease(node: &NodeName, boot: &str, own: &Own, macs: &BTreeMap<String, String>) -> serde_json::Value {
    let owners = (!own.uid.is_empty())
        .then(|| json!({ "apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": own.uid }));
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name(node.as_str()),
            "labels": { LABEL_AGENT: "true" },
            "annotations": {
                "clarion.dev/address": own.address,
                "clarion.dev/boot-id": boot,
                "clarion.dev/macs": json!(macs).to_string(),
            },
            "ownerReferences": owners.into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            // Another process of the same node is another holder, so its first renewal is a change.
            "holderIdentity": format!("{node}/{boot}/{}", std::process::id()),
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        },
    })
}

/// Deletes this node's Lease: the controller plans without it.
///
/// # Errors
/// The API server refused or cannot be reached; a Lease that is gone is no error.
pub(crate) async fn release(client: Client, namespace: &str, node: &NodeName) -> Result<(), kube::Error> {
    release_by(&Api::namespaced(client, namespace), node).await
}

async fn release_by(api: &Api<Lease>, node: &NodeName) -> Result<(), kube::Error> {
    match api.delete(&name(node.as_str()), &kube::api::DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// As `ip link` prints it.
pub(crate) fn format_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
