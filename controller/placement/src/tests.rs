//! Tables and properties of the lists. The model is what the page promises, counted
//! anew from the lists alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use clarion_core::{NodeName, OwnerList};
use proptest::prelude::*;

use super::*;

const EVERY: Duration = Duration::from_secs(10);

fn ip(number: usize) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap()).into()
}

fn name(number: usize) -> NodeName {
    NodeName::new(format!("n{number:02}"))
}

fn facts(nodes: impl IntoIterator<Item = usize>) -> BTreeMap<NodeName, NodeFacts> {
    nodes.into_iter().map(|n| (name(n), NodeFacts { zone: None, ready: true })).collect()
}

fn may(nodes: impl IntoIterator<Item = usize>) -> Arc<Candidates> {
    scored(nodes.into_iter().map(|n| (n, 0)))
}

fn scored(nodes: impl IntoIterator<Item = (usize, u32)>) -> Arc<Candidates> {
    let scores = nodes.into_iter().map(|(n, score)| (name(n), score)).collect();
    Arc::new(Candidates { scores, refused: BTreeMap::new() })
}

fn groups(addresses: impl IntoIterator<Item = usize>, candidates: &Arc<Candidates>) -> Vec<Group> {
    let group = |n| Group { addresses: vec![ip(n)], candidates: Arc::clone(candidates) };
    addresses.into_iter().map(group).collect()
}

fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), unix_ms: 1_000_000 + seconds * 1000 }
}

fn gradual(moves: usize) -> Settings {
    Settings { rebalance: Rebalance::Gradual { moves, every: EVERY }, longest: 5 }
}

const NEVER: Settings = Settings { rebalance: Rebalance::Never, longest: 5 };

fn lists(placement: &Placement) -> BTreeMap<IpAddr, OwnerList> {
    placement.addresses().map(|address| (address, placement.list(address).unwrap())).collect()
}

fn owned(lists: &BTreeMap<IpAddr, OwnerList>) -> BTreeMap<NodeName, usize> {
    let mut counts = BTreeMap::new();
    for list in lists.values() {
        *counts.entry(list.owner().unwrap().clone()).or_default() += 1;
    }
    counts
}

/// What comes right after a node, counted.
fn after(lists: &BTreeMap<IpAddr, OwnerList>, owner: &NodeName) -> BTreeMap<NodeName, usize> {
    let mut counts = BTreeMap::new();
    for list in lists.values().filter(|list| list.owner() == Some(owner)) {
        *counts.entry(list.owners[1].clone()).or_default() += 1;
    }
    counts
}

fn moved(before: &BTreeMap<IpAddr, OwnerList>, now: &BTreeMap<IpAddr, OwnerList>) -> BTreeSet<IpAddr> {
    now.iter().filter(|(a, list)| before[*a].owner() != list.owner()).map(|(a, _)| *a).collect()
}

fn cluster(settings: Settings, addresses: usize, nodes: usize) -> Placement {
    let mut placement = Placement::new(settings, &facts(0..nodes), []);
    placement.replace([], groups(0..addresses, &may(0..nodes)));
    placement.plan(at(0));
    placement
}

/// Calls until nothing is due any more; returns how many moves each call made.
fn run_down(placement: &mut Placement, mut seconds: u64) -> Vec<usize> {
    let mut calls = Vec::new();
    while placement.deadline().is_some() {
        seconds += EVERY.as_secs();
        calls.push(placement.plan(at(seconds)).rebalanced);
        assert!(calls.len() < 10_000, "it never settles: {calls:?}");
    }
    calls
}

#[test]
fn three_hundred_over_three_are_a_hundred_each_and_their_successors_fifty_fifty() {
    let lists = lists(&cluster(NEVER, 300, 3));
    assert!(owned(&lists).values().all(|count| *count == 100), "{:?}", owned(&lists));
    for owner in (0..3).map(name) {
        let after = after(&lists, &owner);
        assert!(after.len() == 2 && after.values().all(|count| *count == 50), "{owner}: {after:?}");
    }
}

