//! L2Advertisement: which addresses are answered for by ARP and NDP, from where.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::shape::{Shape, selector, selectors};
use crate::status::ConfigurationStatus;

/// What an L2Advertisement announces, and from which nodes and interfaces.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    namespaced,
    status = "ConfigurationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "L2Advertisement announces the addresses of pools on the local network: one node at a time answers ARP (IPv4) and NDP (IPv6) for an address. An empty spec announces every pool from every node.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
    printcolumn(name = "Node Selectors", type_ = "string", json_path = ".spec.nodeSelectors", priority = 10)
)]
pub struct L2AdvertisementSpec {
    /// Names of the pools to announce, in addition to those selected by label. With neither,
    /// all pools are announced. A name without a pool is ignored until there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::unique_names("ipAddressPools", 256))]
    pub ip_address_pools: Vec<String>,
    /// Pools to announce by label. Any one selector suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce, by label. Any one selector suffices; none means all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Exact names of the interfaces to announce on; none means all. Nodes that have none of
    /// them cannot announce.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = Shape::list(256, rules::device("interfaces")))]
    pub interfaces: Vec<String>,
    /// Services to announce, by label. Any one selector suffices; none means all. A Service
    /// that is selected here may not share its address (annotation allow-shared-ip).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes to prefer among those that may announce: the weights of all matching entries
    /// add up and the node with the highest sum is chosen. Nodes that match none may still be
    /// chosen when no other is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = Shape::any().with("maxItems", 256.into()))]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
}

/// A preference for some nodes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct PreferredNodeSelector {
    /// How much the nodes are preferred, 1 to 100.
    #[schemars(transform = Shape::int(1, 100))]
    pub weight: i64,
    /// The nodes, by label.
    #[schemars(schema_with = "selector")]
    pub preference: LabelSelector,
}
