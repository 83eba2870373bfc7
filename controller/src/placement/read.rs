//! Objects to the few facts that placement needs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use clarion_api::LABEL_SLICE_SERVICE;
use clarion_config::{EXCLUDE_LABEL, serves};
use clarion_core::{Labels, NodeName, ServiceKey};
use clarion_placement::NodeFacts;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

/// The label that names a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// `metadata.labels`.
    pub labels: Labels,
    /// Condition NetworkUnavailable is True.
    pub network_unavailable: bool,
    /// Condition Ready is True.
    pub ready: bool,
    /// Its own addresses, of all types, that are no host names.
    pub addresses: Vec<IpAddr>,
}

impl NodeView {
    /// Reads a Node.
    #[must_use]
    pub fn read(node: &Node) -> Self {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let is_true =
            |kind: &str| conditions.unwrap_or_default().iter().any(|c| c.type_ == kind && c.status == "True");
        Self {
            labels: node.labels().clone(),
            network_unavailable: is_true("NetworkUnavailable"),
            ready: is_true("Ready"),
            addresses: addresses.filter_map(|found| found.address.parse().ok()).collect(),
        }
    }

    /// Whether the node is labelled to be left out.
    #[must_use]
    pub fn excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }

    pub(super) fn facts(&self) -> NodeFacts {
        NodeFacts { zone: self.labels.get(ZONE_LABEL).cloned(), ready: self.ready }
    }
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its Service.
    pub service: ServiceKey,
    /// Nodes with a serving endpoint: one that is ready, or terminates and still serves
    /// (contract §2.8).
    pub serving: BTreeSet<NodeName>,
}

impl Slice {
    /// Reads an EndpointSlice; `None` if it belongs to no Service.
    #[must_use]
    pub fn read(slice: &EndpointSlice) -> Option<Self> {
        let name = slice.labels().get(LABEL_SLICE_SERVICE)?;
        let mut serving = BTreeSet::new();
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            let (ready, serving_still) =
                (conditions.and_then(|c| c.ready), conditions.and_then(|c| c.serving));
            if serves(ready, serving_still, &endpoint.addresses) {
                serving.extend(endpoint.node_name.as_deref().map(NodeName::new));
            }
        }
        Some(Self { service: ServiceKey::new(slice.namespace().unwrap_or_default(), name), serving })
    }
}