#[test]
fn a_node_that_leaves_moves_its_own_to_their_successors_and_its_return_is_gradual() {
    let mut placement = cluster(gradual(10), 300, 3);
    run_down(&mut placement, 0);
    let before = lists(&placement);
    placement.set_nodes(&facts([0, 1, 2]));
    placement.replace([], groups(0..300, &may([0, 1])));
    let planned = placement.plan(at(100));
    let without = lists(&placement);
    assert_eq!((planned.displaced, planned.rebalanced), (100, 0));
    for address in moved(&before, &without) {
        assert_eq!(before[&address].owner(), Some(&name(2)));
        assert_eq!(before[&address].owners[1], without[&address].owners[0], "agents would take the same");
    }
    assert!(owned(&without).values().all(|count| *count == 150));

    run_down(&mut placement, 100);
    placement.replace([], groups(0..300, &may([0, 1, 2])));
    assert_eq!(placement.plan(at(1000)).rebalanced, 0, "not at once");
    let calls = run_down(&mut placement, 1000);
    assert_eq!(calls, [vec![10; 10], vec![0]].concat(), "a hundred, ten at a time");
    assert!(owned(&lists(&placement)).values().all(|count| *count == 100));
}

#[test]
fn what_a_deletion_makes_uneven_is_made_even() {
    let mut placement = cluster(gradual(3), 3, 2);
    run_down(&mut placement, 0);
    let before = lists(&placement);
    let counts = owned(&before);
    let alone = before.iter().find(|(_, list)| counts[list.owner().unwrap()] == 1).unwrap().0;
    placement.replace([*alone], vec![]);
    placement.plan(at(100));
    assert_eq!(run_down(&mut placement, 100), [1, 0]);
    assert_eq!(owned(&lists(&placement)), [(name(0), 1), (name(1), 1)].into());
}

#[test]
fn never_means_never() {
    let mut placement = cluster(NEVER, 30, 3);
    placement.replace([], groups(0..30, &may([0])));
    placement.plan(at(1));
    placement.replace([], groups(0..30, &scored([(0, 0), (1, 50), (2, 50)])));
    assert_eq!(placement.plan(at(2)).displaced, 0);
    assert_eq!(placement.deadline(), None);
    assert_eq!(owned(&lists(&placement)), [(name(0), 30)].into());
}

#[test]
fn preferred_nodes_come_first_and_share_evenly() {
    let mut placement = Placement::new(gradual(100), &facts(0..5), []);
    placement.replace([], groups(0..40, &scored([(0, 1), (1, 20), (2, 20), (3, 1), (4, 3)])));
    placement.plan(at(0));
    let lists = lists(&placement);
    assert_eq!(owned(&lists), [(name(1), 20), (name(2), 20)].into());
    for list in lists.values() {
        assert_eq!(list.owners[2], name(4), "by score: {list:?}");
    }
}

#[test]
fn a_preference_that_appears_moves_owners_gradually() {
    let mut placement = cluster(gradual(4), 9, 3);
    run_down(&mut placement, 0);
    placement.replace([], groups(0..9, &scored([(0, 0), (1, 7), (2, 0)])));
    assert_eq!(placement.plan(at(100)).displaced, 0);
    assert_eq!(run_down(&mut placement, 100), [4, 2, 0]);
    assert_eq!(owned(&lists(&placement)), [(name(1), 9)].into());
}

#[test]
fn who_is_unheard_of_loses_its_own_unless_most_are() {
    let mut placement = cluster(NEVER, 30, 3);
    let before = lists(&placement);
    let mut nodes = facts(0..3);
    nodes.get_mut(&name(0)).unwrap().ready = false;
    placement.set_nodes(&nodes);
    assert_eq!(placement.plan(at(1)).displaced, 10);
    let list = placement.list(ip(0)).unwrap();
    assert_eq!(list.owners.last(), Some(&name(0)), "it stays the last resort: {list:?}");

    let mut placement = Placement::new(NEVER, &facts(0..3), before);
    placement.replace([], groups(0..30, &may(0..3)));
    placement.plan(at(1));
    nodes.get_mut(&name(1)).unwrap().ready = false;
    placement.set_nodes(&nodes);
    assert_eq!(placement.plan(at(2)).displaced, 0, "two of three: that is Kubernetes not hearing");
}

