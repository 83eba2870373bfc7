//! Whole values: a small cluster in, everything that is desired out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use clarion_config::{
    BgpAdvertisement, Config, L2Advertisement, Peer, PeerAsn, PeerEndpoint, PeerSecret, Pool, PoolSelection,
};
use clarion_core::{AnnounceReason, Asn, Community, LabelSelector, Labels, NodeName, PoolName, ServiceKey};
use ipnet::IpNet;

use super::*;
use crate::view::{EXCLUDE_LABEL, Endpoints, SecretValue};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn selector(key: &str, value: &str) -> LabelSelector {
    LabelSelector::new(labels(&[(key, value)]), vec![])
}

fn me(node: &str) -> Me {
    Me { node: node.into(), ignore_exclude_label: false }
}

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service(addresses: &[&str]) -> Service {
    Service {
        uid: "uid".to_owned(),
        labels: labels(&[("app", "web")]),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        policy: TrafficPolicy::Cluster,
        shared: false,
    }
}

fn serving(nodes: &[&str]) -> Endpoints {
    Endpoints { nodes: nodes.iter().map(|n| NodeName::from(*n)).collect(), elsewhere: false }
}

fn advertisement(name: &str) -> L2Advertisement {
    L2Advertisement { name: name.to_owned(), ..L2Advertisement::default() }
}

fn route_advertisement(name: &str) -> BgpAdvertisement {
    BgpAdvertisement {
        name: name.to_owned(),
        pools: PoolSelection::default(),
        node_selectors: vec![],
        service_selectors: vec![],
        peers: BTreeSet::new(),
        aggregation_v4: 32,
        aggregation_v6: 128,
        local_pref: 0,
        communities: BTreeSet::new(),
    }
}

fn peer(name: &str) -> Peer {
    Peer {
        name: name.to_owned(),
        my_asn: Asn::new(64500).unwrap(),
        peer_asn: PeerAsn::Fixed(Asn::new(64501).unwrap()),
        local_asn: None,
        endpoint: PeerEndpoint::Address(ip("192.0.2.254")),
        port: 179,
        source_address: None,
        hold_time: Duration::from_secs(90),
        keepalive_time: Duration::from_secs(30),
        connect_time: None,
        router_id: None,
        node_selectors: vec![],
        secret: None,
        bfd_profile: None,
        graceful_restart: false,
        multi_hop: false,
        vrf: None,
        dual_stack: true,
    }
}

/// Three nodes, one pool of both families, one Service served on n1.
fn view() -> View {
    let node = |zone: &str, address: &str| Node {
        uid: String::new(),
        labels: labels(&[("zone", zone)]),
        cordoned: false,
        network_unavailable: false,
        addresses: vec![ip(address)],
    };
    let pool = Pool {
        name: PoolName::from("pool"),
        labels: labels(&[("tier", "gold")]),
        ranges: vec!["198.51.100.0/24".parse().unwrap(), "2001:db8:5::/120".parse().unwrap()],
        exclude: vec![],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    };
    View {
        config: Config {
            pools: [(PoolName::from("pool"), pool)].into(),
            l2: [("all".to_owned(), advertisement("all"))].into(),
            ..Config::default()
        },
        services: [(key("web"), service(&["198.51.100.1", "2001:db8:5::1"]))].into(),
        endpoints: [(key("web"), serving(&["n1"]))].into(),
        nodes: [
            ("n1".into(), node("a", "192.0.2.1")),
            ("n2".into(), node("a", "192.0.2.2")),
            ("n3".into(), node("b", "192.0.2.3")),
        ]
        .into(),
        secrets: BTreeMap::new(),
    }
}

