//! OwnerPlan: which nodes may own each layer 2 address, planned by the controller for the
//! agents. A kind of our own; MetalLB's stay exactly MetalLB's.
//!
//! A plan is many objects: names say what is in them (`addresses-0`, `addresses-1`, …,
//! `members-0`, …). [`SHARD`] entries an object: one write covers many addresses that change together,
//! and a single one that changes has the API server and every agent read few others with it; 160
//! objects at 10,000 Services. With the longest names that Kubernetes allows less than 100 KiB, a
//! fifteenth of what etcd takes.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// On OwnerPlan: what it holds, [`PLAN_ADDRESSES`] or [`PLAN_MEMBERS`].
pub const LABEL_PLAN: &str = "clarion.dev/plan";
/// An OwnerPlan with lists of owners.
pub const PLAN_ADDRESSES: &str = "addresses";
/// An OwnerPlan with voters.
pub const PLAN_MEMBERS: &str = "members";
/// Entries in one OwnerPlan at most.
pub const SHARD: usize = 64;
/// Nodes in one list at most; the schema's bound, lists are shorter.
const LONGEST_LIST: u32 = 16;

/// A part of the plan for layer 2.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "clarion.dev",
    version = "v1alpha1",
    kind = "OwnerPlan",
    plural = "ownerplans",
    namespaced,
    derive = "PartialEq",
    doc = "OwnerPlan says which nodes may own a layer 2 address, in which order, and which nodes watch over which. Written by the controller and read by the agents; do not edit: what differs is written again.",
    printcolumn(name = "First", type_ = "string", json_path = ".spec.addresses[0].address"),
    printcolumn(name = "Last", type_ = "string", json_path = ".spec.addresses[-1:].address"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct OwnerPlanSpec {
    /// Layer 2 addresses, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = Shape::any().with("maxItems", SHARD.into()))]
    pub addresses: Vec<PlannedAddress>,
    /// Nodes with an agent, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = Shape::any().with("maxItems", SHARD.into()))]
    pub members: Vec<PlannedMember>,
    /// Beside members: an owner stays for as long as it may, wherever lists begin (`--l2-rebalance
    /// never`). Otherwise what a failure moved goes back to the first of its list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stay: bool,
}

/// An address and who may own it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct PlannedAddress {
    /// The address. In many objects an address counts where its epoch is highest.
    #[schemars(transform = Shape::text(45))]
    pub address: String,
    /// Rises whenever the first owner changes by plan: the time of that decision, in
    /// milliseconds since 1970.
    #[schemars(transform = Shape::any().with("minimum", 0.into()))]
    pub epoch: i64,
    /// The node that shall own the address, then its successors. Nobody: see reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = Shape::list(LONGEST_LIST, Shape::text(253)))]
    pub owners: Vec<String>,
    /// Why no node may own the address: how many nodes may not, by reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = Shape::text(1024))]
    pub reason: Option<String>,
}

/// A node with an agent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct PlannedMember {
    /// The node.
    #[schemars(transform = Shape::text(253))]
    pub node: String,
    /// The nodes whose leases keep it answering: a majority of it and them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = Shape::list(LONGEST_LIST, Shape::text(253)))]
    pub voters: Vec<String>,
}
