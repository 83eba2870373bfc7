//! Layer 2: which addresses there are, and whether any node may own each, by MetalLB's
//! rules (contract §4.1). Which node shall is the controller's plan (`owners`).
//!
//! The unit is the address, not the Service: Services that share an address must
//! have one owner between them, whatever each of them selects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_config::{L2Advertisement, l2_score};
use clarion_core::{AnnounceReason, NodeName, ServiceKey};

use super::{Me, endpoint_verdict, node_verdict};
use crate::view::{Node, Service, View};

/// The interfaces of this node that an address may be announced on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// All that are not excluded.
    All,
    /// Those of these names; none if empty.
    Named(BTreeSet<String>),
}

impl Interfaces {
    /// Whether an interface of this name is meant.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }

    fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Named(mine), Self::Named(more)) => mine.extend(more),
        }
    }
}

/// One address that layer 2 announces somewhere in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// Whether any node may own it.
    pub ownable: bool,
    /// Whether this node may not, unless a list names it: one of the Services forbids it.
    pub barred: bool,
    /// Where this node would announce it.
    pub interfaces: Interfaces,
    /// The Services that have it.
    pub services: BTreeSet<ServiceKey>,
}

/// Gathers Services by address.
#[derive(Debug, Default)]
pub(super) struct Collector {
    found: BTreeMap<IpAddr, Vip>,
}

impl Collector {
    /// Takes in one Service and says what this node has to do with it.
    pub(super) fn add(
        &mut self,
        me: &Me,
        view: &View,
        key: &ServiceKey,
        service: &Service,
    ) -> AnnounceReason {
        let mut verdict = AnnounceReason::NotOwner;
        for address in &service.addresses {
            if let Err(reason) = self.add_address(me, view, key, service, *address) {
                verdict = reason;
            }
        }
        verdict
    }

    fn add_address(
        &mut self,
        me: &Me,
        view: &View,
        key: &ServiceKey,
        service: &Service,
        address: IpAddr,
    ) -> Result<(), AnnounceReason> {
        let pool = view.config.pool_of(address).ok_or(AnnounceReason::IpNotAllowed)?;
        let advertisements = view.config.l2_advertisements(pool, &service.labels, service.shared)?;
        let found = self.found.entry(address).or_insert_with(|| Vip {
            ownable: false,
            barred: false,
            interfaces: Interfaces::Named(BTreeSet::new()),
            services: BTreeSet::new(),
        });
        found.services.insert(key.clone());
        let mut here = Err(AnnounceReason::NoMatchingAdvertisement);
        for (name, node) in &view.nodes {
            let verdict = may_own(me, view, key, service, &advertisements, name, node);
            found.ownable |= verdict.is_ok();
            if *name == me.node {
                here = verdict;
                found.interfaces.join(interfaces(&advertisements, node));
            }
        }
        found.barred |= here.is_err();
        here
    }

    pub(super) fn finish(self) -> BTreeMap<IpAddr, Vip> {
        self.found
    }
}

/// Whether the node may own the Service's addresses, or why not.
fn may_own(
    me: &Me,
    view: &View,
    key: &ServiceKey,
    service: &Service,
    advertisements: &[&L2Advertisement],
    name: &NodeName,
    node: &Node,
) -> Result<(), AnnounceReason> {
    l2_score(advertisements, &node.labels)?;
    node_verdict(me, node)?;
    endpoint_verdict(view, key, service, name)
}

/// The union over the advertisements that cover the node; one that names none means all.
fn interfaces(advertisements: &[&L2Advertisement], node: &Node) -> Interfaces {
    let mut union = Interfaces::Named(BTreeSet::new());
    for advertisement in advertisements.iter().filter(|a| a.covers(&node.labels)) {
        union.join(if advertisement.interfaces.is_empty() {
            Interfaces::All
        } else {
            Interfaces::Named(advertisement.interfaces.clone())
        });
    }
    union
}
