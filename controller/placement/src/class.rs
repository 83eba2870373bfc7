//! Who may own a group, and who is preferred: tiers of nodes, best first.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_core::{AnnounceReason, NodeName};

use crate::{NodeFacts, fnv};

/// Who may own a group of addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Candidates {
    /// The nodes that may, each with its score: the sum of the weights of the
    /// `preferredNodeSelectors` that match it (contract §4.1). Higher is better.
    pub scores: BTreeMap<NodeName, u32>,
    /// How many of the other nodes may not, by reason.
    pub refused: BTreeMap<AnnounceReason, usize>,
}

/// The nodes of the cluster, by number.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) names: Vec<NodeName>,
    pub(crate) seeds: Vec<u64>,
    pub(crate) zones: Vec<Option<String>>,
    ready: Vec<bool>,
    numbers: BTreeMap<NodeName, usize>,
}

impl Nodes {
    pub(crate) fn new(facts: &BTreeMap<NodeName, NodeFacts>) -> Self {
        // When more than half are unheard of, it is Kubernetes that does not hear: what lives
        // is then for the nodes to find out between themselves, and no reason to
        // pile every address on the few that are left in sight.
        let unheard = facts.values().filter(|facts| !facts.ready).count();
        let believed = unheard * 2 <= facts.len();
        Self {
            names: facts.keys().cloned().collect(),
            seeds: facts.keys().map(|name| fnv(name.as_str().as_bytes())).collect(),
            zones: facts.values().map(|facts| facts.zone.clone()).collect(),
            ready: facts.values().map(|facts| facts.ready || !believed).collect(),
            numbers: facts.keys().cloned().enumerate().map(|(number, name)| (name, number)).collect(),
        }
    }

    pub(crate) fn number(&self, name: &NodeName) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Nodes that are as good as each other.
#[derive(Debug)]
pub(crate) struct Tier {
    /// Whether Kubernetes hears of them.
    pub(crate) ready: bool,
    pub(crate) nodes: Vec<usize>,
}

/// What is computed once of each [`Candidates`].
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) candidates: Arc<Candidates>,
    /// Best first. A node that is not ready comes after all that are: it owns only what
    /// nobody else may.
    pub(crate) tiers: Vec<Tier>,
    /// The tier of each node, sorted by node.
    ranks: Vec<(usize, usize)>,
}

impl Class {
    pub(crate) fn new(candidates: &Arc<Candidates>, nodes: &Nodes) -> Self {
        let mut by_merit: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (name, score) in &candidates.scores {
            // A name that is no node of the cluster is nobody's.
            if let Some(node) = nodes.number(name) {
                by_merit.entry(std::cmp::Reverse((nodes.ready[node], *score))).or_default().push(node);
            }
        }
        let tiers: Vec<Tier> = by_merit
            .into_iter()
            .map(|(std::cmp::Reverse((ready, _)), nodes)| Tier { ready, nodes })
            .collect();
        let ranked =
            tiers.iter().enumerate().flat_map(|(rank, tier)| tier.nodes.iter().map(move |n| (*n, rank)));
        let mut ranks: Vec<_> = ranked.collect();
        ranks.sort_unstable();
        Self { candidates: Arc::clone(candidates), tiers, ranks }
    }

    /// The tier of a node; `None` if it may not own.
    pub(crate) fn rank(&self, node: usize) -> Option<usize> {
        let found = self.ranks.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        Some(self.ranks[found].1)
    }

    /// The nodes of the best tier.
    pub(crate) fn best(&self) -> &[usize] {
        self.tiers.first().map_or(&[], |tier| &tier.nodes)
    }

    /// Whether a node of this rank may keep what it owns: not if it is unheard of while
    /// others are heard. A mere preference for another is no reason to move at once.
    pub(crate) fn may_stay(&self, rank: usize) -> bool {
        self.tiers[rank].ready || !self.tiers[0].ready
    }
}
