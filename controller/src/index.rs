//! What the API server has, as far as the controller cares. Owned and updated by one
//! task, synchronously: watches send [`Change`]s, nothing here waits for anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_core::{Labels, NodeName, ServiceKey};
use clarion_daemon::Store;
pub use clarion_daemon::configuration::ConfigEdit;
use clarion_daemon::configuration::Configuration;
pub use clarion_daemon::watch::Edit;

use crate::placement::NodeView;
use crate::service::ServiceView;

/// A change that some watch saw.
#[derive(Debug, Clone)]
pub enum Change {
    /// Services of all namespaces.
    Service(Edit<ServiceKey, Arc<ServiceView>>),
    /// Labels of namespaces.
    Namespace(Edit<String, Arc<Labels>>),
    /// Nodes.
    Node(Edit<NodeName, Arc<NodeView>>),
    /// Configuration objects.
    Config(ConfigEdit),
    /// All Services, as they were after this term of leadership began or later: everything
    /// that former leaders wrote into them is seen.
    Listed(u64, BTreeMap<ServiceKey, Arc<ServiceView>>),
}

/// What a change concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Services that are new or different.
    pub services: Vec<ServiceKey>,
    /// Services that are gone.
    pub gone: Vec<ServiceKey>,
    /// Whether configuration objects differ, be it in their status alone.
    pub config: bool,
    /// Whether labels of namespaces differ.
    pub namespaces: bool,
    /// Whether nodes differ.
    pub nodes: bool,
}

/// Everything that the watches have told.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Services that concern us.
    pub services: Store<ServiceKey, Arc<ServiceView>>,
    /// Labels of namespaces.
    pub namespaces: Store<String, Arc<Labels>>,
    /// Nodes. No address waits for them to be known: reports alone look at them.
    pub nodes: Store<NodeName, Arc<NodeView>>,
    /// Configuration objects.
    pub config: Configuration,
}

impl Index {
    /// Makes a change and says what it concerns.
    pub fn apply(&mut self, change: Change) -> Touched {
        let services = |(services, gone)| Touched { services, gone, ..Touched::default() };
        match change {
            Change::Service(edit) => services(self.services.edit(edit)),
            Change::Listed(_, all) => services(self.services.edit(Edit::Reset(all))),
            Change::Namespace(edit) => {
                Touched { namespaces: self.namespaces.apply(edit), ..Touched::default() }
            }
            Change::Node(edit) => Touched { nodes: self.nodes.apply(edit), ..Touched::default() },
            Change::Config(edit) => Touched { config: self.config.apply(edit), ..Touched::default() },
        }
    }

    /// The kinds that have not been seen in full yet, as messages name them.
    #[must_use]
    pub fn unsynced(&self) -> Vec<&'static str> {
        let own = [("services", self.services.synced()), ("namespaces", self.namespaces.synced())];
        let own = own.into_iter().filter_map(|(kind, synced)| (!synced).then_some(kind));
        own.chain(self.config.unsynced()).collect()
    }

    /// The labels of a namespace; none while it is not known.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> Arc<Labels> {
        self.namespaces.get(namespace).cloned().unwrap_or_default()
    }
}
