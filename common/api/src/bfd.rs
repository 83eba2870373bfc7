//! BFDProfile: timers of BFD sessions (RFC 5880), referred to by BGPPeers.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::Shape;
use crate::status::ConfigurationStatus;

/// Timers and modes of BFD sessions.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BFDProfile",
    plural = "bfdprofiles",
    namespaced,
    status = "ConfigurationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "BFDProfile holds the settings of the BFD sessions that can accompany BGP sessions, so that a dead peer is noticed in milliseconds.",
    printcolumn(name = "Passive Mode", type_ = "boolean", json_path = ".spec.passiveMode"),
    printcolumn(name = "Transmit Interval", type_ = "integer", json_path = ".spec.transmitInterval"),
    printcolumn(name = "Receive Interval", type_ = "integer", json_path = ".spec.receiveInterval"),
    printcolumn(name = "Multiplier", type_ = "integer", json_path = ".spec.detectMultiplier")
)]
pub struct BFDProfileSpec {
    /// Shortest interval in milliseconds at which this side can receive control packets,
    /// 10 to 60000. 300 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::int(10, 60_000))]
    pub receive_interval: Option<i64>,
    /// Shortest interval in milliseconds at which this side wants to send control packets,
    /// 10 to 60000. 300 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::int(10, 60_000))]
    pub transmit_interval: Option<i64>,
    /// How many packets in a row must be missed before the session is down, 2 to 255. 3
    /// unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::int(2, 255))]
    pub detect_multiplier: Option<i64>,
    /// Shortest interval in milliseconds at which this side can handle echo packets, 10 to
    /// 60000. 50 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::int(10, 60_000))]
    pub echo_interval: Option<i64>,
    /// Use echo packets (RFC 5880 §6.4). Not for peers to which IPv6 pools are announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Wait for the peer to send the first control packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// Multihop sessions only: lowest TTL of control packets that is accepted, 1 to 254. 254
    /// unless set.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "minimumTtl")]
    #[schemars(transform = Shape::int(1, 254))]
    pub minimum_ttl: Option<i64>,
}
