//! What Clarion reports: the status of configuration objects, and the three kinds that
//! are nothing but status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::shape::{Shape, conditions};
use crate::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};

/// Condition `type` on every configuration object: whether it is in force as written.
pub const CONDITION_VALID: &str = "Valid";

/// Reason of a `Valid`=False condition of an object that is in force as written, apart from what
/// the message says: it cannot be applied to some other object.
pub const REASON_PARTLY_IN_FORCE: &str = "PartlyInForce";

/// Condition `type` of pools that hold addresses which no Service can use, or should not:
/// `False` with what they are. Not there when all is well. The pool is in force all the same.
pub const CONDITION_ADDRESSES_USABLE: &str = "AddressesUsable";

/// A kind of configuration object: what the controller says of it.
pub trait Configured: Resource<DynamicType = ()> {
    /// `status.conditions`.
    fn conditions(&self) -> &[Condition];
}

macro_rules! configured {
    ($($kind:ty),*) => {$(
        impl Configured for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
        }
    )*};
}
configured!(IPAddressPool, L2Advertisement, BGPAdvertisement, BGPPeer, BFDProfile, Community);

/// Status of L2Advertisement, BGPAdvertisement, BGPPeer, BFDProfile and Community.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct ConfigurationStatus {
    /// Whether the object is in force. Type `Valid`: `True`, or `False` with the field that
    /// is wrong and the remedy; the object's last valid version then stays in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// ServiceL2Status says which node answers ARP and NDP for a Service. It is written by
/// that node's agent and has no configuration.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ServiceL2Status",
    plural = "servicel2statuses",
    namespaced,
    status = "MetalLBServiceL2Status",
    derive = "PartialEq",
    derive = "Default",
    doc = "ServiceL2Status reveals the node that announces a Service in layer 2 mode. Written by the agents; do not edit.",
    printcolumn(name = "Allocated Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Service Name", type_ = "string", json_path = ".status.serviceName"),
    printcolumn(name = "Service Namespace", type_ = "string", json_path = ".status.serviceNamespace")
)]
pub struct ServiceL2StatusSpec {}

/// The observed state of a Service announced in layer 2 mode.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetalLBServiceL2Status {
    /// The node that answers for the Service's addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253).rule(rules::IMMUTABLE, "Value is immutable"))]
    pub node: Option<String>,
    /// `metadata.name` of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253).rule(rules::IMMUTABLE, "Value is immutable"))]
    pub service_name: Option<String>,
    /// `metadata.namespace` of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253).rule(rules::IMMUTABLE, "Value is immutable"))]
    pub service_namespace: Option<String>,
    /// The interfaces the Service is announced on; empty means all of the node's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceName>,
}

/// A network interface of a node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct InterfaceName {
    /// Its name, as `ip link` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// ServiceBGPStatus says to which BGP peers a node announces a Service. It is written by
/// that node's agent and has no configuration.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ServiceBGPStatus",
    plural = "servicebgpstatuses",
    namespaced,
    status = "MetalLBServiceBGPStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "ServiceBGPStatus exposes the BGP peers a Service is configured to be advertised to, per node. Written by the agents; do not edit.",
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Service Name", type_ = "string", json_path = ".status.serviceName"),
    printcolumn(name = "Service Namespace", type_ = "string", json_path = ".status.serviceNamespace")
)]
pub struct ServiceBGPStatusSpec {}

/// The observed state of a Service announced by BGP from one node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetalLBServiceBGPStatus {
    /// The node that announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253).rule(rules::IMMUTABLE, "Value is immutable"))]
    pub node: Option<String>,
    /// `metadata.name` of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253).rule(rules::IMMUTABLE, "Value is immutable"))]
    pub service_name: Option<String>,
    /// `metadata.namespace` of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(253).rule(rules::IMMUTABLE, "Value is immutable"))]
    pub service_namespace: Option<String>,
    /// BGPPeer names the Service is configured to be announced to, sorted. That a name is
    /// here does not say that the session to it is established.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

/// ConfigurationState has no spec: everything is in its status.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ConfigurationState",
    plural = "configurationstates",
    namespaced,
    no_spec,
    status = "ConfigurationStateStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "ConfigurationState says whether the configuration is valid as one component sees it: one object for the controller and one for each node. Written by Clarion; do not edit.",
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(name = "ErrorSummary", type_ = "string", json_path = ".status.errorSummary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct ConfigurationStateFields {}

/// What one component thinks of the configuration.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStateStatus {
    /// Valid, Invalid or Unknown: all conditions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ConfigurationResult>,
    /// The messages of the failed conditions, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_summary: Option<String>,
    /// Type `poolReconcilerValid` (controller) or `configReconcilerValid` (nodes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// The verdict of a ConfigurationState.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ConfigurationResult {
    /// Every object is in force as written.
    Valid,
    /// At least one object was set aside.
    Invalid,
    /// Nothing is known yet.
    Unknown,
}
