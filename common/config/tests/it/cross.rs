//! Rules that need the set, and what stays in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_config::Config;
use serde_json::json;

use crate::support::{World, no_problem, only_problem, pool};

/// Without what is set aside.
fn in_force(config: &Config) -> Config {
    Config { set_aside: BTreeMap::new(), ..config.clone() }
}

fn pools(config: &Config) -> Vec<String> {
    config.pools.values().map(|p| format!("{} {}", p.name, p.ranges[0])).collect()
}

#[test]
fn of_two_pools_that_overlap_the_younger_is_set_aside() {
    for (older, younger) in [("a", "b"), ("b", "a")] {
        let outcome = World::new()
            .pool(younger, 2, &["10.0.0.128-10.0.1.5"])
            .pool(older, 1, &["10.0.0.0/24"])
            .pool("c", 3, &["10.0.1.6/32"])
            .parse();
        assert_eq!(pools(&outcome.config).len(), 2);
        assert!(outcome.config.pools.contains_key(&older.into()));
        let problem = only_problem(&outcome);
        assert!(problem.starts_with(&format!("{younger}: spec.addresses[0]: CIDR ")), "{problem}");
        assert!(problem.contains("overlaps with already defined CIDR \"10.0.0.0/24\" of pool"), "{problem}");
        assert!(!outcome.problems[0].last_good_kept);
    }
}

#[test]
fn of_the_same_age_the_later_name_is_set_aside() {
    let outcome = World::new().pool("b", 1, &["10.0.0.0/24"]).pool("a", 1, &["10.0.0.0/24"]).parse();
    assert!(only_problem(&outcome).starts_with("b: "));
}

#[test]
fn a_pool_that_overlaps_one_that_was_set_aside_is_in_force() {
    let world = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.0.0/16"]);
    let outcome = world.pool("c", 3, &["10.0.5.0/24"]).parse();
    assert_eq!(pools(&outcome.config), ["a 10.0.0.0/24", "c 10.0.5.0/24"]);
}

#[test]
fn a_bad_edit_leaves_the_last_good_version_in_force() {
    let good = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.1.0/24"]);
    let before = good.parse().config;
    for bad in ["10.0.0.0/99", "10.0.0.9-10.0.0.1", "10.0.1.0/25"] {
        let outcome = World::new().pool("a", 1, &[bad]).pool("b", 2, &["10.0.1.0/24"]).after(&before);
        assert_eq!(in_force(&outcome.config), before, "{bad}");
        assert!(only_problem(&outcome).starts_with("a: spec.addresses[0]: "), "{bad}");
        assert!(outcome.problems[0].last_good_kept);
    }
}

#[test]
fn an_older_pool_cannot_be_edited_into_one_that_is_in_use() {
    let before =
        World::new().pool("old", 1, &["10.0.0.0/24"]).pool("young", 2, &["10.0.1.0/24"]).parse().config;
    let outcome =
        World::new().pool("old", 1, &["10.0.0.0/23"]).pool("young", 2, &["10.0.1.0/24"]).after(&before);
    assert_eq!(in_force(&outcome.config), before);
    assert!(only_problem(&outcome).starts_with("old: "));
}

#[test]
fn a_new_pool_cannot_take_what_a_bad_one_still_holds() {
    let before = World::new().pool("a", 1, &["10.0.0.0/24"]).parse().config;
    let outcome = World::new().pool("a", 1, &["nonsense"]).pool("b", 2, &["10.0.0.0/25"]).after(&before);
    assert_eq!(in_force(&outcome.config), before);
    assert_eq!(outcome.problems.len(), 2);
}

#[test]
fn a_range_can_move_from_one_pool_to_another_in_one_step() {
    let before = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.1.0/24"]).parse().config;
    let outcome = World::new().pool("a", 1, &["10.0.1.0/24"]).pool("b", 2, &["10.0.0.0/24"]).after(&before);
    no_problem(&outcome);
    assert_eq!(pools(&outcome.config), ["a 10.0.1.0/24", "b 10.0.0.0/24"]);
}

/// `a` cannot move, so `b` cannot take its place although that alone would have been right.
#[test]
fn a_move_that_fails_takes_back_what_depended_on_it() {
    let before = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.1.0/24"]);
    let before = before.pool("c", 3, &["10.0.2.0/24"]).parse().config;
    let outcome = World::new().pool("a", 2, &["10.0.2.0/24"]).pool("b", 1, &["10.0.0.0/24"]);
    let outcome = outcome.pool("c", 3, &["10.0.2.0/24"]).after(&before);
    assert_eq!(in_force(&outcome.config), before);
    assert_eq!(outcome.problems.len(), 2);
}

#[test]
fn a_deleted_pool_frees_its_addresses() {
    let before = World::new().pool("a", 1, &["10.0.0.0/24"]).parse().config;
    let outcome = World::new().pool("b", 2, &["10.0.0.0/24"]).after(&before);
    no_problem(&outcome);
    assert_eq!(pools(&outcome.config), ["b 10.0.0.0/24"]);
}

