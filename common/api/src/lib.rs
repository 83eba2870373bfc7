//! The `metallb.io` kinds and the one of `clarion.dev`: types, schemas, admission rules and the names of labels
//! and annotations.
//!
//! Names, versions and shapes are MetalLB's (`kubectl apply` of an existing
//! installation's objects must go on working); the doc comments of the fields become the
//! descriptions that `kubectl explain` prints.
//!
//! The Rust types are deliberately **wider than the schema**: numbers are `i64`,
//! addresses and durations are strings. The schema keeps nonsense out of new objects, but
//! an object stored before the schema was (by MetalLB, by an older release) is still
//! delivered by every watch, and one value that serde cannot hold would break the watch of
//! the whole kind. What values mean is `clarion_config::parse`'s business alone.

#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one kind repeat their type, which the lint takes for the same attribute twice"
)]

pub mod annotations;
mod bfd;
mod bgp;
mod crd;
mod l2;
mod labels;
mod peer;
mod plan;
mod pool;
mod rules;
mod shape;
mod status;

pub use bfd::{BFDProfile, BFDProfileSpec};
pub use bgp::{BGPAdvertisement, BGPAdvertisementSpec, Community, CommunityAlias, CommunitySpec};
pub use crd::crds;
pub use l2::{L2Advertisement, L2AdvertisementSpec, PreferredNodeSelector};
pub use labels::{
    AGENT_LEASE_PREFIX, AGENT_LEASES, GROUP, LABEL_AGENT, LABEL_COMPONENT_TYPE, LABEL_NODE, LABEL_NODE_NAME,
    LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE, LABEL_SLICE_SERVICE,
};
pub use peer::{BGPPeer, BGPPeerSpec, SecretReference};
pub use plan::{
    LABEL_PLAN, OwnerPlan, OwnerPlanSpec, PLAN_ADDRESSES, PLAN_MEMBERS, PlannedAddress, PlannedMember, SHARD,
};
pub use pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use status::{
    CONDITION_ADDRESSES_USABLE, CONDITION_VALID, ConfigurationResult, ConfigurationState,
    ConfigurationStateFields, ConfigurationStateStatus, ConfigurationStatus, Configured, InterfaceName,
    MetalLBServiceBGPStatus, MetalLBServiceL2Status, REASON_PARTLY_IN_FORCE, ServiceBGPStatus,
    ServiceBGPStatusSpec, ServiceL2Status, ServiceL2StatusSpec,
};
