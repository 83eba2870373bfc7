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

/// On the Leases of agents: `true`.
pub const LABEL_AGENT: &str = "clarion.dev/agent";

/// Selects the Leases of agents, one a node.
pub const AGENT_LEASES: &str = "clarion.dev/agent=true";

/// Leases of agents are named after their nodes: this, then the node's name.
pub const AGENT_LEASE_PREFIX: &str = "clarion-agent-";

/// On EndpointSlices, by Kubernetes: `metadata.name` of the Service.
pub const LABEL_SLICE_SERVICE: &str = "kubernetes.io/service-name";
