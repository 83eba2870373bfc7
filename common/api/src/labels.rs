//! Names on the objects that Clarion writes. They are MetalLB's, so that scripts and
//! dashboards that select by them find the same objects (contract §1.7 to §1.9).

/// API group of MetalLB's kinds.
pub const GROUP: &str = "metallb.io";

/// On ServiceL2Status and ServiceBGPStatus: the node that announces.
pub const LABEL_NODE: &str = "metallb.io/node";

/// On ServiceL2Status and ServiceBGPStatus: `metadata.name` of the Service.
pub const LABEL_SERVICE_NAME: &str = "metallb.io/service-name";

/// On ServiceL2Status and ServiceBGPStatus: `metadata.namespace` of the Service.
pub const LABEL_SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";

/// On ConfigurationState: `controller` or `speaker`.
pub const LABEL_COMPONENT_TYPE: &str = "metallb.io/component-type";

/// On a speaker's ConfigurationState: its node.
pub const LABEL_NODE_NAME: &str = "metallb.io/node-name";
