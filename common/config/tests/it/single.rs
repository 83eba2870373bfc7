//! What one object alone shows to be wrong: one row a rule.

use std::collections::BTreeSet;
use std::time::Duration;

use clarion_config::{PeerAsn, PeerEndpoint, PeerSecret};
use clarion_core::Asn;
use serde_json::{Value, json};

use crate::support::{World, no_problem, only_problem};

/// Each spec is set aside with this field and these words.
#[track_caller]
fn refused(kind: &str, table: &[(Value, &str, &str)]) {
    for (spec, field, words) in table {
        let problem = only_problem(&World::new().with(kind, "x", spec).parse());
        assert!(problem.starts_with(&format!("x: {field}: ")), "{spec}\n{problem}\nwanted {field}");
        assert!(problem.contains(words), "{spec}\n{problem}\nwanted {words}");
    }
}

#[test]
fn pools_are_refused_with_field_and_remedy() {
    let addresses = |list: &[&str]| json!({ "addresses": list });
    let exclude = |list: &[&str]| json!({ "addresses": ["192.0.2.0/24"], "excludeAddresses": list });
    let allocation = |a: Value| json!({ "addresses": ["192.0.2.0/24"], "serviceAllocation": a });
    let overlap = "overlaps with already defined CIDR";
    refused(
        "IPAddressPool",
        &[
            (addresses(&[]), "spec.addresses", "pool has no prefixes defined"),
            (addresses(&["192.168.1.0/99"]), "spec.addresses[0]", "invalid CIDR \"192.168.1.0/99\""),
            (addresses(&["10.0.0.0/8", "hello"]), "spec.addresses[1]", "write a prefix"),
            (addresses(&["10.0.0.1"]), "spec.addresses[0]", "one address as 192.0.2.1/32"),
            (addresses(&["10.0.0.9-10.0.0.1"]), "spec.addresses[0]", "start is after end"),
            (addresses(&["2001:db8:1::-2001:db8::1"]), "spec.addresses[0]", "start is after end"),
            (addresses(&["10.0.0.9-2001:db8::1"]), "spec.addresses[0]", "different families"),
            (addresses(&["::ffff:10.0.0.0/120"]), "spec.addresses[0]", "write IPv4 addresses as such"),
            (addresses(&["10.0.0.0/8", "10.1.0.0-10.1.0.9"]), "spec.addresses[1]", overlap),
            (addresses(&["10.0.0.5-10.0.0.9", "10.0.0.1-10.0.0.5"]), "spec.addresses[1]", overlap),
            (addresses(&["10.0.0.5/32", "10.0.0.0/24"]), "spec.addresses[1]", "of the same pool"),
            (exclude(&["hello"]), "spec.excludeAddresses[0]", "write an address (192.0.2.1), a prefix"),
            (exclude(&["192.0.2.1", ""]), "spec.excludeAddresses[1]", "invalid address \"\""),
            (exclude(&["192.0.2.9-192.0.2.1"]), "spec.excludeAddresses[0]", "start is after end"),
            (exclude(&["192.0.2.9-2001:db8::1"]), "spec.excludeAddresses[0]", "different families"),
            (exclude(&["::ffff:192.0.2.1"]), "spec.excludeAddresses[0]", "write IPv4 addresses as such"),
            (exclude(&["192.0.2.1%eth0"]), "spec.excludeAddresses[0]", "invalid address"),
            (allocation(json!({ "priority": -1 })), "spec.serviceAllocation.priority", "must be in 0-"),
            (
                allocation(json!({ "namespaces": ["a", "a"] })),
                "spec.serviceAllocation.namespaces[1]",
                "duplicate definition in namespaces field",
            ),
            (
                allocation(json!({ "serviceSelectors": [{}, {}] })),
                "spec.serviceAllocation.serviceSelectors[1]",
                "duplicate definition of serviceSelectors",
            ),
            (
                allocation(
                    json!({ "namespaceSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "Near" }] }] }),
                ),
                "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0]",
                "none of In, NotIn, Exists, DoesNotExist",
            ),
        ],
    );
}

#[test]
fn excluded_addresses_are_nobodys() {
    let spec = json!({
        "addresses": ["192.0.2.0/24", "2001:db8::/120"],
        "excludeAddresses": ["192.0.2.1", "192.0.2.64/26", " 192.0.2.10 - 192.0.2.12", "2001:db8::a", "10.0.0.0/8", "192.0.2.64/27"],
    });
    let outcome = World::new().with("IPAddressPool", "p", &spec).parse();
    no_problem(&outcome);
    let pool = &outcome.config.pools[&"p".into()];
    for (address, given) in [
        ("192.0.2.0", true),
        ("192.0.2.1", false),
        ("192.0.2.9", true),
        ("192.0.2.12", false),
        ("192.0.2.13", true),
        ("192.0.2.127", false),
        ("192.0.2.128", true),
        ("2001:db8::9", true),
        ("2001:db8::a", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(pool.contains(address.parse().unwrap()), given, "{address}");
    }
    // They are the pool's all the same: no other pool can have them.
    let other = World::new().with("IPAddressPool", "p", &spec).with(
        "IPAddressPool",
        "q",
        &json!({ "addresses": ["192.0.2.64/26"] }),
    );
    assert!(only_problem(&other.parse()).starts_with("q: spec.addresses[0]: "));
}

#[test]
fn what_no_host_can_have_is_never_given_and_what_is_unwise_is_said() {
    let remarks = |addresses: &[&str], exclude: &[&str]| {
        let spec = json!({ "addresses": addresses, "excludeAddresses": exclude });
        let outcome = World::new().with("IPAddressPool", "p", &spec).parse();
        no_problem(&outcome);
        let pool = outcome.config.pools[&"p".into()].clone();
        let node: std::net::IpAddr = "10.0.0.7".parse().unwrap();
        (clarion_config::remarks(&pool, [("n1", node)]), pool)
    };
    let none: [&str; 0] = [];
    assert_eq!(remarks(&["10.0.1.0/24", "2001:db9::/64"], &[]).0, none);
    for (entry, words) in [
        ("127.0.0.1/32", "no host can have the addresses of 127.0.0.0/8 (loopback)"),
        ("223.255.255.255-224.0.0.1", "224.0.0.0/4 (multicast)"),
        ("fe80::1/128", "fe80::/10 (link-local)"),
        ("192.0.2.0/25", "the addresses of 192.0.2.0/24 are reserved for documentation"),
        ("250.0.0.0/32", "reserved for future use"),
        ("10.0.0.0/24", "10.0.0.7 is the address of node n1"),
    ] {
        let (said, _) = remarks(&[entry], &[]);
        assert!(said.len() == 1 && said[0].contains(words), "{entry}: {said:?}");
    }
    assert_eq!(remarks(&["10.0.0.0/24"], &["10.0.0.7"]).0, none);
    assert_eq!(remarks(&["192.0.0.0/16"], &["192.0.2.0/24"]).0, none);
    let (said, everything) = remarks(&["0.0.0.0/0", "::/0"], &[]);
    assert!(said.len() > 10, "{said:?}");
    for (address, given) in
        [("0.0.0.1", false), ("1.0.0.1", true), ("127.0.0.1", false), ("255.255.255.255", false)]
    {
        assert_eq!(everything.contains(address.parse().unwrap()), given, "{address}");
    }
    for (address, given) in
        [("::", false), ("::1", false), ("::2", true), ("::ffff:1.2.3.4", false), ("fe80::1", false)]
    {
        assert_eq!(everything.contains(address.parse().unwrap()), given, "{address}");
    }
}

#[test]
fn advertisements_are_refused_with_field_and_remedy() {
    refused(
        "L2Advertisement",
        &[
            (
                json!({ "ipAddressPools": ["a", "a"] }),
                "spec.ipAddressPools[1]",
                "duplicate definition of ipAddressPools",
            ),
            (
                json!({ "nodeSelectors": [{}, {}] }),
                "spec.nodeSelectors[1]",
                "duplicate definition of nodeSelectors",
            ),
            (
                json!({ "preferredNodeSelectors": [{ "weight": 101, "preference": {} }] }),
                "spec.preferredNodeSelectors[0].weight",
                "must be in 1-100 range",
            ),
        ],
    );
    let exclusive = "serviceSelectors and aggregationLength are mutually exclusive";
    refused(
        "BGPAdvertisement",
        &[
            (json!({ "aggregationLength": 0 }), "spec.aggregationLength", "must be in 1-32 range"),
            (json!({ "aggregationLengthV6": 129 }), "spec.aggregationLengthV6", "must be in 1-128 range"),
            (
                json!({ "aggregationLength": 24, "serviceSelectors": [{}] }),
                "spec.aggregationLength",
                exclusive,
            ),
            (
                json!({ "aggregationLengthV6": 64, "serviceSelectors": [{}] }),
                "spec.aggregationLengthV6",
                exclusive,
            ),
            (json!({ "localPref": 4_294_967_296_i64 }), "spec.localPref", "must be in 0-4294967295 range"),
            (
                json!({ "communities": ["1:1", "1:1"] }),
                "spec.communities[1]",
                "duplicate definition of community",
            ),
            (json!({ "communities": ["65536:1"] }), "spec.communities[0]", "write N:N"),
            (json!({ "communities": ["web"] }), "spec.communities[0]", "no Community object defines \"web\""),
            (json!({ "peers": ["a", "a"] }), "spec.peers[1]", "duplicate definition of peers"),
        ],
    );
}

#[test]
fn communities_and_profiles_are_refused_with_field_and_remedy() {
    let aliases = |a: Value| json!({ "communities": a });
    refused(
        "Community",
        &[
            (aliases(json!([{ "value": "1:1" }])), "spec.communities[0].name", "set name"),
            (aliases(json!([{ "name": "a" }])), "spec.communities[0].value", "write N:N"),
            (
                aliases(json!([{ "name": "a", "value": "b" }])),
                "spec.communities[0].value",
                "parsing community \"a\"",
            ),
            (
                aliases(json!([{ "name": "a", "value": "1:1" }, { "name": "a", "value": "1:2" }])),
                "spec.communities[1].name",
                "duplicate definition of community \"a\"",
            ),
        ],
    );
    refused(
        "BFDProfile",
        &[
            (json!({ "receiveInterval": 9 }), "spec.receiveInterval", "must be in 10-60000 range"),
            (json!({ "transmitInterval": 60_001 }), "spec.transmitInterval", "must be in 10-60000 range"),
            (json!({ "echoInterval": -1 }), "spec.echoInterval", "must be in 10-60000 range"),
            (json!({ "detectMultiplier": 1 }), "spec.detectMultiplier", "must be in 2-255 range"),
            (json!({ "minimumTtl": 255 }), "spec.minimumTtl", "must be in 1-254 range"),
        ],
    );
}

/// A valid peer with some fields replaced, or removed by null.
fn peer(changes: &Value) -> Value {
    let mut spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1" });
    for (field, value) in changes.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(field);
        } else {
            spec[field] = value.clone();
        }
    }
    spec
}

#[test]
fn peers_are_refused_with_field_and_remedy() {
    let table = [
        (json!({ "myASN": 0 }), "spec.myASN", "missing local ASN"),
        (json!({ "myASN": -1 }), "spec.myASN", "must be in 0-4294967295 range"),
        (json!({ "peerASN": null }), "spec.peerASN", "missing peer ASN and dynamicASN"),
        (json!({ "dynamicASN": "internal" }), "spec.dynamicASN", "both peer ASN and dynamicASN specified"),
        (json!({ "peerASN": null, "dynamicASN": "any" }), "spec.dynamicASN", "invalid dynamicASN \"any\""),
        (json!({ "peerAddress": null }), "spec.peerAddress", "peer has no Address or Interface specified"),
        (json!({ "interface": "eth0" }), "spec.interface", "peer has both Address and Interface specified"),
        (json!({ "peerAddress": "router" }), "spec.peerAddress", "invalid BGPPeer address \"router\""),
        (json!({ "peerAddress": "", "interface": "a\nb" }), "spec.interface", "contains invalid characters"),
        (json!({ "sourceAddress": "eth0" }), "spec.sourceAddress", "invalid source IP \"eth0\""),
        (json!({ "routerID": "::1" }), "spec.routerID", "invalid router ID \"::1\""),
        (json!({ "routerID": "0.0.0.0" }), "spec.routerID", "invalid router ID"),
        (json!({ "peerPort": 16_385 }), "spec.peerPort", "must be in 1-16384 range"),
        (json!({ "holdTime": "2s" }), "spec.holdTime", "must be 0 or >=3s"),
        (json!({ "holdTime": "65536s" }), "spec.holdTime", "at most 65535s"),
        (json!({ "keepaliveTime": "500ms" }), "spec.holdTime", "must be 0 or >=3s"),
        (json!({ "holdTime": "soon" }), "spec.holdTime", "invalid duration \"soon\""),
        (
            json!({ "holdTime": "9s", "keepaliveTime": "10s" }),
            "spec.keepaliveTime",
            "must be lower than holdTime",
        ),
        (
            json!({ "connectTime": "0" }),
            "spec.connectTime",
            "connect time should be between 1 seconds to 65535",
        ),
        (
            json!({ "connectTime": "1500ms" }),
            "spec.connectTime",
            "connect time should contain a whole number of seconds",
        ),
        (
            json!({ "password": "a", "passwordSecret": { "name": "b" } }),
            "spec.password",
            "can not have both password and secret ref set",
        ),
        (json!({ "password": "a\nb" }), "spec.password", "password contains invalid characters"),
        (json!({ "vrf": "red/blue" }), "spec.vrf", "contains invalid characters"),
        (
            json!({ "peerASN": 64500, "ebgpMultiHop": true }),
            "spec.ebgpMultiHop",
            "invalid ebgp-multihop parameter set for an ibgp peer",
        ),
        (json!({ "bfdProfile": "fast" }), "spec.bfdProfile", "referencing non existing bfd profile fast"),
        (
            json!({ "nodeSelectors": [{}, {}] }),
            "spec.nodeSelectors[1]",
            "duplicate definition of nodeSelectors",
        ),
    ];
    let table: Vec<_> =
        table.into_iter().map(|(changes, field, words)| (peer(&changes), field, words)).collect();
    refused("BGPPeer", &table);
}

#[test]
fn a_peer_gets_the_defaults_of_the_contract() {
    let outcome = World::new().with("BGPPeer", "x", &peer(&json!({ "peerPort": 0 }))).parse();
    no_problem(&outcome);
    let peer = &outcome.config.peers["x"];
    assert_eq!(peer.port, 179);
    assert_eq!((peer.hold_time, peer.keepalive_time), (Duration::from_secs(90), Duration::from_secs(30)));
    assert_eq!(peer.peer_asn, PeerAsn::Fixed(Asn::new(64501).unwrap()));
    assert_eq!(peer.endpoint, PeerEndpoint::Address("192.0.2.1".parse().unwrap()));
    assert_eq!(
        (peer.secret.clone(), peer.local_asn, peer.router_id, peer.connect_time),
        (None, None, None, None)
    );
}

#[test]
fn timers_follow_from_each_other() {
    let seconds = Duration::from_secs;
    let table = [
        (json!({ "holdTime": "30s" }), seconds(30), seconds(10)),
        (json!({ "keepaliveTime": "20s" }), seconds(60), seconds(20)),
        (json!({ "holdTime": "0" }), seconds(0), seconds(0)),
        (json!({ "holdTime": "3s", "keepaliveTime": "3s" }), seconds(3), seconds(3)),
        (json!({ "holdTime": "1m30s", "keepaliveTime": "0s" }), seconds(90), seconds(0)),
    ];
    for (changes, hold, keepalive) in table {
        let outcome = World::new().with("BGPPeer", "x", &peer(&changes)).parse();
        no_problem(&outcome);
        let peer = &outcome.config.peers["x"];
        assert_eq!((peer.hold_time, peer.keepalive_time), (hold, keepalive), "{changes}");
    }
}

#[test]
fn every_field_of_a_peer_arrives() {
    let spec = peer(&json!({
        "peerASN": null, "dynamicASN": "external", "localASN": 7, "peerAddress": null, "interface": "eth0",
        "sourceAddress": "192.0.2.9", "peerPort": 1179, "connectTime": "5s", "routerID": "10.0.0.1",
        "passwordSecret": { "name": "key" }, "bfdProfile": "fast", "enableGracefulRestart": true,
        "ebgpMultiHop": true, "vrf": "red", "dualStackAddressFamily": true,
    }));
    let outcome = World::new().with("BFDProfile", "fast", &json!({})).with("BGPPeer", "x", &spec).parse();
    no_problem(&outcome);
    let peer = &outcome.config.peers["x"];
    assert_eq!((peer.peer_asn, peer.local_asn), (PeerAsn::External, Asn::new(7)));
    assert_eq!(peer.endpoint, PeerEndpoint::Interface("eth0".to_owned()));
    assert_eq!((peer.port, peer.source_address), (1179, Some("192.0.2.9".parse().unwrap())));
    assert_eq!(peer.connect_time, Some(Duration::from_secs(5)));
    assert_eq!(peer.router_id.unwrap().to_string(), "10.0.0.1");
    assert_eq!(peer.secret, Some(PeerSecret::Secret("key".to_owned())));
    assert_eq!((peer.bfd_profile.as_deref(), peer.vrf.as_deref()), (Some("fast"), Some("red")));
    assert!(peer.graceful_restart && peer.multi_hop && peer.dual_stack);
    let bfd = &outcome.config.bfd["fast"];
    assert_eq!((bfd.receive_interval_ms, bfd.transmit_interval_ms, bfd.echo_interval_ms), (300, 300, 50));
    assert_eq!((bfd.detect_multiplier, bfd.minimum_ttl), (3, 254));
}

#[test]
fn a_pool_and_its_advertisements_arrive() {
    let outcome = World::new()
        .with(
            "IPAddressPool",
            "p",
            &json!({
                "addresses": ["192.0.2.0/28", "2001:db8::/120"], "autoAssign": false, "avoidBuggyIPs": true,
                "serviceAllocation": { "priority": 3, "namespaces": ["shop"] },
            }),
        )
        .with("Community", "c", &json!({ "communities": [{ "name": "web", "value": "large:1:2:3" }] }))
        .with("L2Advertisement", "l", &json!({ "ipAddressPools": ["p"], "interfaces": ["eth0", "eth0"] }))
        .with(
            "BGPAdvertisement",
            "b",
            &json!({ "communities": ["web", "1:2"], "aggregationLength": 28, "localPref": 7 }),
        )
        .parse();
    no_problem(&outcome);
    let pool = &outcome.config.pools[&"p".into()];
    assert!(!pool.auto_assign && pool.avoid_buggy_ips);
    assert_eq!(pool.allocation.as_ref().unwrap().priority, 3);
    assert_eq!(outcome.config.l2["l"].interfaces, BTreeSet::from(["eth0".to_owned()]));
    let advertisement = &outcome.config.bgp["b"];
    assert_eq!(
        (advertisement.aggregation_v4, advertisement.aggregation_v6, advertisement.local_pref),
        (28, 128, 7)
    );
    let communities: Vec<_> = advertisement.communities.iter().map(ToString::to_string).collect();
    assert_eq!(communities, ["1:2", "large:1:2:3"]);
    assert!(advertisement.pools.matches(pool));
}