#[test]
fn nobody_may_own_and_then_somebody() {
    let mut placement = cluster(NEVER, 1, 2);
    let first = placement.list(ip(0)).unwrap();
    placement.replace([], groups([0], &may([])));
    assert!(placement.plan(at(1)).changed.contains(&ip(0)));
    assert_eq!(placement.list(ip(0)).unwrap(), OwnerList { epoch: first.epoch, owners: vec![] });
    assert_eq!(placement.unowned(), 1);
    placement.replace([], groups([0], &may(0..2)));
    placement.plan(at(2));
    assert_eq!(placement.list(ip(0)).unwrap().owners.len(), 2);
}

#[test]
fn addresses_bound_together_have_one_owner_and_keep_it_when_they_part() {
    let candidates = may(0..3);
    let mut placement = cluster(NEVER, 3, 3);
    let before = lists(&placement);
    let bound = Group { addresses: vec![ip(0), ip(1), ip(2)], candidates: Arc::clone(&candidates) };
    placement.replace([], vec![bound]);
    assert_eq!(placement.plan(at(1)).displaced, 2);
    let together = lists(&placement);
    assert!(together.values().all(|list| list.owner() == before[&ip(0)].owner()));
    assert_eq!(together[&ip(0)].epoch, before[&ip(0)].epoch, "it has not moved");
    assert!(together[&ip(1)].epoch > before[&ip(1)].epoch);
    placement.replace([], groups(0..3, &candidates));
    assert_eq!(placement.plan(at(2)).displaced, 0);
    assert_eq!(moved(&together, &lists(&placement)), BTreeSet::new());
}

#[test]
fn an_address_that_is_used_again_begins_above_its_former_epochs() {
    let mut placement = cluster(NEVER, 1, 3);
    let former = placement.list(ip(0)).unwrap();
    placement.replace([ip(0)], vec![]);
    placement.plan(at(1));
    assert_eq!(placement.list(ip(0)), None);
    placement.replace([], groups([0], &may(0..3)));
    placement.plan(at(1));
    assert!(placement.list(ip(0)).unwrap().epoch > former.epoch);
}

#[test]
fn a_list_does_not_end_in_its_own_zone() {
    let mut nodes = facts(0..12);
    for (number, facts) in nodes.values_mut().enumerate() {
        facts.zone = Some(if number < 9 { "big" } else { "small" }.to_owned());
    }
    let mut placement = Placement::new(NEVER, &nodes, []);
    placement.replace([], groups(0..300, &may(0..12)));
    placement.plan(at(0));
    for (address, list) in lists(&placement) {
        let zones: BTreeSet<_> = list.owners.iter().map(|node| nodes[node].zone.clone()).collect();
        assert_eq!(zones.len(), 2, "{address}: {list:?}");
    }
    placement.set_nodes(&nodes);
    assert!(placement.plan(at(1)).changed.is_empty(), "the same facts change nothing");
}