/// The nodes that say of themselves that they may own the Service's addresses.
fn candidates(view: &View, ignore_exclude_label: bool) -> BTreeSet<String> {
    let verdict = |node: &NodeName| {
        let me = Me { node: node.clone(), ignore_exclude_label };
        desired(&me, view).services[&key("web")].l2
    };
    let may = view.nodes.keys().filter(|node| verdict(node) == AnnounceReason::NotOwner);
    may.map(ToString::to_string).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn the_whole_value_of_a_plain_service() {
    let desired = desired(&me("n2"), &view());
    let vip =
        Vip { ownable: true, barred: false, interfaces: Interfaces::All, services: [key("web")].into() };
    let expected = Desired {
        node_addresses: vec![ip("192.0.2.2")],
        l2: [(ip("198.51.100.1"), vip.clone()), (ip("2001:db8:5::1"), vip)].into(),
        services: [(
            key("web"),
            Verdict {
                uid: "uid".to_owned(),
                addresses: vec![ip("198.51.100.1"), ip("2001:db8:5::1")],
                l2: AnnounceReason::NotOwner,
                bgp: AnnounceReason::NoMatchingAdvertisement,
                peers: BTreeSet::new(),
            },
        )]
        .into(),
        ..Desired::default()
    };
    assert_eq!(desired, expected);
}

#[test]
fn each_reason_not_to_own() {
    type Edit = fn(&mut View);
    let table: [(&str, Edit, AnnounceReason, &[&str]); 10] = [
        (
            "unavailable",
            |v| v.nodes.get_mut(&"n1".into()).unwrap().network_unavailable = true,
            AnnounceReason::NodeNetworkUnavailable,
            &["n2", "n3"],
        ),
        (
            "label",
            |v| {
                drop(
                    v.nodes.get_mut(&"n1".into()).unwrap().labels.insert(EXCLUDE_LABEL.into(), String::new()),
                );
            },
            AnnounceReason::NodeLabeledExcludeBalancers,
            &["n2", "n3"],
        ),
        (
            "node selector",
            |v| v.config.l2.get_mut("all").unwrap().node_selectors = vec![selector("zone", "b")],
            AnnounceReason::NoMatchingAdvertisement,
            &["n3"],
        ),
        (
            "service selector",
            |v| v.config.l2.get_mut("all").unwrap().service_selectors = vec![selector("app", "db")],
            AnnounceReason::NoMatchingAdvertisement,
            &[],
        ),
        (
            "shared",
            |v| {
                v.services.get_mut(&key("web")).unwrap().shared = true;
                v.config.l2.get_mut("all").unwrap().service_selectors = vec![selector("app", "web")];
            },
            AnnounceReason::SharedIpWithServiceSelector,
            &[],
        ),
        (
            "other pool",
            |v| v.config.l2.get_mut("all").unwrap().pools.names = ["else".into()].into(),
            AnnounceReason::NoMatchingAdvertisement,
            &[],
        ),
        ("no endpoints", |v| v.endpoints.clear(), AnnounceReason::NoEndpoints, &[]),
        (
            "no local endpoints",
            |v| {
                v.services.get_mut(&key("web")).unwrap().policy = TrafficPolicy::Local;
                v.endpoints.insert(key("web"), serving(&["n2"]));
            },
            AnnounceReason::NoLocalEndpoints,
            &["n2"],
        ),
        ("pool gone", |v| v.config.pools.clear(), AnnounceReason::IpNotAllowed, &[]),
        (
            "no address",
            |v| v.services.get_mut(&key("web")).unwrap().addresses.clear(),
            AnnounceReason::NoIpAllocated,
            &[],
        ),
    ];
    for (what, edit, reason, candidates) in table {
        let mut view = view();
        edit(&mut view);
        let desired = desired(&me("n1"), &view);
        assert_eq!(desired.services[&key("web")].l2, reason, "{what}");
        assert_eq!(super::tests::candidates(&view, false), set(candidates), "{what}");
        let vip = desired.l2.get(&ip("198.51.100.1"));
        assert_eq!(vip.is_some_and(|vip| vip.ownable), !candidates.is_empty(), "{what}");
        assert_eq!(vip.is_some_and(|vip| !vip.barred), candidates.contains(&"n1"), "{what}");
    }
}

#[test]
fn the_exclude_label_can_be_ignored() {
    let mut view = view();
    view.nodes.get_mut(&"n1".into()).unwrap().labels.insert(EXCLUDE_LABEL.into(), "true".into());
    assert_eq!(candidates(&view, false), set(&["n2", "n3"]));
    assert_eq!(candidates(&view, true), set(&["n1", "n2", "n3"]));
}

#[test]
fn interfaces_are_the_union_of_the_advertisements_that_cover_the_node() {
    let mut view = view();
    view.config.l2.get_mut("all").unwrap().interfaces = set(&["eth1"]);
    let mut more = advertisement("more");
    more.interfaces = set(&["eth2"]);
    more.node_selectors = vec![selector("zone", "a")];
    view.config.l2.insert("more".into(), more.clone());
    let interfaces =
        |view: &View, node: &str| desired(&me(node), view).l2[&ip("198.51.100.1")].interfaces.clone();
    assert_eq!(interfaces(&view, "n1"), Interfaces::Named(set(&["eth1", "eth2"])));
    assert_eq!(interfaces(&view, "n3"), Interfaces::Named(set(&["eth1"])));
    view.config.l2.get_mut("more").unwrap().interfaces.clear();
    assert_eq!(interfaces(&view, "n1"), Interfaces::All);
}

#[test]
fn services_that_share_an_address_are_one_in_layer_2() {
    let mut view = view();
    view.services.insert(key("other"), service(&["2001:db8:5::1"]));
    view.endpoints.insert(key("other"), serving(&["n2"]));
    let desired = desired(&me("n1"), &view);
    assert_eq!(desired.l2.len(), 2);
    assert_eq!(desired.l2[&ip("2001:db8:5::1")].services, [key("other"), key("web")].into());
}

fn bgp_view() -> View {
    let mut view = view();
    view.config.bgp.insert("all".into(), route_advertisement("all"));
    view.config.peers.insert("r1".into(), peer("r1"));
    view.config.peers.insert("r2".into(), peer("r2"));
    view
}

fn routes(desired: &Desired, peer: &str) -> Vec<String> {
    desired.peers[peer].routes.keys().map(ToString::to_string).collect()
}

#[test]
fn routes_go_to_every_peer_of_the_node() {
    let mut view = bgp_view();
    view.config.peers.get_mut("r2").unwrap().node_selectors = vec![selector("zone", "b")];
    let desired = desired(&me("n1"), &view);
    assert_eq!(routes(&desired, "r1"), ["198.51.100.1/32", "2001:db8:5::1/128"]);
    assert_eq!(desired.peers.len(), 1);
    assert_eq!(desired.peers["r1"].config.router_id.to_string(), "192.0.2.1");
    let verdict = &desired.services[&key("web")];
    assert_eq!((verdict.bgp, &verdict.peers), (AnnounceReason::Announced, &set(&["r1"])));
}

#[test]
fn aggregates_unite_communities_and_the_peers_filter_is_kept() {
    let mut view = bgp_view();
    let community = |text: &str| text.parse::<Community>().unwrap();
    let mut narrow = route_advertisement("b-aggregate");
    narrow.aggregation_v4 = 24;
    narrow.aggregation_v6 = 120;
    narrow.communities = [community("64500:1")].into();
    narrow.local_pref = 200;
    let mut more = narrow.clone();
    more.name = "c-more".into();
    more.communities = [community("large:1:2:3")].into();
    more.peers = set(&["r2"]);
    view.config.bgp.insert("b-aggregate".into(), narrow);
    view.config.bgp.insert("c-more".into(), more);
    view.services.insert(key("second"), service(&["198.51.100.2"]));
    view.endpoints.insert(key("second"), serving(&["n2"]));
    let desired = desired(&me("n1"), &view);
    let aggregate: IpNet = "198.51.100.0/24".parse().unwrap();
    let attributes = |peer: &str| desired.peers[peer].routes[&aggregate].clone();
    assert_eq!(attributes("r1").communities, [community("64500:1")].into());
    assert_eq!(attributes("r2").communities, [community("64500:1"), community("large:1:2:3")].into());
    assert_eq!(attributes("r1").local_pref, Some(200));
    assert_eq!(
        routes(&desired, "r1"),
        ["198.51.100.0/24", "198.51.100.1/32", "198.51.100.2/32", "2001:db8:5::/120", "2001:db8:5::1/128"]
    );
    let host: IpNet = "198.51.100.1/32".parse().unwrap();
    assert_eq!(desired.peers["r1"].routes[&host].local_pref, None, "0 means: not said");
}

#[test]
fn each_reason_not_to_announce_a_route() {
    type Edit = fn(&mut View);
    let table: [(&str, Edit, AnnounceReason); 7] = [
        (
            "unavailable",
            |v| v.nodes.get_mut(&"n1".into()).unwrap().network_unavailable = true,
            AnnounceReason::NodeNetworkUnavailable,
        ),
        (
            "label",
            |v| {
                drop(
                    v.nodes.get_mut(&"n1".into()).unwrap().labels.insert(EXCLUDE_LABEL.into(), String::new()),
                );
            },
            AnnounceReason::NodeLabeledExcludeBalancers,
        ),
        (
            "node selector",
            |v| v.config.bgp.get_mut("all").unwrap().node_selectors = vec![selector("zone", "b")],
            AnnounceReason::NoMatchingAdvertisement,
        ),
        (
            "service selector",
            |v| v.config.bgp.get_mut("all").unwrap().service_selectors = vec![selector("app", "db")],
            AnnounceReason::NoMatchingAdvertisement,
        ),
        ("no endpoints", |v| v.endpoints.clear(), AnnounceReason::NoEndpoints),
        (
            "no local endpoints",
            |v| {
                v.services.get_mut(&key("web")).unwrap().policy = TrafficPolicy::Local;
                v.endpoints.insert(key("web"), serving(&["n2"]));
            },
            AnnounceReason::NoLocalEndpoints,
        ),
        (
            "conflict",
            |v| {
                let mut other = route_advertisement("other");
                other.local_pref = 50;
                other.service_selectors = vec![selector("app", "web")];
                v.config.bgp.insert("other".into(), other);
            },
            AnnounceReason::ConflictingAdvertisements,
        ),
    ];
    for (what, edit, reason) in table {
        let mut view = bgp_view();
        edit(&mut view);
        let desired = desired(&me("n1"), &view);
        assert_eq!(desired.services[&key("web")].bgp, reason, "{what}");
        assert!(desired.peers["r1"].routes.is_empty(), "{what}: the session stays, without routes");
    }
}

#[test]
fn a_peer_without_its_password_gets_no_session() {
    let mut view = bgp_view();
    view.config.peers.get_mut("r1").unwrap().secret = Some(PeerSecret::Secret("key".into()));
    let all = desired(&me("n1"), &view);
    assert!(all.peer_problems["r1"].contains("Secret \"key\" does not exist"), "{:?}", all.peer_problems);
    assert_eq!(all.peers.keys().collect::<Vec<_>>(), ["r2"]);
    view.secrets.insert("key".into(), SecretValue::Password("s3cret".into()));
    let all = desired(&me("n1"), &view);
    assert!(all.peers["r1"].config.password.is_some() && all.peer_problems.is_empty());
    assert!(!format!("{all:?} {view:?}").contains("s3cret"), "a password must never be printed");
}

#[test]
fn an_address_of_a_pool_set_aside_is_announced_by_its_name_and_labels() {
    let mut view = bgp_view();
    view.config.set_aside = std::mem::take(&mut view.config.pools);
    let all = desired(&me("n1"), &view);
    assert_eq!(candidates(&view, false), set(&["n1", "n2", "n3"]));
    assert_eq!(routes(&all, "r1"), ["198.51.100.1/32", "2001:db8:5::1/128"]);
    let verdict = |view: &View| {
        let verdict = desired(&me("n1"), view).services.remove(&key("web")).unwrap();
        (verdict.l2, verdict.bgp)
    };
    let by_label =
        |tier: &str| PoolSelection { selectors: vec![selector("tier", tier)], ..PoolSelection::default() };
    for (tier, expected) in [
        ("gold", (AnnounceReason::NotOwner, AnnounceReason::Announced)),
        ("tin", (AnnounceReason::NoMatchingAdvertisement, AnnounceReason::NoMatchingAdvertisement)),
    ] {
        view.config.l2.get_mut("all").unwrap().pools = by_label(tier);
        view.config.bgp.get_mut("all").unwrap().pools = by_label(tier);
        assert_eq!(verdict(&view), expected, "{tier}");
    }
    view.config.set_aside.clear();
    assert_eq!(verdict(&view), (AnnounceReason::IpNotAllowed, AnnounceReason::IpNotAllowed));
}
