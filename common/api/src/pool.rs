//! IPAddressPool: the addresses that may be given to Services.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::shape::{Shape, conditions, selectors};

/// What an IPAddressPool offers and to whom.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    plural = "ipaddresspools",
    namespaced,
    status = "IPAddressPoolStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "IPAddressPool is a pool of IP addresses that can be allocated to Services of type LoadBalancer. An L2Advertisement or a BGPAdvertisement must select the pool for its addresses to be announced.",
    printcolumn(name = "Auto Assign", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Avoid Buggy IPs", type_ = "boolean", json_path = ".spec.avoidBuggyIPs"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses")
)]
pub struct IPAddressPoolSpec {
    /// The addresses of the pool. Each entry is a prefix (`192.0.2.0/24`, a single address
    /// as `192.0.2.1/32`, `2001:db8::/120`) or an inclusive range
    /// (`192.0.2.10-192.0.2.20`). Entries must not overlap, neither each other nor those of
    /// another pool. Both families may be mixed, which dual-stack Services need.
    #[schemars(transform = rules::addresses())]
    pub addresses: Vec<String>,
    /// Addresses of the pool that no Service gets: a router's, a printer's, a DHCP server's. Each
    /// entry is a prefix (`192.0.2.0/30`), an inclusive range (`192.0.2.10-192.0.2.20`) or one
    /// address (`192.0.2.1`). They may lie outside of the pool and overlap each other. A Service
    /// that already has one gets another address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::exclude_addresses())]
    pub exclude_addresses: Vec<String>,
    /// Whether Services that ask for no pool and no address get one from this pool.
    /// Without it, only those that name the pool or the address do.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Leave IPv4 addresses that end in .0 or .255 alone. Some old devices drop traffic to
    /// them.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Restricts the pool to some Services, and orders pools that are so restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

fn yes() -> bool {
    true
}

/// Which Services a pool is for. The namespace must be named or selected (where either is
/// said), and a serviceSelector must match (where one is said).
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Order among the pools that match a Service: lower is tried first, 0 or unset last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::int(0, i64::from(i32::MAX)))]
    pub priority: Option<i64>,
    /// Namespaces whose Services may use the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::unique_names("namespaces", 256))]
    pub namespaces: Vec<String>,
    /// Namespaces by label, in addition to those named. Any one selector suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label. Any one selector suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

/// How much of a pool is in use.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolStatus {
    /// IPv4 addresses in use.
    #[serde(default, rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses in use.
    #[serde(default, rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses left.
    #[serde(default, rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses left; 9223372036854775807 when there are more than a number can say.
    #[serde(default, rename = "availableIPv6")]
    pub available_ipv6: i64,
    /// Whether the pool is in force. Type `Valid`: `True`, or `False` with the field that
    /// is wrong and the remedy; the pool's last valid version then stays in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
