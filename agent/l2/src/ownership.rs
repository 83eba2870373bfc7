//! Who owns each address: the interface behind which the lease machine of
//! `architecture.md` ("Act locally") will live.
//!
//! The shape is that of a machine without IO: [`Ownership::handle`] takes what
//! happened, [`Ownership::poll`] says who owns what when that changed, and
//! [`Ownership::next_deadline`] when to poll again though nothing happened. What
//! is inside now is the simplest thing that has one owner: the first node of the
//! address's order whose Lease is fresh. Nodes with equal views agree; views
//! differ for as long as a renewal needs to spread, and for up to
//! [`Timing::stale`] after a node died. A node that lost the API server alone
//! goes on answering beside its successor until it is heard again: the fence
//! that prevents it is the lease machine's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clarion_core::NodeName;

use crate::liveness::{Liveness, Timing};

/// Why an address has the owner it has, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerReason {
    /// The first node of the order is alive.
    FirstChoice,
    /// So many nodes that come before it are dead.
    Successor {
        /// Dead nodes passed over.
        passed: usize,
    },
    /// No node is allowed to own it.
    NoCandidate,
    /// Nodes are allowed to and none of them is alive.
    NobodyAlive,
}

impl OwnerReason {
    /// The word for logs and `/state`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstChoice => "firstChoice",
            Self::Successor { .. } => "successor",
            Self::NoCandidate => "noCandidate",
            Self::NobodyAlive => "nobodyAlive",
        }
    }
}

/// The owner of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// A living node, or nobody.
    pub owner: Option<NodeName>,
    /// Why.
    pub reason: OwnerReason,
    /// Grows whenever an owner is replaced. An order that all nodes compute alike
    /// needs no epochs, so it is [`RENDEZVOUS_EPOCH`] for now.
    pub epoch: u64,
}

/// The epoch of owners that follow from the order alone.
pub const RENDEZVOUS_EPOCH: u64 = 1;

/// Owners by address.
pub type Decisions = BTreeMap<IpAddr, Decision>;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The addresses and who may own each, best first. Replaces the former plan.
    Plan(BTreeMap<IpAddr, Vec<NodeName>>),
    /// A node's Lease was seen. `renewal` differs after each renewal.
    Lease {
        /// Whose.
        node: NodeName,
        /// Any text that changes at each renewal.
        renewal: String,
    },
    /// A node's Lease was deleted: it left on purpose.
    LeaseGone(NodeName),
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Ownership {
    liveness: Liveness,
    plan: BTreeMap<IpAddr, Vec<NodeName>>,
    /// What the last poll was computed from; `None` forces the next one.
    polled: Option<BTreeSet<NodeName>>,
    decisions: Arc<Decisions>,
}

impl Ownership {
    /// Knows no node and no address.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            liveness: Liveness::new(timing),
            plan: BTreeMap::new(),
            polled: None,
            decisions: Arc::default(),
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Plan(plan) if plan == self.plan => {}
            Input::Plan(plan) => {
                self.plan = plan;
                self.polled = None;
            }
            Input::Lease { node, renewal } => self.liveness.observe(&node, &renewal, now),
            Input::LeaseGone(node) => self.liveness.forget(&node),
        }
    }

    /// The decisions, if any of them may have changed since the last poll.
    pub fn poll(&mut self, now: Duration) -> Option<Arc<Decisions>> {
        let alive = self.alive(now);
        if self.polled.as_ref() == Some(&alive) {
            return None;
        }
        let decisions = self.plan.iter().map(|(address, order)| (*address, decide(order, &alive))).collect();
        self.polled = Some(alive);
        if *self.decisions == decisions {
            return None;
        }
        self.decisions = Arc::new(decisions);
        Some(Arc::clone(&self.decisions))
    }

    /// When to poll although nothing was handled.
    #[must_use]
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.liveness.next_deadline(now)
    }

    /// The nodes alive now.
    #[must_use]
    pub fn alive(&self, now: Duration) -> BTreeSet<NodeName> {
        self.liveness.known().filter(|n| self.liveness.alive(n, now)).cloned().collect()
    }

    /// Whether the node's life is seen, not assumed (see [`Liveness::heard`]).
    #[must_use]
    pub fn heard(&self, node: &NodeName) -> bool {
        self.liveness.heard(node)
    }

    /// Whether nobody can be declared dead, since no renewal comes through.
    #[must_use]
    pub fn frozen(&self, now: Duration) -> bool {
        self.liveness.frozen(now)
    }

    /// The decisions of the last poll.
    #[must_use]
    pub fn decisions(&self) -> &Arc<Decisions> {
        &self.decisions
    }
}