#[test]
fn the_fewest_moves_make_it_even() {
    // (addresses by node, moves)
    for (loads, fewest) in [(vec![9, 0, 0], 6), (vec![5, 3, 1], 2), (vec![4, 3, 3], 0), (vec![7, 7, 0, 0], 6)]
    {
        let nodes = loads.len();
        let mut former = BTreeMap::new();
        for (node, count) in loads.iter().enumerate() {
            for _ in 0..*count {
                former.insert(ip(former.len()), OwnerList { epoch: 7, owners: vec![name(node)] });
            }
        }
        let total = former.len();
        let mut placement = Placement::new(gradual(2), &facts(0..nodes), former);
        placement.replace([], groups(0..total, &may(0..nodes)));
        assert_eq!(placement.plan(at(0)).displaced, 0);
        let calls = run_down(&mut placement, 0);
        assert!(calls.iter().all(|moves| *moves <= 2));
        assert_eq!(calls.iter().sum::<usize>(), fewest, "{loads:?}: {calls:?}");
        let most = owned(&lists(&placement)).into_values().max().unwrap();
        assert_eq!(most, total.div_ceil(nodes), "{loads:?}");
    }
}

#[derive(Debug, Clone)]
enum Op {
    Add(usize),
    Delete(usize),
    Toggle(usize),
    Ready(usize),
    Restart,
    Wait,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0usize..80).prop_map(Op::Add),
        2 => (0usize..80).prop_map(Op::Delete),
        2 => (0usize..9).prop_map(Op::Toggle),
        1 => (0usize..9).prop_map(Op::Ready),
        1 => Just(Op::Restart),
        3 => Just(Op::Wait),
    ]
}

/// What has to hold after every step, whatever went before.
fn check(placement: &Placement, nodes: &BTreeMap<NodeName, NodeFacts>, used: &BTreeSet<usize>) {
    let lists = lists(placement);
    assert_eq!(lists.len(), used.len());
    for (address, list) in &lists {
        let distinct: BTreeSet<_> = list.owners.iter().collect();
        assert_eq!(distinct.len(), list.owners.len(), "{address}: {list:?}");
        assert!(list.owners.iter().all(|node| nodes.contains_key(node)), "{address}: {list:?}");
        assert_eq!(list.owners.len(), nodes.len().min(5), "{address}: {list:?}");
        let unready = nodes.values().filter(|facts| !facts.ready).count();
        let owner_ready = list.owner().is_none_or(|owner| nodes[owner].ready);
        assert!(owner_ready || unready * 2 > nodes.len(), "{address}: {list:?} of {nodes:?}");
    }
}

