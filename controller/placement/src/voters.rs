//! Who votes for whom: the peers whose leases keep a node answering.
//!
//! In a cluster of up to five all others vote for a node; in a larger one four do, spread
//! over the zones so that node and voters together are as many from each. A node keeps its
//! voters for as long as they are there, and no node votes for many more than the next
//! one: every vote is packets.

use std::collections::BTreeMap;

use clarion_core::NodeName;

use crate::{NodeFacts, fnv, mix};

/// Voters of a node in a cluster of more than [`ALL`].
pub const VOTERS: usize = 4;
/// Up to so many nodes, all others vote.
pub const ALL: usize = 5;

/// Voters by node. `members` are the nodes with an agent; one that is not ready has voters but is
/// none, since it would only be missing.
#[must_use]
pub fn plan(
    members: &BTreeMap<NodeName, NodeFacts>,
    former: &BTreeMap<NodeName, Vec<NodeName>>,
) -> BTreeMap<NodeName, Vec<NodeName>> {
    let unheard = members.values().filter(|facts| !facts.ready).count();
    // As for owners: when most are unheard of, that says nothing about them.
    let believed = unheard * 2 <= members.len();
    let may_vote: BTreeMap<&NodeName, &NodeFacts> =
        members.iter().filter(|(_, facts)| facts.ready || !believed).collect();
    let wanted = if members.len() <= ALL { ALL - 1 } else { VOTERS };
    let mut votes: BTreeMap<&NodeName, usize> = may_vote.keys().map(|name| (*name, 0)).collect();
    let mut sets: BTreeMap<&NodeName, Vec<&NodeName>> = BTreeMap::new();
    for name in members.keys() {
        let kept = former.get(name).into_iter().flatten();
        let kept = kept.filter_map(|voter| may_vote.get_key_value(voter)).map(|(voter, _)| *voter);
        let mut set: Vec<&NodeName> = Vec::with_capacity(wanted);
        for voter in kept.filter(|voter| *voter != name) {
            if set.len() < wanted && !set.contains(&voter) {
                set.push(voter);
                *votes.entry(voter).or_default() += 1;
            }
        }
        sets.insert(name, set);
    }
    for (name, facts) in members {
        let mut set = sets.remove(name).unwrap_or_default();
        while set.len() < wanted {
            let Some(voter) = next(name, facts, &set, &may_vote, &votes, &sets) else { break };
            *votes.entry(voter).or_default() += 1;
            set.push(voter);
        }
        sets.insert(name, set);
    }
    let sorted = |mut set: Vec<&NodeName>| {
        set.sort_unstable();
        set.into_iter().cloned().collect()
    };
    sets.into_iter().map(|(name, set)| (name.clone(), sorted(set))).collect()
}

/// The best further voter: from the zone with the fewest so far, who votes least, whom
/// this node votes for already (the two then probe each other once), by hash.
fn next<'a>(
    name: &NodeName,
    facts: &NodeFacts,
    set: &[&NodeName],
    may_vote: &BTreeMap<&'a NodeName, &NodeFacts>,
    votes: &BTreeMap<&NodeName, usize>,
    sets: &BTreeMap<&NodeName, Vec<&NodeName>>,
) -> Option<&'a NodeName> {
    let mut zones: BTreeMap<Option<&String>, usize> = [(facts.zone.as_ref(), 1)].into();
    for voter in set {
        *zones.entry(may_vote.get(*voter).and_then(|facts| facts.zone.as_ref())).or_default() += 1;
    }
    let seed = fnv(name.as_str().as_bytes());
    may_vote
        .iter()
        .filter(|(voter, _)| **voter != name && !set.contains(*voter))
        .min_by_key(|(voter, facts)| {
            let same_zone = zones.get(&facts.zone.as_ref()).copied().unwrap_or(0);
            let mutual = sets.get(**voter).is_some_and(|theirs| theirs.contains(&name));
            let load = votes.get(**voter).copied().unwrap_or(0);
            (same_zone, load, !mutual, mix(seed, fnv(voter.as_str().as_bytes())))
        })
        .map(|(voter, _)| *voter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(count: usize, zones: usize) -> BTreeMap<NodeName, NodeFacts> {
        (0..count)
            .map(|i| {
                let zone = (zones > 0).then(|| format!("z{}", i % zones.max(1)));
                (NodeName::new(format!("n{i:03}")), NodeFacts { zone, ready: true })
            })
            .collect()
    }

    fn votes(sets: &BTreeMap<NodeName, Vec<NodeName>>, of: &NodeName) -> usize {
        sets.values().filter(|set| set.contains(of)).count()
    }

    #[test]
    fn in_a_small_cluster_all_others_vote() {
        for count in 1..=ALL {
            let sets = plan(&members(count, 0), &BTreeMap::new());
            assert!(sets.iter().all(|(name, set)| set.len() == count - 1 && !set.contains(name)), "{sets:?}");
        }
    }

    #[test]
    fn a_node_that_is_not_ready_votes_for_nobody_unless_most_are_not() {
        let mut all = members(3, 0);
        let dead = NodeName::from("n001");
        all.get_mut(&dead).unwrap().ready = false;
        let sets = plan(&all, &BTreeMap::new());
        assert_eq!((votes(&sets, &dead), sets[&dead].len()), (0, 2));
        all.values_mut().for_each(|facts| facts.ready = false);
        assert_eq!(votes(&plan(&all, &BTreeMap::new()), &dead), 2);
    }

    #[test]
    fn node_and_voters_are_spread_over_the_zones() {
        let all = members(30, 3);
        for (name, set) in plan(&all, &BTreeMap::new()) {
            let mut zones: BTreeMap<_, usize> = BTreeMap::new();
            for member in set.iter().chain([&name]) {
                *zones.entry(all[member].zone.clone()).or_default() += 1;
            }
            let mut counts: Vec<_> = zones.into_values().collect();
            counts.sort_unstable();
            assert_eq!(counts, [1, 2, 2], "{name}: {set:?}");
        }
    }

    proptest! {
        #[test]
        fn sets_are_full_stable_and_even(count in 6usize..60, zones in 0usize..4, gone in 0usize..60) {
            let all = members(count, zones);
            let sets = plan(&all, &BTreeMap::new());
            prop_assert!(sets.values().all(|set| set.len() == VOTERS));
            prop_assert_eq!(&plan(&all, &sets), &sets, "planning again changes nothing");
            if zones == 0 {
                let most = all.keys().map(|name| votes(&sets, name)).max().unwrap();
                prop_assert!(most <= VOTERS + 1, "{most}");
            }
            let gone = NodeName::new(format!("n{:03}", gone % count));
            let mut fewer = all.clone();
            fewer.remove(&gone);
            prop_assume!(fewer.len() > ALL);
            for (name, set) in plan(&fewer, &sets) {
                let kept = sets[&name].iter().filter(|voter| set.contains(voter)).count();
                prop_assert_eq!(kept, VOTERS - usize::from(sets[&name].contains(&gone)));
                prop_assert_eq!(set.len(), VOTERS);
            }
        }
    }
}
