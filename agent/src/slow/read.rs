//! API objects to the few facts the agent needs. Everything else of an object is
//! dropped right after it was decoded.

use std::net::IpAddr;

use clarion_api::annotations::ServiceAnnotation;
use clarion_core::{NodeName, ServiceKey};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::ResourceExt;

use crate::view::{Endpoints, Node, SecretValue, Service, TrafficPolicy};

/// The label by which the slice's Service is found.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The only Secret type MetalLB takes for `passwordSecret`.
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
/// RFC 2385 allows up to 80 octets of key.
const MAX_KEY: usize = 80;

/// The key of a Service.
pub(super) fn service_key(service: &core::Service) -> ServiceKey {
    ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any())
}

/// The facts of a Service; `None` if it is not ours. `class` is `--lb-class`:
/// unset takes the Services without a class, set those of exactly that one.
pub(super) fn service(service: &core::Service, class: Option<&str>) -> Option<Service> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() != Some("LoadBalancer") || spec.load_balancer_class.as_deref() != class {
        return None;
    }
    let ingress = service
        .status
        .as_ref()
        .and_then(|s| s.load_balancer.as_ref())
        .and_then(|l| l.ingress.as_deref())
        .unwrap_or_default();
    // A hostname, or text that is no address, is somebody else's ingress.
    let addresses: Vec<IpAddr> =
        ingress.iter().filter_map(|i| i.ip.as_deref()).filter_map(|ip| ip.parse().ok()).collect();
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
pub(super) fn slice(slice: &discovery::EndpointSlice) -> Option<(ServiceKey, Endpoints)> {
    let name = slice.labels().get(SERVICE_NAME_LABEL)?;
    let key = ServiceKey::new(slice.namespace().unwrap_or_default(), name);
    let mut endpoints = Endpoints::default();
    for endpoint in &slice.endpoints {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let serves = conditions.ready.unwrap_or(true) || conditions.serving.unwrap_or(false);
        if !serves || endpoint.addresses.is_empty() {
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
pub(super) fn node(node: &core::Node) -> Node {
    let status = node.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let addresses = status.and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    Node {
        labels: node.labels().clone(),
        network_unavailable: conditions.iter().any(|c| c.type_ == "NetworkUnavailable" && c.status == "True"),
        addresses: addresses
            .iter()
            .filter(|a| a.type_ == "InternalIP")
            .filter_map(|a| a.address.parse().ok())
            .collect(),
    }
}

/// Whose Lease it is, and a text that changes at each renewal.
pub(super) fn lease(lease: &Lease) -> Option<(NodeName, String)> {
    let spec = lease.spec.as_ref()?;
    let node = lease.name_any().strip_prefix(super::lease::PREFIX).map(NodeName::from)?;
    // The holder is the agent's process: a restarted one renews, too.
    let renewal = format!(
        "{}/{}",
        spec.holder_identity.as_deref().unwrap_or_default(),
        spec.renew_time.as_ref().map(|t| t.0.to_string()).unwrap_or_default()
    );
    Some((node, renewal))
}

/// The TCP-MD5 key in a Secret that a BGPPeer names.
pub(super) fn secret(secret: &core::Secret) -> SecretValue {
    let name = secret.name_any();
    let unusable = |why: &str| SecretValue::Unusable(format!("spec.passwordSecret: Secret {name:?} {why}"));
    if secret.type_.as_deref() != Some(BASIC_AUTH) {
        return unusable("is not of type kubernetes.io/basic-auth: create it with that type");
    }
    let Some(value) = secret.data.as_ref().and_then(|d| d.get("password")) else {
        return unusable("has no key \"password\": add it");
    };
    match std::str::from_utf8(&value.0) {
        Ok(text) if !text.is_empty() && text.len() <= MAX_KEY => SecretValue::Password(text.to_owned()),
        _ => unusable("holds a password that is no text of 1 to 80 bytes (RFC 2385): shorten it"),
    }
}
