//! From what the API server has to what [`clarion_placement`] is asked: which addresses
//! there are in layer 2, which belong together, and which nodes may own them.
//!
//! The rules are MetalLB's (contract §2.8, §4.1), those about advertisements the same code
//! that the agents announce by. Two things differ from the agents' view on purpose: whether a
//! Service has endpoints at all is left to the agents (an owner without any stays
//! silent; pods that restart are no reason to plan), and a node without an agent is none.

mod read;
pub mod watches;
mod world;

pub use read::{NodeView, Slice};
pub use world::{SliceKey, Work, World};

use std::sync::Arc;

use clarion_core::{NodeName, ServiceKey};

use crate::plans::Stored;
use crate::service::ServiceView;
use clarion_daemon::watch::Edit;

/// Changes that may wait for the planning loop.
pub const QUEUE: usize = 1024;

/// A change that concerns placement.
#[derive(Debug, Clone)]
pub enum News {
    /// Services of all namespaces.
    Service(Edit<ServiceKey, Arc<ServiceView>>),
    /// Nodes.
    Node(Edit<NodeName, Arc<NodeView>>),
    /// Nodes with an agent.
    Agent(Edit<NodeName, ()>),
    /// EndpointSlices; watched only while a Service needs them.
    Slice(Edit<SliceKey, Arc<Slice>>),
    /// OwnerPlans as they are stored, by name.
    Plan(Edit<String, Stored>),
}
