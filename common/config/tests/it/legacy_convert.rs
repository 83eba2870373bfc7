//! Converting says the same in objects.

use std::sync::Arc;

use clarion_config::legacy::{Converted, convert};
use clarion_config::{Config, Objects, parse};
use proptest::prelude::*;

use crate::legacy::{read, said};
use crate::support::{NAMESPACE, World};

/// What the API server hands out once the objects were applied.
fn applied(converted: &Converted) -> Objects {
    fn all<K: serde::Serialize + serde::de::DeserializeOwned>(objects: &[K]) -> Vec<Arc<K>> {
        let applied = |object: &K| serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap();
        objects.iter().map(|object| Arc::new(applied(object))).collect()
    }
    Objects {
        pools: all(&converted.pools),
        l2: all(&converted.l2),
        bgp: all(&converted.bgp),
        peers: all(&converted.peers),
        bfd: all(&converted.bfd),
        communities: all(&converted.communities),
        ..World::new().0
    }
}

#[test]
fn what_is_wrong_is_left_out_and_said() {
    let text = "\
address-pools:
- {name: a, protocol: layer2, addresses: [10.1.0.0/24]}
- {name: b, protocol: layer2, addresses: [10.1.0.128/25]}
- {name: c, protocol: nonsense, addresses: [10.3.0.0/24]}
";
    let converted = convert(NAMESPACE, text).unwrap();
    assert_eq!(converted.pools.iter().map(|p| p.metadata.name.clone().unwrap()).collect::<Vec<_>>(), ["a"]);
    assert_eq!((converted.l2.len(), converted.problems.len()), (1, 2), "nothing announces what is left out");
    assert!(convert(NAMESPACE, "a: [").unwrap_err().message.starts_with("could not parse config: line 1"));
}

#[test]
fn names_become_names_of_objects_and_stay_apart() {
    let text = "\
address-pools:
- {name: My_Pool, protocol: layer2, addresses: [10.1.0.0/24]}
- {name: my-pool, protocol: bgp, addresses: [10.2.0.0/24]}
- {name: 'Übung', protocol: layer2, addresses: [10.3.0.0/24]}
- {name: 'a.b', protocol: layer2, addresses: [10.4.0.0/24]}
- {name: '!!!', protocol: layer2, addresses: [10.5.0.0/24]}
peers: [{peer-address: 'fd00::1', peer-asn: 1, my-asn: 2, bfd-profile: Fast_One}]
bfd-profiles: [{name: Fast_One}]
bgp-communities: {No_Export: 65535:65281}
";
    let converted = convert(NAMESPACE, text).unwrap();
    assert!(converted.problems.is_empty(), "{:#?}", converted.problems);
    let names: Vec<_> = converted.pools.iter().map(|p| p.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["my-pool", "my-pool-2", "bung", "a.b", "unnamed"]);
    assert_eq!(converted.renamed.len(), 4);
    assert_eq!(converted.peers[0].spec.bfd_profile.as_deref(), Some("fast-one"));
    assert_eq!(converted.communities[0].metadata.name.as_deref(), Some("no-export"));
    assert_eq!(converted.communities[0].spec.communities[0].name.as_deref(), Some("No_Export"));
    // The same text, the same names.
    assert_eq!(convert(NAMESPACE, text).unwrap().pools, converted.pools);
    let config = parse(&applied(&converted), &Config::default()).config;
    assert_eq!((config.pools.len(), config.l2.len(), config.bgp.len(), config.peers.len()), (5, 4, 1, 1));
}

/// BGP, autoAssign, avoidBuggyIPs, how addresses are written, and advertisements: length,
/// preference, whether with communities.
type PoolCase = (bool, bool, bool, u8, Vec<(u8, u32, bool)>);

/// An entry of each list as text; what its number says makes it differ from the others.
fn entry_of_pools() -> impl Strategy<Value = Vec<PoolCase>> {
    let advertisement = (24_u8..=32, 0_u32..3, any::<bool>());
    let advertisements = proptest::collection::vec(advertisement, 0..3);
    proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0_u8..4, advertisements), 0..6)
}

fn text(pools: &[PoolCase], peers: &[(u8, u16, bool, bool)]) -> String {
    let mut text = String::from(
        "bgp-communities:\n  vpn: 1234:1\n  x.y: large:1:2:3\nbfd-profiles:\n- name: fast\n  detect-multiplier: 7\npeers:\n",
    );
    for (i, (asn, port, multihop, bfd)) in peers.iter().enumerate() {
        text += &format!(
            "- peer-address: 10.9.{}.1\n  my-asn: 64512\n  peer-asn: {}\n  peer-port: {port}\n",
            i / 2,
            64512 + u32::from(*asn)
        );
        text += &format!(
            "  hold-time: {}s\n  node-selectors: [{{match-labels: {{n: x{i}}}}}]\n  password: p{i}\n",
            9 + i
        );
        if *multihop && *asn > 0 {
            text += "  ebgp-multihop: true\n";
        }
        if *bfd {
            text += "  bfd-profile: fast\n";
        }
    }
    text += "address-pools:\n";
    for (i, (bgp, auto, buggy, kind, advertisements)) in pools.iter().enumerate() {
        let addresses = match kind {
            0 => format!("addresses: [10.{i}.0.0/24]"),
            1 => format!("cidr: [10.{i}.0.0/24]"),
            2 => format!("addresses: [10.{i}.0.0-10.{i}.0.255, '2001:db8:{i}::/64']"),
            _ => format!("addresses: [10.{i}.1.0/24]\n  cidr: [10.{i}.0.0/24]"),
        };
        text +=
            &format!("- name: pool-{i}\n  {addresses}\n  auto-assign: {auto}\n  avoid-buggy-ips: {buggy}\n");
        text += if *bgp { "  protocol: bgp\n" } else { "  protocol: layer2\n" };
        if *bgp && !advertisements.is_empty() {
            text += "  bgp-advertisements:\n";
            for (length, preference, community) in advertisements {
                text += &format!("  - aggregation-length: {length}\n    localpref: {preference}\n");
                text += if *community { "    communities: [vpn, '5:6']\n" } else { "" };
            }
        }
    }
    text
}

proptest! {
    #[test]
    fn converted_objects_mean_what_the_configmap_means(
        pools in entry_of_pools(),
        peers in proptest::collection::vec((0_u8..2, 1_u16..16_384, any::<bool>(), any::<bool>()), 0..5),
    ) {
        let text = text(&pools, &peers);
        let live = read(&text);
        // Of what the set refuses the youngest goes, and age is not converted.
        prop_assume!(live.problems.is_empty());
        let converted = convert(NAMESPACE, &text).unwrap();
        prop_assert!(converted.problems.is_empty() && converted.renamed.is_empty());
        let outcome = parse(&applied(&converted), &Config::default());
        prop_assert_eq!(&outcome.problems, &vec![]);
        prop_assert_eq!(outcome.config, live.config);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([a-z:{}&*#\\[\\]\"'|>%@! \t-]|\n|address-pools:|name: |- ){0,60}") {
        let _ = said(&read(&text));
        let _ = convert(NAMESPACE, &text);
    }
}
