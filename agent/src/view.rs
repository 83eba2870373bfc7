//! What the agent knows of the cluster, reduced to what it needs: a Service of
//! 4 kB becomes some 200 bytes, which is why an agent fits into 20 MB.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_config::Config;
use clarion_core::{Labels, NodeName, ServiceKey};
use clarion_daemon::Store;

/// Everything [`desired`](crate::desired::desired) looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The configuration in force.
    pub config: Config,
    /// Services that are ours: of type LoadBalancer, of our class, with an address or without.
    pub services: Store<ServiceKey, Service>,
    /// Where Services are served.
    pub endpoints: BTreeMap<ServiceKey, Endpoints>,
    /// The cluster's nodes.
    pub nodes: Store<NodeName, Node>,
    /// TCP-MD5 keys by Secret name, of the Secrets that BGPPeers name.
    pub secrets: BTreeMap<String, SecretValue>,
}

/// `spec.externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any node may take the traffic and hand it on.
    Cluster,
    /// Only nodes with serving endpoints take traffic.
    Local,
}

/// A Service of type LoadBalancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `metadata.uid`, for events.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.loadBalancer.ingress[].ip`, in its order.
    pub addresses: Vec<IpAddr>,
    /// `spec.externalTrafficPolicy`.
    pub policy: TrafficPolicy,
    /// Whether it may share its address (annotation allow-shared-ip).
    pub shared: bool,
}

/// The serving endpoints of a Service: those that are ready, and those that
/// terminate and still serve (contract §2.8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// Nodes with at least one.
    pub nodes: BTreeSet<NodeName>,
    /// Whether some are on no node of the cluster.
    pub elsewhere: bool,
}

impl Endpoints {
    /// Whether nothing serves anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && !self.elsewhere
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `metadata.uid`: a node that was deleted and made anew is another one.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.unschedulable`.
    pub cordoned: bool,
    /// Condition NetworkUnavailable is True.
    pub network_unavailable: bool,
    /// `status.addresses` of type InternalIP.
    pub addresses: Vec<IpAddr>,
}

pub use clarion_config::EXCLUDE_LABEL;

impl Node {
    /// Whether the node is labelled to be left out.
    #[must_use]
    pub fn excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }
}

/// What a Secret that a BGPPeer names turned out to be.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// Its key `password`.
    Password(String),
    /// It is there and of no use; the text says why and what to do.
    Unusable(String),
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password(_) => f.write_str("Password(..)"),
            Self::Unusable(why) => write!(f, "Unusable({why:?})"),
        }
    }
}