fn decide(order: &[NodeName], alive: &BTreeSet<NodeName>) -> Decision {
    let found = order.iter().position(|node| alive.contains(node));
    let reason = match found {
        Some(0) => OwnerReason::FirstChoice,
        Some(passed) => OwnerReason::Successor { passed },
        None if order.is_empty() => OwnerReason::NoCandidate,
        None => OwnerReason::NobodyAlive,
    };
    Decision { owner: found.and_then(|i| order.get(i)).cloned(), reason, epoch: RENDEZVOUS_EPOCH }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::order;
    use proptest::prelude::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn name(i: usize) -> NodeName {
        NodeName::new(format!("node-{i}"))
    }

    fn lease(i: usize, renewal: u64) -> Input {
        Input::Lease { node: name(i), renewal: renewal.to_string() }
    }

    fn plan(nodes: usize, addresses: u8) -> BTreeMap<IpAddr, Vec<NodeName>> {
        let candidates = (0..nodes).map(|i| (name(i), 0)).collect();
        (0..addresses)
            .map(|last| IpAddr::from([192, 0, 2, last]))
            .map(|a| (a, order(&candidates, a)))
            .collect()
    }

    /// A machine that has heard these nodes each second in `[0, until)` seconds.
    fn heard(nodes: &[usize], until: u64) -> Ownership {
        let mut machine = Ownership::new(Timing::default());
        for second in 0..until {
            for node in nodes {
                machine.handle(lease(*node, second), at(second * 1000));
            }
        }
        machine
    }

    #[test]
    fn the_reason_says_how_far_down_the_order_the_owner_is() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut machine = heard(&[1, 2], 3);
        assert_eq!(machine.poll(at(2000)), None, "no plan, no decisions");
        for (order, owner, reason) in [
            (vec![name(1), name(2)], Some(name(1)), OwnerReason::FirstChoice),
            (vec![name(0), name(2)], Some(name(2)), OwnerReason::Successor { passed: 1 }),
            (vec![name(0)], None, OwnerReason::NobodyAlive),
            (vec![], None, OwnerReason::NoCandidate),
        ] {
            machine.handle(Input::Plan([(address, order)].into()), at(2000));
            let decisions = machine.poll(at(2000)).unwrap();
            assert_eq!(decisions[&address], Decision { owner, reason, epoch: RENDEZVOUS_EPOCH });
        }
    }

    #[test]
    fn polls_say_nothing_when_nothing_changed() {
        let mut machine = heard(&[0, 1], 3);
        machine.handle(Input::Plan(plan(2, 4)), at(2000));
        assert!(machine.poll(at(2000)).is_some());
        machine.handle(Input::Plan(plan(2, 4)), at(2500));
        machine.handle(lease(0, 99), at(2600));
        assert_eq!(machine.poll(at(2600)), None);
    }

    #[test]
    fn a_dead_owner_is_replaced_at_the_deadline_and_returns_when_heard() {
        let mut machine = heard(&[0, 1, 2], 3);
        machine.handle(Input::Plan(plan(3, 30)), at(2000));
        let before = machine.poll(at(2000)).unwrap();
        for second in 3..5 {
            machine.handle(lease(1, second), at(second * 1000));
            machine.handle(lease(2, second), at(second * 1000));
        }
        assert_eq!(machine.next_deadline(at(4000)), Some(at(5000)));
        assert_eq!(machine.poll(at(4999)), None);
        let after = machine.poll(at(5000)).unwrap();
        for (address, was) in before.iter() {
            let is = &after[address];
            if was.owner == Some(name(0)) {
                assert!(
                    is.owner.is_some()
                        && is.owner != was.owner
                        && is.reason == OwnerReason::Successor { passed: 1 }
                );
            } else {
                assert_eq!(is, was, "an address of a living node moved");
            }
        }
        machine.handle(lease(0, 77), at(6000));
        assert_eq!(machine.poll(at(6000)).unwrap(), before);
    }

    #[test]
    fn a_lost_api_server_moves_nothing() {
        let mut machine = heard(&[0, 1, 2], 3);
        machine.handle(Input::Plan(plan(3, 30)), at(2000));
        machine.poll(at(2000)).unwrap();
        for second in 3..600 {
            assert_eq!(machine.poll(at(second * 1000)), None, "after {second} s");
        }
        assert!(machine.frozen(at(600_000)));
    }

    proptest! {
        /// Whatever they heard in whatever order: nodes whose views are equal name
        /// one and the same owner, and it is alive.
        #[test]
        fn equal_views_have_exactly_one_owner(
            nodes in 1usize..8,
            mut heard_nodes in proptest::collection::vec(0usize..10, 0..10),
            addresses in 1u8..20,
        ) {
            let run = |heard: &[usize]| {
                let mut machine = Ownership::new(Timing::default());
                machine.handle(Input::Plan(plan(nodes, addresses)), at(0));
                for node in heard {
                    machine.handle(lease(*node, 1), at(0));
                }
                machine.poll(at(0));
                Arc::clone(machine.decisions())
            };
            let one = run(&heard_nodes);
            heard_nodes.reverse();
            let other = run(&heard_nodes);
            prop_assert_eq!(&one, &other);
            for (address, decision) in one.iter() {
                let claimants = (0..nodes).filter(|i| decision.owner == Some(name(*i))).count();
                let somebody = (0..nodes).any(|i| heard_nodes.contains(&i));
                prop_assert_eq!(claimants, usize::from(somebody), "{}", address);
                if let Some(owner) = &decision.owner {
                    prop_assert!(heard_nodes.iter().any(|i| name(*i) == *owner));
                }
            }
        }

        /// A node that comes or goes moves only what it owned or will own.
        #[test]
        fn unrelated_addresses_stay_when_a_node_changes(nodes in 2usize..8, gone in 0usize..8, addresses in 1u8..40) {
            let gone = gone % nodes;
            let all: Vec<_> = (0..nodes).collect();
            let mut machine = heard(&all, 1);
            machine.handle(Input::Plan(plan(nodes, addresses)), at(0));
            machine.poll(at(0));
            let before = Arc::clone(machine.decisions());
            machine.handle(Input::LeaseGone(name(gone)), at(10));
            machine.poll(at(10));
            for (address, was) in before.iter() {
                if was.owner != Some(name(gone)) {
                    prop_assert_eq!(&machine.decisions()[address].owner, &was.owner);
                }
            }
        }
    }
}
