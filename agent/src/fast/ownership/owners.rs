//! Who owns what, and why, in the words of the rest of the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_core::NodeName;
use clarion_fence::NodeId;
use clarion_l2::machine::Record;

use super::{Driver, boot_clock};
use crate::fast::ownership::maps::Maps;

/// Why an address has the owner it has, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnerReason {
    /// The node that the plan names first.
    FirstChoice,
    /// One that the plan names after so many others.
    Successor {
        /// Nodes that come before it.
        passed: usize,
    },
    /// One that the plan does not name: it has it from an earlier plan.
    OutsidePlan,
    /// Nobody: no node is allowed to own it.
    NoCandidate,
    /// Nobody has claimed it, as far as is known here.
    Unclaimed,
    /// Nobody, as far as is known here: the controller has not planned for it yet.
    NoPlan,
}

impl OwnerReason {
    /// The word for logs and `/state`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::FirstChoice => "firstChoice",
            Self::Successor { .. } => "successor",
            Self::OutsidePlan => "outsidePlan",
            Self::NoCandidate => "noCandidate",
            Self::Unclaimed => "unclaimed",
            Self::NoPlan => "noPlan",
        }
    }
}

/// What this node holds of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Under which epoch.
    pub(crate) epoch: u64,
    /// As which incarnation of this node.
    pub(crate) inc: u64,
    /// The address of the node that it is being handed to.
    pub(crate) next: Option<IpAddr>,
}

/// The owner of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// A node that claims it, or nobody.
    pub(crate) owner: Option<NodeName>,
    /// Why.
    pub(crate) reason: OwnerReason,
    /// Set if it is this node.
    pub(crate) held: Option<Held>,
    /// Whether this node is likely to answer for it next.
    pub(crate) near: bool,
    /// Who may own it, best first.
    pub(crate) list: Vec<NodeName>,
}

/// Owners by address.
pub(crate) type Decisions = BTreeMap<IpAddr, Decision>;

/// Whether this node's kernel answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// No plan names this node and its voters yet.
    #[default]
    NoPlan,
    /// Its leases are a majority, or it needs none.
    Whole,
    /// They are not: it answers for nothing.
    Fenced,
    /// They are not, but its segment lives: it serves as the last node standing.
    Alone,
}

impl Standing {
    /// The word for `/state`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoPlan => "noPlan",
            Self::Whole => "whole",
            Self::Fenced => "fenced",
            Self::Alone => "lastStanding",
        }
    }
}

impl Standing {
    /// What keeps a node from being ready by it, where there are layer 2 addresses.
    pub(crate) fn missing(self, layer2: bool, key: bool) -> Option<&'static str> {
        match self {
            _ if !layer2 => None,
            _ if !key => Some("the cluster's key (the Secret that the controller makes)"),
            Self::NoPlan => {
                Some("a plan of layer 2 owners that names this node (the controller's OwnerPlans)")
            }
            Self::Fenced => Some(
                "leases of a majority of this node's voters (are the agents' UDP port and the nodes reachable?)",
            ),
            Self::Whole | Self::Alone => None,
        }
    }
}

impl Driver {
    /// Everything that is decided about these addresses.
    pub(in crate::fast) fn decisions<'a>(&self, addresses: impl Iterator<Item = &'a IpAddr>) -> Decisions {
        addresses.map(|address| (*address, self.decision(*address))).collect()
    }

    fn decision(&self, address: IpAddr) -> Decision {
        let held = self.machine.entry(address);
        let others = |record: &Record| record.node != self.me;
        let claimed = self.machine.owner(address).filter(others).map(|record| record.node);
        let owner = if held.is_some() { Some(self.me) } else { claimed };
        let place = self.machine.plan().places.get(&address);
        let list = place.map_or(&[][..], |place| &place.nodes);
        let position = owner.and_then(|owner| list.iter().position(|node| *node == owner));
        let reason = match (owner, position) {
            (Some(_), Some(0)) => OwnerReason::FirstChoice,
            (Some(_), Some(passed)) => OwnerReason::Successor { passed },
            (Some(_), None) => OwnerReason::OutsidePlan,
            (None, _) if place.is_none() => OwnerReason::NoPlan,
            (None, _) if list.is_empty() => OwnerReason::NoCandidate,
            (None, _) => OwnerReason::Unclaimed,
        };
        let fellow = |node: NodeId| self.owners.fellows.get(&node);
        let held = held.map(|entry| {
            let next = fellow(entry.station).filter(|_| entry.station != self.me);
            Held { epoch: entry.epoch, inc: entry.inc, next: next.and_then(|fellow| fellow.address) }
        });
        Decision {
            owner: owner
                .and_then(|node| if node == self.me { Some(self.name.clone()) } else { self.name_of(node) }),
            reason,
            held,
            near: list.iter().take(2).any(|node| *node == self.me),
            list: list.iter().copied().filter_map(fellow).map(|fellow| fellow.name.clone()).collect(),
        }
    }

    fn name_of(&self, node: NodeId) -> Option<NodeName> {
        self.owners.fellows.get(&node).map(|fellow| fellow.name.clone())
    }

    /// Whether the kernel answers for what this node holds, and why not.
    pub(in crate::fast) fn standing(&mut self, dataplane: &mut clarion_dataplane::Dataplane) -> Standing {
        let whole = self.machine.whole(boot_clock(), &Maps { dataplane, book: &mut self.book });
        if self.machine.alone() {
            Standing::Alone
        } else if whole {
            Standing::Whole
        } else if self.machine.plan().version == 0 {
            Standing::NoPlan
        } else {
            Standing::Fenced
        }
    }

    /// The nodes whose round trips with this one succeed.
    pub(in crate::fast) fn in_contact(&self) -> BTreeSet<NodeName> {
        self.machine.in_contact().iter().filter_map(|node| self.name_of(*node)).collect()
    }

    /// Whether anything is still held, or on its way to another node.
    pub(in crate::fast) fn holds_anything(&self) -> bool {
        self.machine.held().next().is_some()
    }

    /// Whether the cluster's key is known.
    pub(in crate::fast) fn has_key(&self) -> bool {
        self.keys.keys().current.id != 0
    }

    /// What happened and what was dropped since the agent began.
    pub(in crate::fast) fn told(&self) -> super::Told {
        self.told.with_dropped(self.machine.dropped(), self.net.unsent)
    }
}
