//! API objects to the few facts the agent needs.
//!
//! Read through own structs that have exactly the fields somebody looks at: the types of
//! `k8s-openapi` know all of them, which costs code, and memory while a long list is read.

use std::net::IpAddr;

use clarion_api::annotations::ServiceAnnotation;
use clarion_api::{LABEL_SLICE_SERVICE, OwnerPlanSpec};
use clarion_config::serves;
use clarion_core::{NodeName, ServiceKey};
use clarion_daemon::Object;
use clarion_fence::Key;
use k8s_openapi::ByteString;
use kube::ResourceExt;
use serde::Deserialize;

use crate::desired::owners::{Part, cluster_key as cluster_key_of};
use crate::view::{Endpoints, Node, SecretValue, Service, TrafficPolicy};

/// Where MetalLB's controller and ours put the key.
const CLUSTER_KEY: &str = "secretkey";
/// The only Secret type MetalLB takes for `passwordSecret`.
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
/// RFC 2385 allows up to 80 octets of key.
const MAX_KEY: usize = 80;

/// A struct of fields that may be missing or null.
macro_rules! facts {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct $name { $($field: Option<$type>),* }
    )*};
}

facts! {
    ServiceFacts { spec: ServiceSpec, status: ServiceStatus }
    ServiceSpec { r#type: String, load_balancer_class: String, external_traffic_policy: String }
    ServiceStatus { load_balancer: LoadBalancer }
    LoadBalancer { ingress: Vec<Ingress> }
    Ingress { ip: String }

    SliceFacts { endpoints: Vec<Endpoint> }
    Endpoint { addresses: Vec<String>, conditions: EndpointConditions, node_name: String }
    EndpointConditions { ready: bool, serving: bool }

    NodeFacts { spec: NodeSpec, status: NodeStatus }
    NodeSpec { unschedulable: bool }
    NodeStatus { conditions: Vec<NodeCondition>, addresses: Vec<NodeAddress> }
    NodeCondition { r#type: String, status: String }
    NodeAddress { r#type: String, address: String }

    SecretFacts { r#type: String, data: std::collections::BTreeMap<String, ByteString> }
}

#[derive(Debug, Default, Deserialize)]
struct PlanBody {
    spec: OwnerPlanSpec,
}

/// The key of a Service.
pub(super) fn service_key(service: &Object) -> ServiceKey {
    ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any())
}

/// The facts of a Service; `None` if it is not ours. `class` is `--lb-class`:
/// unset takes the Services without a class, set those of exactly that one.
pub(super) fn service(service: &Object, class: Option<&str>) -> Option<Service> {
    let facts: ServiceFacts = service.facts();
    let spec = facts.spec?;
    if spec.r#type.as_deref() != Some("LoadBalancer") || spec.load_balancer_class.as_deref() != class {
        return None;
    }
    let ingress = facts.status.and_then(|s| s.load_balancer).and_then(|l| l.ingress).unwrap_or_default();
    // A hostname, or text that is no address, is somebody else's ingress.
    let addresses: Vec<IpAddr> = ingress.iter().filter_map(|i| i.ip.as_ref()?.parse().ok()).collect();
    let policy = match spec.external_traffic_policy.as_deref() {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    };
    let sharing = ServiceAnnotation::AllowSharedIp.read(service.annotations());
    Some(Service {
        uid: service.uid().unwrap_or_default(),
        labels: service.labels().clone(),
        addresses,
        policy,
        shared: sharing.is_some_and(|found| !found.value.is_empty()),
    })
}

/// The Service of a slice and the serving endpoints in it.
pub(super) fn slice(slice: &Object) -> Option<(ServiceKey, Endpoints)> {
    let name = slice.labels().get(LABEL_SLICE_SERVICE)?;
    let key = ServiceKey::new(slice.namespace().unwrap_or_default(), name);
    let mut endpoints = Endpoints::default();
    let facts: SliceFacts = slice.facts();
    for endpoint in facts.endpoints.unwrap_or_default() {
        let conditions = endpoint.conditions.unwrap_or_default();
        if !serves(conditions.ready, conditions.serving, &endpoint.addresses.unwrap_or_default()) {
            continue;
        }
        match &endpoint.node_name {
            Some(node) => {
                endpoints.nodes.insert(NodeName::new(node.as_str()));
            }
            None => endpoints.elsewhere = true,
        }
    }
    Some((key, endpoints))
}

/// The facts of a node.
pub(super) fn node(node: &Object) -> Node {
    let facts: NodeFacts = node.facts();
    let status = facts.status.unwrap_or_default();
    let unavailable = |c: &NodeCondition| {
        c.r#type.as_deref() == Some("NetworkUnavailable") && c.status.as_deref() == Some("True")
    };
    let internal = |a: &NodeAddress| a.r#type.as_deref() == Some("InternalIP");
    Node {
        uid: node.uid().unwrap_or_default(),
        labels: node.labels().clone(),
        cordoned: facts.spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
        network_unavailable: status.conditions.iter().flatten().any(unavailable),
        addresses: status
            .addresses
            .iter()
            .flatten()
            .filter(|a| internal(a))
            .filter_map(|a| a.address.as_ref()?.parse().ok())
            .collect(),
    }
}

/// What an OwnerPlan says.
pub(super) fn plan(plan: &Object) -> Part {
    let body: PlanBody = plan.facts();
    Part::read(&body.spec)
}

/// The cluster's key, from the Secret that the controller makes.
pub(super) fn cluster_key(secret: &Object) -> Option<Key> {
    let facts: SecretFacts = secret.facts();
    let key = facts.data.as_ref().and_then(|data| data.get(CLUSTER_KEY)).map(|text| cluster_key_of(&text.0));
    if key.flatten().is_none() {
        let secret = secret.name_any();
        tracing::error!(
            secret,
            "the Secret with the cluster's key has nothing under {CLUSTER_KEY:?}: delete it, and the controller makes another"
        );
    }
    key.flatten()
}

/// The TCP-MD5 key in a Secret that a BGPPeer names.
pub(super) fn secret(secret: &Object) -> SecretValue {
    let name = secret.name_any();
    let unusable = |why: &str| SecretValue::Unusable(format!("spec.passwordSecret: Secret {name:?} {why}"));
    let facts: SecretFacts = secret.facts();
    if facts.r#type.as_deref() != Some(BASIC_AUTH) {
        return unusable("is not of type kubernetes.io/basic-auth: create it with that type");
    }
    let Some(value) = facts.data.as_ref().and_then(|d| d.get("password")) else {
        return unusable("has no key \"password\": add it");
    };
    match std::str::from_utf8(&value.0) {
        Ok(text) if !text.is_empty() && text.len() <= MAX_KEY => SecretValue::Password(text.to_owned()),
        _ => unusable("holds a password that is no text of 1 to 80 bytes (RFC 2385): shorten it"),
    }
}
