//! The order in which nodes may own an address: preferred nodes first, then by
//! a hash, so that addresses spread and every node computes the same order
//! without asking another.
//!
//! The hash is MetalLB's, SHA-256 over `node#address` (contract §4.1), so that a
//! cluster that changes from MetalLB keeps its owners.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clarion_core::NodeName;
use sha2::{Digest, Sha256};

/// Nodes that may own `address`, best first. `candidates` gives each eligible
/// node its score (sum of the weights of matching `preferredNodeSelectors`);
/// higher scores first, equal scores by hash, ascending.
#[must_use]
pub fn order(candidates: &BTreeMap<NodeName, u32>, address: IpAddr) -> Vec<NodeName> {
    let suffix = format!("#{address}");
    let mut keyed: Vec<_> = candidates
        .iter()
        .map(|(node, score)| {
            let mut hash = Sha256::new();
            hash.update(node.as_str());
            hash.update(&suffix);
            (std::cmp::Reverse(*score), hash.finalize(), node)
        })
        .collect();
    keyed.sort();
    keyed.into_iter().map(|(_, _, node)| node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes(names: &[(&str, u32)]) -> BTreeMap<NodeName, u32> {
        names.iter().map(|(n, s)| (NodeName::from(*n), *s)).collect()
    }

    #[test]
    fn the_order_is_metallbs() {
        // printf 'n1#192.0.2.1' | sha256sum and so on, sorted by digest.
        let address = "192.0.2.1".parse().unwrap();
        let order = order(&nodes(&[("n1", 0), ("n2", 0), ("n3", 0)]), address);
        let names: Vec<_> = order.iter().map(NodeName::as_str).collect();
        assert_eq!(names, EXPECTED_192_0_2_1);
    }

    const EXPECTED_192_0_2_1: [&str; 3] = ["n2", "n1", "n3"];

    #[test]
    fn preferred_nodes_come_first() {
        let address = "192.0.2.1".parse().unwrap();
        for name in ["n1", "n2", "n3"] {
            let mut all = nodes(&[("n1", 0), ("n2", 0), ("n3", 0)]);
            all.insert(name.into(), 10);
            assert_eq!(order(&all, address)[0].as_str(), name);
        }
    }

    proptest! {
        #[test]
        fn a_node_that_goes_changes_nothing_among_the_others(count in 2usize..20, gone in 0usize..20, last: u8) {
            let address = IpAddr::from([192, 0, 2, last]);
            let all: BTreeMap<_, _> = (0..count).map(|i| (NodeName::new(format!("node-{i}")), 0)).collect();
            let gone = NodeName::new(format!("node-{}", gone % count));
            let mut fewer = all.clone();
            fewer.remove(&gone);
            let expected: Vec<_> = order(&all, address).into_iter().filter(|n| *n != gone).collect();
            prop_assert_eq!(order(&fewer, address), expected);
        }
    }
}