#[test]
fn objects_of_other_namespaces_do_not_count() {
    let mut world = World::new().pool("a", 2, &["10.0.0.0/24"]);
    let mut elsewhere = (*pool("a", 1, &["10.0.0.0/24"])).clone();
    elsewhere.metadata.namespace = Some("default".to_owned());
    world.0.pools.push(Arc::new(elsewhere));
    let outcome = world.parse();
    assert_eq!(
        only_problem(&outcome),
        "a: metadata.namespace: resource must be created in metallb-system namespace: create it there"
    );
    assert_eq!(outcome.problems[0].object.to_string(), "IPAddressPool default/a");
    assert_eq!(pools(&outcome.config), ["a 10.0.0.0/24"]);
}

#[test]
fn the_younger_community_that_repeats_an_alias_is_set_aside() {
    let alias = |value: &str| json!({ "communities": [{ "name": "web", "value": value }] });
    let outcome = World::new()
        .with("Community", "a", &alias("1:1"))
        .with("Community", "b", &alias("2:2"))
        .with("BGPAdvertisement", "adv", &json!({ "communities": ["web"] }))
        .parse();
    assert!(
        only_problem(&outcome)
            .contains("duplicate definition of community \"web\": Community \"a\" defines it")
    );
    assert_eq!(outcome.config.bgp["adv"].communities.iter().next().unwrap().to_string(), "1:1");
}

#[test]
fn an_advertisement_keeps_its_communities_when_the_alias_goes() {
    let alias = json!({ "communities": [{ "name": "web", "value": "1:1" }] });
    let spec = json!({ "communities": ["web"] });
    let before =
        World::new().with("Community", "a", &alias).with("BGPAdvertisement", "adv", &spec).parse().config;
    let outcome = World::new().with("BGPAdvertisement", "adv", &spec).after(&before);
    assert_eq!(outcome.config.bgp, before.bgp);
    assert!(outcome.problems[0].last_good_kept);
}

#[test]
fn aggregation_wider_than_a_pool_does_not_apply_to_that_pool() {
    let world = World::new().pool("narrow", 1, &["10.0.0.0/28"]).pool(
        "wide",
        2,
        &["10.1.0.0/16", "10.2.0.0-10.2.3.5"],
    );
    let outcome = world.with("BGPAdvertisement", "adv", &json!({ "aggregationLength": 24 })).parse();
    let problem = only_problem(&outcome);
    assert!(problem.contains("adv: spec.aggregationLength: invalid aggregation length 24: prefix 28 in this pool is more specific"), "{problem}");
    assert!(problem.contains("of pool narrow"), "{problem}");
    let advertisement = &outcome.config.bgp["adv"];
    let applies = |name: &str| advertisement.pools.matches(&outcome.config.pools[&name.into()]);
    assert!(!applies("narrow") && applies("wide"));
    // Nothing changed: the same again, and the same problem.
    let again = World::new().pool("narrow", 1, &["10.0.0.0/28"]).pool(
        "wide",
        2,
        &["10.1.0.0/16", "10.2.0.0-10.2.3.5"],
    );
    let again =
        again.with("BGPAdvertisement", "adv", &json!({ "aggregationLength": 24 })).after(&outcome.config);
    assert_eq!(again.config, outcome.config);
    assert_eq!(only_problem(&again), problem);
}

#[test]
fn an_edit_that_aggregates_too_wide_leaves_the_routes_as_they_are() {
    let world = |length: u8| {
        World::new().pool("p", 1, &["10.0.0.0/28"]).with(
            "BGPAdvertisement",
            "adv",
            &json!({ "aggregationLength": length }),
        )
    };
    let before = world(32).parse();
    no_problem(&before);
    let outcome = world(24).after(&before.config);
    assert_eq!(outcome.config, before.config);
    assert!(only_problem(&outcome).contains("invalid aggregation length 24"));
}

#[test]
fn local_preferences_of_one_route_must_agree() {
    let world = |a: serde_json::Value, b: serde_json::Value| {
        let world = World::new().pool("p", 1, &["10.0.0.0/24"]);
        world.with("BGPAdvertisement", "a", &a).with("BGPAdvertisement", "b", &b).parse()
    };
    let outcome = world(json!({ "localPref": 100 }), json!({ "localPref": 200 }));
    let problem = only_problem(&outcome);
    assert!(
        problem.starts_with(
            "b: spec.localPref: invalid local preference 200: local preference 100 was already set"
        ),
        "{problem}"
    );
    assert!(outcome.config.bgp.contains_key("a") && !outcome.config.bgp.contains_key("b"));
    for (a, b) in [
        (json!({ "localPref": 100 }), json!({ "localPref": 100 })),
        (json!({ "localPref": 100 }), json!({ "localPref": 200, "aggregationLength": 24 })),
        (json!({ "localPref": 100, "peers": ["x"] }), json!({ "localPref": 200, "peers": ["y"] })),
        (json!({ "localPref": 100 }), json!({ "localPref": 200, "ipAddressPools": ["other"] })),
        (json!({ "localPref": 100 }), json!({ "localPref": 200, "serviceSelectors": [{}] })),
        (
            json!({ "localPref": 100 }),
            json!({ "localPref": 200, "aggregationLengthV6": 64, "aggregationLength": 24 }),
        ),
    ] {
        no_problem(&world(a, b));
    }
}

