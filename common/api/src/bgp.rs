//! BGPAdvertisement: how addresses are announced to routers. Community: names for the
//! communities used there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::shape::{Shape, selectors};
use crate::status::ConfigurationStatus;

/// What a BGPAdvertisement announces, to whom and with which attributes.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    status = "ConfigurationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "BGPAdvertisement announces the addresses of pools to the BGP peers. An empty spec announces every pool from every node to every peer.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(name = "Node Selectors", type_ = "string", json_path = ".spec.nodeSelectors", priority = 10)
)]
#[schemars(transform = rules::bgp_advertisement())]
pub struct BGPAdvertisementSpec {
    /// Length of the prefix that IPv4 addresses are announced as, 1 to 32. Less than 32
    /// announces the whole prefix as soon as one of its addresses is in use.
    #[serde(default = "host_v4")]
    #[schemars(transform = Shape::int(1, 32))]
    pub aggregation_length: i64,
    /// Length of the prefix that IPv6 addresses are announced as, 1 to 128.
    #[serde(default = "host_v6", rename = "aggregationLengthV6")]
    #[schemars(transform = Shape::int(1, 128))]
    pub aggregation_length_v6: i64,
    /// BGP LOCAL_PREF of the routes; higher is preferred. Sent to iBGP peers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::int(0, i64::from(u32::MAX)))]
    pub local_pref: Option<i64>,
    /// BGP communities of the routes: `65000:100` (RFC 1997), `large:65000:1:2` (RFC 8092),
    /// or the name that a Community object gives to one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::communities())]
    pub communities: Vec<String>,
    /// Names of the pools to announce, in addition to those selected by label. With neither,
    /// all pools are announced. A name without a pool is ignored until there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::unique_names("ipAddressPools", 256))]
    pub ip_address_pools: Vec<String>,
    /// Pools to announce by label. Any one selector suffices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that announce, by label. Any one selector suffices; none means all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Names of the BGPPeers to announce to; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::unique_names("peers", 256))]
    pub peers: Vec<String>,
    /// Services to announce, by label. Any one selector suffices; none means all. Only with
    /// the default aggregationLength and aggregationLengthV6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

fn host_v4() -> i64 {
    32
}

fn host_v6() -> i64 {
    128
}

/// Names for BGP communities.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    namespaced,
    status = "ConfigurationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Community is a collection of aliases for BGP communities, for use in BGPAdvertisements."
)]
pub struct CommunitySpec {
    /// The aliases. A name may be given once only, over all Community objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = rules::aliases())]
    pub communities: Vec<CommunityAlias>,
}

/// A name for a BGP community.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct CommunityAlias {
    /// The name, as BGPAdvertisements use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253))]
    pub name: Option<String>,
    /// The community: `65000:100` (RFC 1997) or `large:65000:1:2` (RFC 8092).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::community_value())]
    pub value: Option<String>,
}
