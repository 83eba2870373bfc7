//! BGPPeer: a router to talk BGP with. The types are `v1beta2`, which is what is stored;
//! `crd.rs` serves the same shape as `v1beta1` too.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::shape::{Shape, selectors};
use crate::status::ConfigurationStatus;

/// A router, and how to talk to it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    status = "ConfigurationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "BGPPeer is a router that the nodes establish a BGP session with.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop")
)]
#[schemars(transform = rules::bgp_peer())]
pub struct BGPPeerSpec {
    /// Our AS number, 1 to 4294967295.
    #[serde(rename = "myASN")]
    #[schemars(transform = rules::my_asn())]
    pub my_asn: i64,
    /// The peer's AS number. Equal to myASN makes the session iBGP. Exclusive with
    /// dynamicASN.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "peerASN")]
    #[schemars(transform = Shape::int(0, i64::from(u32::MAX)))]
    pub peer_asn: Option<i64>,
    /// Accept whatever AS number the peer has, as long as it is `internal` (equal to ours) or
    /// `external` (any other). Exclusive with peerASN.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "dynamicASN")]
    #[schemars(transform = Shape::any().with("enum", vec!["internal", "external"].into()))]
    pub dynamic_asn: Option<String>,
    /// AS number shown to this peer in place of myASN, 1 to 4294967295 (eBGP only).
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "localASN")]
    #[schemars(transform = Shape::int(1, i64::from(u32::MAX)))]
    pub local_asn: Option<i64>,
    /// The peer's IP address. Exclusive with interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::ip_literal("peerAddress", "invalid BGPPeer address"))]
    pub peer_address: Option<String>,
    /// Interface at whose other end the peer is, for unnumbered BGP by IPv6 link-local
    /// addresses. Exclusive with peerAddress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::device("interface"))]
    pub interface: Option<String>,
    /// Our address on the session. It must exist on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::ip_literal("sourceAddress", "invalid source IP"))]
    pub source_address: Option<String>,
    /// TCP port the peer listens on, 1 to 16384.
    #[serde(default = "bgp_port")]
    #[schemars(transform = Shape::int(1, 16_384))]
    pub peer_port: i64,
    /// Hold time to propose (RFC 4271 §4.2): 0 (never expire) or at least 3s. 90s unless set,
    /// or three times keepaliveTime if that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::hold_time())]
    pub hold_time: Option<String>,
    /// Interval between keepalives, at most holdTime. A third of holdTime unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::duration("keepaliveTime"))]
    pub keepalive_time: Option<String>,
    /// Pause between attempts to connect: whole seconds, 1s to 65535s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::connect_time())]
    pub connect_time: Option<String>,
    /// Our BGP identifier, written like an IPv4 address. An IPv4 address of the node unless
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "routerID")]
    #[schemars(transform = rules::router_id())]
    pub router_id: Option<String>,
    /// Nodes that talk to the peer, by label. Any one selector suffices; none means all
    /// nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Password for TCP-MD5 (RFC 2385). Everyone who may read this object can read it:
    /// passwordSecret is better. Exclusive with passwordSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::password())]
    pub password: Option<String>,
    /// Secret of type kubernetes.io/basic-auth in this namespace, whose key `password` holds
    /// the password for TCP-MD5. Exclusive with password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::any().with("x-kubernetes-map-type", "atomic".into()))]
    pub password_secret: Option<SecretReference>,
    /// Name of the BFDProfile for the BFD session beside this one; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253))]
    pub bfd_profile: Option<String>,
    /// Ask the peer to keep forwarding while the agent restarts (RFC 4724). It cannot be
    /// changed once it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::graceful_restart())]
    pub enable_graceful_restart: Option<bool>,
    /// The eBGP peer is more than one hop away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// VRF of the node that the session lives in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = rules::device("vrf"))]
    pub vrf: Option<String>,
    /// Deprecated and without effect; use dualStackAddressFamily.
    #[serde(default, rename = "disableMP")]
    pub disable_mp: bool,
    /// Announce both address families over this one session, whatever the family of its
    /// address.
    #[serde(default)]
    pub dual_stack_address_family: bool,
}

fn bgp_port() -> i64 {
    179
}

/// A Secret. Only those in the configuration's own namespace are read.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct SecretReference {
    /// The Secret's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253))]
    pub name: Option<String>,
    /// The Secret's namespace. May be left out: it is the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(63))]
    pub namespace: Option<String>,
}