#[test]
fn the_same_session_twice_sets_the_younger_peer_aside() {
    let peer = |extra: serde_json::Value| {
        let mut spec = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" });
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        spec
    };
    let world = |b: serde_json::Value| {
        World::new().with("BGPPeer", "a", &peer(json!({}))).with("BGPPeer", "b", &peer(b)).parse()
    };
    assert!(only_problem(&world(json!({ "holdTime": "9s" }))).contains("b: spec: peer b already exists"));
    for other in [
        json!({ "peerAddress": "192.0.2.2" }),
        json!({ "peerPort": 1179 }),
        json!({ "sourceAddress": "192.0.2.9" }),
        json!({ "vrf": "red" }),
        json!({ "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] }),
    ] {
        no_problem(&world(other));
    }
}

#[test]
fn a_profile_stays_as_long_as_a_peer_depends_on_it() {
    let peer = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "bfdProfile": "fast" });
    let before =
        World::new().with("BFDProfile", "fast", &json!({})).with("BGPPeer", "x", &peer).parse().config;
    let outcome = World::new().with("BGPPeer", "x", &peer).after(&before);
    assert_eq!(outcome.config, before);
    assert!(only_problem(&outcome).contains("referencing non existing bfd profile fast"));
    assert_eq!(World::new().after(&outcome.config).config, Config::default());
}

#[test]
fn what_a_pool_set_aside_would_hold_belongs_to_it() {
    let world = World::new()
        .pool("a", 1, &["10.0.0.0/24"])
        .pool("b", 2, &["10.0.0.128-10.0.1.255"])
        .pool("c", 3, &["nonsense", "10.0.1.0-10.0.2.255"])
        .pool("d", 4, &["10.0.9.9-10.0.9.0"]);
    let outcome = world.parse();
    assert_eq!(pools(&outcome.config), ["a 10.0.0.0/24"]);
    let owner = |config: &Config, address: &str| {
        config.pool_of(address.parse().unwrap()).map(|pool| pool.name.to_string())
    };
    // In force first, then by name; what nobody can read may be anything that is left.
    for (address, expected) in [
        ("10.0.0.200", Some("a")),
        ("10.0.1.1", Some("b")),
        ("10.0.2.1", Some("c")),
        ("10.0.9.5", Some("c")),
        ("10.0.3.1", Some("c")),
    ] {
        assert_eq!(owner(&outcome.config, address).as_deref(), expected, "{address}");
    }
    assert_eq!(outcome.config.set_aside[&"c".into()].labels["name"], "c");
    let readable = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.0.128-10.0.1.255"]);
    assert_eq!(owner(&readable.parse().config, "10.0.3.1"), None, "a pool that is in another's way is read");
    // It knows no history: who starts anew and who has seen it before agree.
    assert_eq!(world.after(&outcome.config).config, outcome.config);
    // The repaired pool leaves nothing behind.
    let mended = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.1.0/24"]);
    assert!(mended.after(&outcome.config).config.set_aside.is_empty());
}

#[test]
fn a_refused_edit_is_set_aside_beside_the_version_in_force() {
    let before = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.1.0/24"]).parse().config;
    let edited = World::new().pool("a", 1, &["10.0.1.0-10.0.2.255"]).pool("b", 2, &["10.0.1.0/24"]);
    let config = edited.after(&before).config;
    for (address, name) in [("10.0.0.1", "a"), ("10.0.1.1", "b"), ("10.0.2.1", "a")] {
        assert_eq!(config.pool_of(address.parse().unwrap()).unwrap().name, name.into(), "{address}");
    }
    assert_eq!(config.pools[&"a".into()], before.pools[&"a".into()]);
}

#[test]
fn aggregates_do_not_reach_beyond_a_pool_set_aside() {
    let world = World::new().pool("a", 1, &["10.0.0.0/24"]).pool("b", 2, &["10.0.0.0/24", "10.0.1.0/28"]);
    let outcome = world.with("BGPAdvertisement", "adv", &json!({ "aggregationLength": 24 })).parse();
    assert!(only_problem(&outcome).starts_with("b: "));
    let applies = |pool: &clarion_config::Pool| outcome.config.bgp["adv"].pools.matches(pool);
    assert!(applies(&outcome.config.pools[&"a".into()]));
    assert!(!applies(&outcome.config.set_aside[&"b".into()]));
}
