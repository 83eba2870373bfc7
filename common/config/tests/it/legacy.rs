//! The ConfigMap of the first releases: what each key means, and what stays in force.

use std::sync::Arc;

use clarion_config::legacy::{Legacy, Source};
use clarion_config::{Config, Objects, Outcome, PeerAsn, PeerEndpoint, PeerSecret, parse};
use clarion_core::{Asn, Community};
use serde_json::json;

use crate::support::{NAMESPACE, World, no_problem, pool};

fn source(text: &str) -> Source {
    Source { namespace: NAMESPACE.to_owned(), uid: "u".to_owned(), text: Some(text.to_owned()) }
}

fn objects(legacy: Legacy) -> Objects {
    Objects { legacy: Some(Arc::new(legacy)), ..World::new().0 }
}

pub(crate) fn read(text: &str) -> Outcome {
    parse(&objects(Legacy::read(&source(text), None)), &Config::default())
}

/// The problems, without what all begin with.
pub(crate) fn said(outcome: &Outcome) -> Vec<String> {
    let all = outcome.problems.iter().map(ToString::to_string);
    all.map(|text| text.replacen("ConfigMap metallb-system/config: config: ", "", 1)).collect()
}

/// Pools with their ranges, and what announces each.
fn pools(config: &Config) -> Vec<String> {
    let words = |pool: &clarion_config::Pool| {
        let mut ranges: Vec<_> = pool.ranges.iter().map(ToString::to_string).collect();
        if !pool.exclude.is_empty() {
            ranges.push("without".to_owned());
            ranges.extend(pool.exclude.iter().map(ToString::to_string));
        }
        let l2 = config.l2.values().filter(|a| a.pools.matches(pool)).count();
        let bgp = config.bgp.values().filter(|a| a.pools.matches(pool)).count();
        let flags = [(!pool.auto_assign, " manual"), (pool.avoid_buggy_ips, " careful")];
        let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
        format!("{}: {} l2={l2} bgp={bgp}{flags}", pool.name, ranges.join(" "))
    };
    config.pools.values().map(words).collect()
}

/// A ConfigMap and edits of it, one after the other.
struct Live {
    legacy: Option<Legacy>,
    config: Config,
    objects: Objects,
}

impl Live {
    fn new(text: &str) -> Self {
        let mut live = Self { legacy: None, config: Config::default(), objects: World::new().0 };
        no_problem(&live.edit(text));
        live
    }

    fn edit(&mut self, text: &str) -> Outcome {
        let legacy = Legacy::read(&source(text), self.legacy.as_ref());
        self.legacy = Some(legacy.clone());
        self.objects.legacy = Some(Arc::new(legacy));
        self.parse()
    }

    fn parse(&mut self) -> Outcome {
        let outcome = parse(&self.objects, &self.config);
        self.config = outcome.config.clone();
        outcome
    }
}

/// The three of the page *Usage* of those releases, the parts put together that it leaves out.
#[test]
fn the_configurations_of_the_first_documentation_work_as_written() {
    let router = "peers: [{peer-address: 10.0.0.1, peer-asn: 100, my-asn: 42}]\n";
    let basic = read(&format!(
        "{router}address-pools:\n- name: default\n  protocol: bgp\n  cidr:\n  - 192.168.10.0/24\n"
    ));
    no_problem(&basic);
    assert_eq!(pools(&basic.config), ["default: 192.168.10.0/24 l2=0 bgp=1"]);
    let peer = &basic.config.peers["peer-10-0-0-1"];
    assert_eq!((peer.my_asn.get(), peer.peer_asn), (42, PeerAsn::Fixed(Asn::new(100).unwrap())));
    assert_eq!(peer.endpoint, PeerEndpoint::Address("10.0.0.1".parse().unwrap()));
    assert_eq!((peer.port, peer.hold_time.as_secs(), peer.keepalive_time.as_secs()), (179, 90, 30));

    let expensive = read(&format!(
        "{router}\
address-pools:
- name: cheap
  protocol: bgp
  cidr:
  - 192.168.144.0/20
- name: expensive
  protocol: bgp
  cidr:
  - 42.176.25.64/30
  auto-assign: false
"
    ));
    no_problem(&expensive);
    assert_eq!(
        pools(&expensive.config),
        ["cheap: 192.168.144.0/20 l2=0 bgp=1", "expensive: 42.176.25.64/30 l2=0 bgp=1 manual"]
    );

    let sandbox = read(&format!(
        "{router}\
communities:
  # Only inside the company.
  vpn-only: 1234:1
address-pools:
- # Four public addresses.
  name: production
  protocol: bgp
  cidr:
  - 42.176.25.64/30

- # As many as anybody wants.
  name: sandbox
  protocol: bgp
  cidr:
  - 192.168.144.0/20
  bgp-advertisements:
  - communities:
    - vpn-only
"
    ));
    no_problem(&sandbox);
    assert_eq!(sandbox.config.bgp["sandbox-1"].communities, [Community::Standard(1234, 1)].into());
    assert!(sandbox.config.bgp["production-1"].communities.is_empty());
}

