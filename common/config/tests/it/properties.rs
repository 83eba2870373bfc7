//! What holds whatever people write.

use clarion_config::Config;
use clarion_core::{AddressRange, PoolName};
use proptest::prelude::*;
use serde_json::json;

use crate::support::World;

/// Mostly readable entries that often overlap, and some nonsense.
fn entry() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0_u8..4, 0_u8..8, 26_u8..=32).prop_map(|(a, b, l)| format!("10.0.{a}.{}/{l}", b * 32)),
        4 => (0_u8..4, any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| format!("10.0.{a}.{b}-10.0.{a}.{c}")),
        2 => (0_u16..64, 116_u8..=128).prop_map(|(a, l)| format!("2001:db8::{a:x}00/{l}")),
        1 => "[0-9a-f:./ -]{0,24}",
        1 => ".{0,12}",
    ]
}

fn addresses() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(entry(), 0..4)
}

fn world(pools: &[(usize, Vec<String>)]) -> World {
    let mut world = World::new();
    for (name, addresses) in pools {
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        world = world.pool(&format!("p{name}"), u32::try_from(7 * name % 5).unwrap(), &addresses);
    }
    world
}

fn numbered(pools: Vec<Vec<String>>) -> Vec<(usize, Vec<String>)> {
    pools.into_iter().enumerate().collect()
}

fn overlap_free(config: &Config) -> bool {
    let ranges: Vec<AddressRange> = config.pools.values().flat_map(|p| p.ranges.clone()).collect();
    ranges.iter().enumerate().all(|(i, a)| ranges[i + 1..].iter().all(|b| !a.overlaps(b)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Over any history of edits.
    #[test]
    fn no_two_pools_ever_overlap(history in prop::collection::vec(prop::collection::vec(addresses(), 0..6), 1..5)) {
        let mut config = Config::default();
        for step in history {
            config = world(&numbered(step)).after(&config).config;
            prop_assert!(overlap_free(&config), "{:#?}", config.pools);
        }
    }

    /// Each object is in force as written, or has a problem; the order of the list is nothing.
    #[test]
    fn every_pool_is_in_force_or_has_a_problem(pools in prop::collection::vec(addresses(), 0..6)) {
        let mut pools = numbered(pools);
        let outcome = world(&pools).parse();
        for (name, _) in &pools {
            let name = format!("p{name}");
            let complained = outcome.problems.iter().any(|p| p.object.name == name);
            prop_assert_ne!(complained, outcome.config.pools.contains_key(&name.as_str().into()));
        }
        pools.reverse();
        prop_assert_eq!(world(&pools).parse(), outcome);
    }

    /// Parsing again with the outcome as previous changes nothing: no flapping.
    #[test]
    fn what_is_in_force_stays_in_force(
        first in prop::collection::vec(addresses(), 0..6),
        second in prop::collection::vec(addresses(), 0..6),
    ) {
        let before = world(&numbered(first)).parse().config;
        let edited = world(&numbered(second));
        let outcome = edited.after(&before);
        prop_assert_eq!(edited.after(&outcome.config).config, outcome.config);
    }

    /// An unreadable object added to the others changes nothing for them.
    #[test]
    fn an_unreadable_object_changes_nothing_for_the_others(
        pools in prop::collection::vec(addresses(), 0..5),
        garbage in "[g-z]{0,12}",
    ) {
        let others = world(&numbered(pools));
        let without = others.parse();
        let with = others.clone()
            .pool("bad", 0, &[&garbage])
            .with("L2Advertisement", "bad", &json!({ "preferredNodeSelectors": [{ "weight": 0, "preference": {} }] }))
            .with("BGPAdvertisement", "bad", &json!({ "communities": [garbage] }))
            .with("BGPPeer", "bad", &json!({ "myASN": 1, "peerASN": 2, "peerAddress": garbage }))
            .with("BFDProfile", "bad", &json!({ "detectMultiplier": 0 }))
            .with("Community", "bad", &json!({ "communities": [{ "name": "x", "value": garbage }] }))
            .parse();
        // But that nobody loses what nobody else's is.
        prop_assert_eq!(with.config.unread.as_ref().map(PoolName::as_str), Some("bad"));
        let in_force = |config: Config| Config { set_aside: Default::default(), unread: None, ..config };
        prop_assert_eq!(in_force(with.config), in_force(without.config));
        prop_assert_eq!(with.problems.len(), without.problems.len() + 6);
    }

    /// Any text anywhere is read or refused, never a panic.
    #[test]
    fn any_text_is_read_or_refused(texts in prop::collection::vec(".{0,20}", 12), numbers in prop::collection::vec(any::<i64>(), 8)) {
        let (t, n) = (&texts, &numbers);
        let selector = json!([{ "matchLabels": { &t[0]: t[1] }, "matchExpressions": [{ "key": t[2], "operator": t[3], "values": [t[4]] }] }]);
        let outcome = World::new()
            .with("IPAddressPool", "x", &json!({ "addresses": [t[0], t[1]], "serviceAllocation": { "priority": n[0], "namespaces": [t[2]], "serviceSelectors": selector } }))
            .with("L2Advertisement", "x", &json!({ "ipAddressPools": [t[5]], "interfaces": [t[6]], "nodeSelectors": selector, "preferredNodeSelectors": [{ "weight": n[1], "preference": {} }] }))
            .with("BGPAdvertisement", "x", &json!({ "aggregationLength": n[2], "aggregationLengthV6": n[3], "localPref": n[4], "communities": [t[7]], "peers": [t[8]] }))
            .with("BGPPeer", "x", &json!({ "myASN": n[5], "peerASN": n[6], "peerAddress": t[9], "interface": t[10], "holdTime": t[11], "keepaliveTime": t[0], "connectTime": t[1], "routerID": t[2], "peerPort": n[7], "vrf": t[3], "password": t[4] }))
            .with("BFDProfile", "x", &json!({ "receiveInterval": n[0], "transmitInterval": n[1], "detectMultiplier": n[2], "minimumTtl": n[3], "echoInterval": n[4] }))
            .with("Community", "x", &json!({ "communities": [{ "name": t[5], "value": t[6] }] }))
            .parse();
        let in_force = outcome.config.pools.len() + outcome.config.l2.len() + outcome.config.bgp.len()
            + outcome.config.peers.len() + outcome.config.bfd.len() + outcome.config.communities.len();
        prop_assert_eq!(in_force + outcome.problems.len(), 6);
    }
}