proptest! {
    #[test]
    fn from_scratch_it_is_even(addresses in 1usize..400, nodes in 1usize..20) {
        let placement = cluster(NEVER, addresses, nodes);
        let lists = lists(&placement);
        let counts = owned(&lists);
        prop_assert!(counts.values().all(|count| *count <= addresses.div_ceil(nodes)), "{counts:?}");
        if nodes > 2 {
            for (owner, count) in counts {
                let after = after(&lists, &owner);
                prop_assert!(after.values().all(|n| *n <= count.div_ceil(nodes - 1)), "{owner}: {after:?}");
            }
        }
    }

    #[test]
    fn a_node_that_leaves_moves_only_its_own(addresses in 1usize..200, nodes in 2usize..12, gone in 0usize..12) {
        let gone = gone % nodes;
        let mut placement = cluster(NEVER, addresses, nodes);
        let before = lists(&placement);
        let left: Vec<_> = (0..nodes).filter(|n| *n != gone).collect();
        placement.set_nodes(&facts(left.iter().copied()));
        placement.plan(at(1));
        let now = lists(&placement);
        for address in moved(&before, &now) {
            prop_assert_eq!(before[&address].owner(), Some(&name(gone)));
            prop_assert_eq!(now[&address].owner(), before[&address].owners.get(1));
        }
        for (address, list) in &now {
            let same = before[address].owner() == list.owner();
            prop_assert_eq!(list.epoch == before[address].epoch, same, "{}", address);
            prop_assert!(list.epoch >= before[address].epoch);
        }
        // What a failure adds is shared: one more than the fair share of its own at most.
        let share = owned(&before).get(&name(gone)).copied().unwrap_or(0).div_ceil(nodes - 1);
        for (node, count) in owned(&now) {
            prop_assert!(count <= addresses.div_ceil(nodes) + share, "{node}: {count}");
        }
    }

    #[test]
    fn it_does_not_matter_in_which_order_or_how_often_it_is_told(
        addresses in 1usize..60, nodes in 1usize..8, seed in any::<u64>(),
    ) {
        let candidates = may(0..nodes);
        let mut shuffled: Vec<usize> = (0..addresses).collect();
        shuffled.sort_by_key(|n| mix(seed, u64::try_from(*n).unwrap()));
        let mut other = Placement::new(NEVER, &facts(0..nodes), []);
        other.replace([], groups(shuffled, &candidates));
        other.replace([], groups(0..addresses, &candidates));
        other.plan(at(0));
        prop_assert_eq!(lists(&other), lists(&cluster(NEVER, addresses, nodes)));
    }

    #[test]
    fn whatever_happens_lists_are_whole_epochs_tell_and_it_ends_even(
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut nodes = facts(0..6);
        let mut used = BTreeSet::new();
        let mut placement = Placement::new(gradual(3), &nodes, []);
        let mut candidates = may(0..6);
        let mut epochs: BTreeMap<IpAddr, (u64, Option<NodeName>)> = BTreeMap::new();
        let mut seconds = 0;
        // What a caller knows who is told of changes alone.
        let mut told: BTreeMap<IpAddr, OwnerList> = BTreeMap::new();
        for (step, op) in (1..).zip(ops) {
            let at = |seconds| Now { unix_ms: at(seconds).unix_ms + step, ..at(seconds) };
            match op {
                Op::Add(n) => {
                    used.insert(n);
                    placement.replace([], groups([n], &candidates));
                }
                Op::Delete(n) => {
                    used.remove(&n);
                    placement.replace([ip(n)], vec![]);
                }
                Op::Toggle(n) => {
                    if nodes.len() < 2 || nodes.remove(&name(n)).is_none() {
                        nodes.insert(name(n), NodeFacts { zone: None, ready: true });
                    }
                    candidates = Arc::new(Candidates {
                        scores: nodes.keys().map(|n| (n.clone(), 0)).collect(),
                        refused: BTreeMap::new(),
                    });
                    placement.set_nodes(&nodes);
                    placement.replace([], groups(used.iter().copied(), &candidates));
                }
                Op::Ready(n) => {
                    if let Some(facts) = nodes.get_mut(&name(n)) {
                        facts.ready = !facts.ready;
                    }
                    placement.set_nodes(&nodes);
                }
                Op::Restart => {
                    let before = lists(&placement);
                    placement = Placement::new(gradual(3), &nodes, before.clone());
                    placement.replace([], groups(used.iter().copied(), &candidates));
                    let planned = placement.plan(at(seconds));
                    prop_assert!(planned.changed.is_empty(), "a restart changes {planned:?}");
                    prop_assert_eq!(lists(&placement), before);
                }
                Op::Wait => seconds += EVERY.as_secs(),
            }
            let planned = placement.plan(at(seconds));
            prop_assert!(planned.rebalanced <= 3);
            check(&placement, &nodes, &used);
            told.retain(|address, _| placement.list(*address).is_some());
            told.extend(planned.changed.iter().map(|a| (*a, placement.list(*a).unwrap())));
            prop_assert_eq!(&told, &lists(&placement), "a change was not told");
            for (address, list) in lists(&placement) {
                let now = (list.epoch, list.owner().cloned());
                if let Some(former) = epochs.insert(address, now.clone()) {
                    prop_assert!(now.0 >= former.0, "{address}: {former:?} then {now:?}");
                    prop_assert!(now == former || now.0 > former.0, "{address}: {former:?} then {now:?}");
                }
            }
        }
        nodes.values_mut().for_each(|facts| facts.ready = true);
        placement.set_nodes(&nodes);
        placement.plan(at(seconds));
        run_down(&mut placement, seconds);
        let counts = owned(&lists(&placement));
        prop_assert!(counts.values().all(|count| *count <= used.len().div_ceil(nodes.len())), "{counts:?}");
    }
}