#[test]
fn every_key_of_the_last_release_has_its_meaning() {
    let outcome = read(
        "\
peers:
- peer-address: 10.0.0.1
  peer-asn: 64512
  my-asn: 64512
  peer-port: 1179
  source-address: 10.0.0.2
  hold-time: 120s
  keepalive-time: 30s
  router-id: 1.2.3.4
  password: 'a: #b'
  bfd-profile: fast
  ebgp-multihop: no
  node-selectors:
  - match-labels: {kubernetes.io/hostname: prod-01, rack: 12}
    match-expressions:
    - key: beta.kubernetes.io/arch
      operator: In
      values: [amd64, arm]
address-pools:
- name: my-ip-space
  protocol: bgp
  addresses: [198.51.100.0/24, 192.168.0.150-192.168.0.200, '2001:db8::/64']
  avoid-buggy-ips: yes
  auto-assign: off
  bgp-advertisements:
  - aggregation-length: 32
    aggregation-length-v6: 64
    localpref: 100
    communities: [64512:1, no-export]
- {name: near, protocol: layer2, addresses: [10.1.0.0/30]}
bgp-communities:
  no-export: 65535:65281
bfd-profiles:
- name: fast
  receive-interval: 280
  transmit-interval: 270
  echo-interval: 62
  echo-mode: false
  passive-mode: true
  minimum-ttl: 250
  detect-multiplier: 200
",
    );
    no_problem(&outcome);
    let config = &outcome.config;
    assert_eq!(
        pools(config),
        [
            "my-ip-space: 198.51.100.0/24 192.168.0.150-192.168.0.200 2001:db8::/64 l2=0 bgp=1 manual careful",
            "near: 10.1.0.0/30 l2=1 bgp=0"
        ]
    );
    let advertisement = &config.bgp["my-ip-space-1"];
    assert_eq!((advertisement.aggregation_v4, advertisement.aggregation_v6), (32, 64));
    assert_eq!(advertisement.local_pref, 100);
    let communities = [Community::Standard(64512, 1), Community::Standard(65535, 65281)];
    assert_eq!(advertisement.communities, communities.into());
    let peer = &config.peers["peer-10-0-0-1"];
    assert_eq!((peer.port, peer.hold_time.as_secs(), peer.keepalive_time.as_secs()), (1179, 120, 30));
    assert_eq!(peer.source_address, Some("10.0.0.2".parse().unwrap()));
    assert_eq!(peer.router_id.unwrap().to_string(), "1.2.3.4");
    assert_eq!(peer.secret, Some(PeerSecret::Inline("a: #b".to_owned())));
    assert_eq!((peer.bfd_profile.as_deref(), peer.multi_hop), (Some("fast"), false));
    let labels = |rack: &str, arch: &str| {
        let pairs =
            [("kubernetes.io/hostname", "prod-01"), ("rack", rack), ("beta.kubernetes.io/arch", arch)];
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    assert!(peer.node_selectors[0].matches(&labels("12", "arm")));
    assert!(!peer.node_selectors[0].matches(&labels("12", "riscv64")));
    assert!(!peer.node_selectors[0].matches(&labels("13", "arm")));
    let bfd = &config.bfd["fast"];
    assert_eq!((bfd.receive_interval_ms, bfd.transmit_interval_ms, bfd.echo_interval_ms), (280, 270, 62));
    assert_eq!((bfd.detect_multiplier, bfd.minimum_ttl), (200, 250));
    assert_eq!((bfd.echo_mode, bfd.passive_mode), (false, true));
}

#[test]
fn keys_of_all_releases_are_read() {
    let peer = "peers: [{peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2}]\n";
    // (release, text, pools)
    let table = [
        (
            "0.1: no protocol, cidr, advertisements",
            "address-pools: [{name: a, cidr: [10.1.0.0/24], advertisements: [{aggregation-length: 24}, {}]}]",
            vec!["a: 10.1.0.0/24 l2=0 bgp=2"],
        ),
        (
            "0.3: arp, without first and last address of its network",
            "address-pools: [{name: a, protocol: arp, cidr: [192.168.1.0/25, 192.168.1.128/25], arp-network: 192.168.1.0/24}]",
            vec!["a: 192.168.1.0/25 192.168.1.128/25 without 192.168.1.0/32 192.168.1.255/32 l2=1 bgp=0"],
        ),
        (
            "0.4: ndp",
            "address-pools: [{name: a, protocol: ndp, cidr: ['2001:db8::/120']}]",
            vec!["a: 2001:db8::/120 l2=1 bgp=0"],
        ),
        (
            "0.5: both lists, ranges",
            "address-pools: [{name: a, protocol: layer2, addresses: [10.1.0.1 - 10.1.0.5], cidr: [10.2.0.0/24]}]",
            vec!["a: 10.1.0.1-10.1.0.5 10.2.0.0/24 l2=1 bgp=0"],
        ),
        (
            "a name that no object could have",
            "address-pools: [{name: My_Pool, protocol: layer2, addresses: [10.1.0.0/24]}]",
            vec!["My_Pool: 10.1.0.0/24 l2=1 bgp=0"],
        ),
        ("nothing at all", "", vec![]),
        ("keys without values", "address-pools:\nbgp-communities:\nbfd-profiles: ~", vec![]),
        (
            "an alias and a merge",
            "address-pools:\n- &p {name: a, protocol: layer2, addresses: [10.1.0.0/24]}\n- {<<: *p, name: b, addresses: [10.2.0.0/24]}",
            vec!["a: 10.1.0.0/24 l2=1 bgp=0", "b: 10.2.0.0/24 l2=1 bgp=0"],
        ),
    ];
    for (release, text, expected) in table {
        let outcome = read(&format!("{peer}{text}"));
        assert_eq!(said(&outcome), Vec::<String>::new(), "{release}");
        assert_eq!(pools(&outcome.config), expected, "{release}");
    }
}

#[test]
fn peers_are_what_the_first_speaker_made_of_them() {
    let peer = |keys: &str| {
        let text = format!(
            "peers: [{{peer-address: '2001:db8::1', peer-asn: 1, my-asn: 2{keys}}}]\nbfd-profiles: [{{name: fast}}]"
        );
        let outcome = read(&text);
        assert_eq!(said(&outcome), Vec::<String>::new(), "{keys}");
        outcome.config.peers["peer-2001-db8--1"].clone()
    };
    // Over any number of hops, unless it says otherwise or speaks BFD.
    assert!(peer("").multi_hop);
    assert!(!peer(", ebgp-multihop: false").multi_hop);
    assert!(!peer(", bfd-profile: fast").multi_hop);
    // Times are cut to whole seconds; the example of 0.2 has a bare number.
    assert_eq!(peer(", hold-time: 10.9s").hold_time.as_millis(), 10_000);
    assert_eq!(peer(", hold-time: 120").hold_time.as_secs(), 120);
    assert_eq!(peer(", hold-time: 0").hold_time.as_secs(), 0);
    // A password stays as it is written, whatever it looks like.
    for text in ["0123", "1e3", "0x10", "true", "'null'", "1_0", "+1"] {
        let secret = Some(PeerSecret::Inline(text.trim_matches('\'').to_owned()));
        assert_eq!(peer(&format!(", password: {text}")).secret, secret, "{text}");
    }
    assert_eq!(peer(", password: ''").secret, None);
}

#[test]
fn peers_of_one_address_are_told_apart() {
    let outcome = read(
        "\
peers:
- {peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2, node-selectors: [{match-labels: {rack: a}}]}
- {peer-address: 10.0.0.1, peer-asn: 1, my-asn: 3, node-selectors: [{match-labels: {rack: b}}]}
",
    );
    no_problem(&outcome);
    let asns: Vec<_> = outcome.config.peers.iter().map(|(n, p)| format!("{n} {}", p.my_asn.get())).collect();
    assert_eq!(asns, ["peer-10-0-0-1 2", "peer-10-0-0-1-2 3"]);
}

const TWO: &str = "\
peers:
- {peer-address: 10.0.0.1, peer-asn: 1, my-asn: 2}
address-pools:
- {name: a, protocol: layer2, addresses: [10.1.0.0/24]}
- {name: b, protocol: bgp, addresses: [10.2.0.0/24]}
";

/// Whatever is broken in one entry, what is in force stays and the other entries count.
#[test]
fn an_error_sets_its_entry_aside_alone_and_the_last_good_version_stays() {
    // (what is edited, into what, the beginning of what is said)
    let table = [
        ("10.1.0.0/24", "10.1.0.0/99", "address-pools[0].addresses[0]: invalid CIDR"),
        ("10.1.0.0/24", "[10.1.0.0/24]", "address-pools[0].addresses[0]: a list stands here"),
        ("layer2", "layer7", "address-pools[0].protocol: unknown protocol \"layer7\""),
        ("name: a, ", "", "address-pools[0].name: missing pool name"),
        ("name: a, ", "name: b, ", "address-pools[1].name: duplicate definition of pool \"b\""),
        ("addresses: [10.1", "adresses: [10.1", "address-pools[0]: unknown key \"adresses\""),
        ("name: a, ", "name: a, name: a, ", "address-pools[0].name: key is given twice"),
        ("10.1.0.0/24", "10.2.0.0/25", "address-pools[0].addresses[0]: CIDR \"10.2.0.0/25\" in pool \"a\""),
        (
            "{name: a, protocol: layer2, addresses: [10.1.0.0/24]}",
            "a",
            "address-pools[0]: a value stands here",
        ),
        ("10.0.0.1", "10.0.0.300", "peers[0].peer-address: invalid peer IP \"10.0.0.300\""),
        ("my-asn: 2", "my-asn: x", "peers[0].my-asn: invalid number \"x\""),
        ("my-asn: 2", "my-asn: 0", "peers[0].my-asn: missing local ASN"),
        ("peers:\n-", "peers:", "peers: keys and values stands here"),
        ("address-pools:", "address-pool:", "unknown key \"address-pool\": did you mean address-pools?"),
        ("address-pools:", "address-pools: x\nbgp-communities:", ""),
        ("address-pools:", "\taddress-pools:", "could not parse config: line 3"),
    ];
    for (what, into, expected) in table {
        let mut live = Live::new(TWO);
        let before = live.config.clone();
        assert!(TWO.contains(what), "{what}");
        let outcome = live.edit(&TWO.replacen(what, into, 1));
        let said = said(&outcome);
        assert!(said.iter().any(|text| text.starts_with(expected)), "{into}: {said:#?}");
        let in_force = Config { set_aside: before.set_aside.clone(), ..outcome.config };
        assert_eq!(in_force.pools, before.pools, "{into}");
        assert!(before.l2.iter().all(|(name, was)| in_force.l2.get(name) == Some(was)), "{into}");
        assert!(before.bgp.iter().all(|(name, was)| in_force.bgp.get(name) == Some(was)), "{into}");
        assert_eq!(in_force.peers, before.peers, "{into}");
        no_problem(&live.edit(TWO));
    }
}

#[test]
fn an_edit_counts_at_once() {
    let mut live = Live::new(TWO);
    let edited =
        TWO.replacen("10.1.0.0/24", "10.1.0.0/25", 1).replacen("protocol: bgp", "protocol: layer2", 1);
    no_problem(&live.edit(&edited));
    assert_eq!(pools(&live.config), ["a: 10.1.0.0/25 l2=1 bgp=0", "b: 10.2.0.0/24 l2=1 bgp=0"]);
    no_problem(&live.edit(""));
    assert_eq!(live.config, Config::default());
}

/// A new process knows no last good version: Services keep what they have all the same.
#[test]
fn after_a_restart_a_bad_entry_still_holds_what_it_gave_out() {
    for (what, into) in [("layer2", "layer7"), ("name: a", "nam: a"), ("[10.1.0.0/24]", "[10.1.0.0/24, x]")] {
        let outcome = read(&TWO.replacen(what, into, 1));
        assert_eq!(outcome.problems.len(), 1, "{into}: {:#?}", outcome.problems);
        assert!(outcome.config.pool_of("10.1.0.7".parse().unwrap()).is_some(), "{into}");
        assert_eq!(outcome.config.pools.len(), 1, "{into}");
    }
}

#[test]
fn a_text_that_never_could_be_read_is_an_unknown_configuration() {
    let broken = objects(Legacy::read(&source("address-pools: ["), None));
    let problem = broken.unknown().unwrap();
    assert!(
        problem.to_string().starts_with("ConfigMap metallb-system/config: config: could not parse config: ")
    );
    let without = objects(Legacy::read(&Source { text: None, ..source("") }, None));
    assert!(without.unknown().unwrap().message.contains("has no key \"config\""));
    // With a good version before, or with pools that are objects, it is known.
    let mut live = Live::new(TWO);
    live.edit("address-pools: [");
    assert!(live.objects.unknown().is_none());
    let mut with_objects = broken.clone();
    with_objects.pools.push(pool("x", 1, &["10.9.0.0/24"]));
    assert!(with_objects.unknown().is_none());
    assert!(World::new().0.unknown().is_none());
}

#[test]
fn objects_win_and_nobody_loses_what_the_configmap_gave() {
    let mut live = Live::new(TWO);
    assert!(live.objects.configmap_notice().is_none());
    // Converted objects arrive one after the other, pools last: nothing changes.
    let peer = json!({"myASN": 2, "peerASN": 1, "peerAddress": "10.0.0.1", "ebgpMultiHop": true});
    let before = live.config.clone();
    let mut world = World(live.objects.clone()).with("BGPPeer", "peer-10-0-0-1", &peer);
    for (kind, name, pool) in [("L2Advertisement", "a", "a"), ("BGPAdvertisement", "b-1", "b")] {
        let spec = json!({"ipAddressPools": [pool], "aggregationLength": 32, "aggregationLengthV6": 128});
        world = world.with(kind, name, &spec);
    }
    live.objects = world.0;
    no_problem(&live.parse());
    assert_eq!(live.config, before);
    live.objects.pools.push(pool("a", 1, &["10.1.0.0/24"]));
    let outcome = live.parse();
    no_problem(&outcome);
    assert!(live.objects.configmap_notice().unwrap().contains("objects win"));
    assert_eq!(outcome.config.pools.len(), 1);
    // The other pool gives nothing out, and its addresses stay.
    assert_eq!(outcome.config.pool_of("10.2.0.9".parse().unwrap()).unwrap().name.to_string(), "b");
    assert_eq!((&outcome.config.bgp, &outcome.config.peers), (&before.bgp, &before.peers));
    live.objects.pools.push(pool("b", 2, &["10.2.0.0/24"]));
    let outcome = live.parse();
    no_problem(&outcome);
    assert!(outcome.config.set_aside.is_empty());
    live.objects.legacy = None;
    let after = live.parse().config;
    assert_eq!((after.pools.len(), after.bgp, after.peers), (2, before.bgp, before.peers));
}

#[test]
fn the_errors_of_a_configmap_that_does_not_count_are_nobodys_business() {
    let mut live = Live::new(TWO);
    live.objects.pools.push(pool("x", 1, &["10.9.0.0/24"]));
    no_problem(&live.edit("address-pools: ["));
    no_problem(&live.edit("nonsense: 1"));
}
