//! The BGP driver against the routers that people run: FRR, BIRD and GoBGP, in
//! network namespaces, judged by the routers' own view.
//!
//! Needs root and the Debian packages frr, bird2, gobgpd and iproute2.

#![expect(clippy::unwrap_used, reason = "literals that parse, in tests")]

mod bfd;
mod lab;
mod routers;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_agent::bgp::{DesiredPeer, DesiredPeers, Password, PeerConfig};
use clarion_bgp::RouteAttributes;
use clarion_bgp::session::{Cause, PeerAsn, Timers};
use clarion_core::{Asn, Family, RouterId};
use ipnet::IpNet;
use lab::{Driver, Lab, NODE_V4, NODE_V6, ROUTER_V4, ROUTER_V6};
use nix::sys::signal::Signal;
use routers::{Frr, bird, birdc, gobgp, neighbor};

/// For everything that takes a router some moments.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const V4: &str = "198.51.100.7/32";
const V6: &str = "2001:db8:7::7/128";

fn peer(router: &str) -> DesiredPeer {
    let address: IpAddr = router.parse().unwrap();
    DesiredPeer {
        config: PeerConfig {
            name: "tor".to_owned(),
            address: SocketAddr::new(address, 179),
            source: None,
            device: None,
            local_asn: Asn::new(64513).unwrap(),
            peer_asn: PeerAsn::Fixed(Asn::new(64512).unwrap()),
            router_id: RouterId::new([10, 99, 0, 1].into()).unwrap(),
            hold_time: Duration::from_secs(9),
            timers: Timers { keepalive: None, connect_retry: Some(Duration::from_secs(1)) },
            password: None,
            multi_hop: false,
            graceful_restart: false,
            families: BTreeSet::from([Family::V4, Family::V6]),
            bfd: None,
        },
        routes: Arc::default(),
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn decorated() -> RouteAttributes {
    RouteAttributes {
        local_pref: Some(217),
        communities: ["64513:77".parse().unwrap(), "large:64513:1:2".parse().unwrap()].into(),
        med: Some(33),
        prepend: 1,
        ..RouteAttributes::default()
    }
}

fn with_routes(mut peer: DesiredPeer) -> DesiredPeer {
    peer.routes = Arc::new([(net(V4), decorated()), (net(V6), decorated())].into());
    peer
}

fn one(peer: DesiredPeer) -> DesiredPeers {
    DesiredPeers::from([("tor".to_owned(), peer)])
}

fn wait_up(lab: &Lab, driver: &Driver) {
    lab.wait("Established", SOON, &|| driver.state(), &|| driver.up("tor"));
}

/// Waits until the text that `view` gives holds all of `parts`.
fn wait_text(lab: &Lab, driver: &Driver, what: &str, view: &dyn Fn() -> String, parts: &[&str]) {
    let state = || format!("{}\n{}", view(), driver.state());
    lab.wait(what, SOON, &state, &|| {
        let text = view();
        parts.iter().all(|part| text.contains(part))
    });
}

fn wait_gone(lab: &Lab, driver: &Driver, what: &str, view: &dyn Fn() -> String, part: &str) {
    let state = || format!("{}\n{}", view(), driver.state());
    lab.wait(what, SOON, &state, &|| !view().contains(part));
}

fn kernel(lab: &Lab, family: &str) -> String {
    lab.ask("ip", &[family, "route"])
}

#[test]
fn frr_takes_both_families_over_ipv4_with_every_attribute_and_forgets_withdrawn_ones() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let driver = Driver::start(&lab, one(with_routes(peer(ROUTER_V4))));
    wait_up(&lab, &driver);
    let v4 = || Frr::show(&lab, &format!("show bgp ipv4 unicast {V4}"));
    let v6 = || Frr::show(&lab, &format!("show bgp ipv6 unicast {V6}"));
    let attributes = ["64513 64513", "metric 33", "Community: 64513:77", "Large Community: 64513:1:2", "IGP"];
    wait_text(&lab, &driver, "the IPv4 route in bgpd", &v4, &attributes);
    wait_text(&lab, &driver, "its next hop", &v4, &[NODE_V4]);
    wait_text(&lab, &driver, "the IPv6 route in bgpd", &v6, &attributes);
    wait_text(&lab, &driver, "its next hop", &v6, &[NODE_V6]);
    wait_text(&lab, &driver, "the kernel's IPv4 route", &|| kernel(&lab, "-4"), &["198.51.100.7", NODE_V4]);
    wait_text(&lab, &driver, "the kernel's IPv6 route", &|| kernel(&lab, "-6"), &["2001:db8:7::7", NODE_V6]);
    driver.change(|all| all.get_mut("tor").unwrap().routes = Arc::default());
    wait_gone(&lab, &driver, "IPv4 withdrawn", &|| kernel(&lab, "-4"), "198.51.100.7");
    wait_gone(&lab, &driver, "IPv6 withdrawn", &|| kernel(&lab, "-6"), "2001:db8:7::7");
    let status = driver.sessions.borrow()["tor"].clone();
    assert_eq!((status.established, status.announced), (1, 0), "{status:#?}");
}

#[test]
fn frr_takes_both_families_over_ipv6() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V6, 64513, ""));
    let driver = Driver::start(&lab, one(with_routes(peer(ROUTER_V6))));
    wait_up(&lab, &driver);
    wait_text(&lab, &driver, "the IPv4 route", &|| kernel(&lab, "-4"), &["198.51.100.7", NODE_V4]);
    wait_text(&lab, &driver, "the IPv6 route", &|| kernel(&lab, "-6"), &["2001:db8:7::7", NODE_V6]);
}

#[test]
fn frr_inside_our_own_as_sees_local_preference_and_an_empty_path() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64512, ""));
    let mut internal = with_routes(peer(ROUTER_V4));
    internal.config.local_asn = Asn::new(64512).unwrap();
    internal.config.peer_asn = PeerAsn::Internal;
    let driver = Driver::start(&lab, one(internal));
    wait_up(&lab, &driver);
    let v4 = || Frr::show(&lab, &format!("show bgp ipv4 unicast {V4}"));
    wait_text(&lab, &driver, "the route", &v4, &["localpref 217", "Local", "internal", NODE_V4]);
}

#[test]
fn four_octet_as_numbers_reach_frr() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 4_200_000_001, ""));
    let mut big = with_routes(peer(ROUTER_V4));
    big.config.local_asn = Asn::new(4_200_000_001).unwrap();
    let driver = Driver::start(&lab, one(big));
    wait_up(&lab, &driver);
    let v4 = || Frr::show(&lab, &format!("show bgp ipv4 unicast {V4}"));
    wait_text(&lab, &driver, "the route", &v4, &["4200000001 4200000001"]);
}

#[test]
fn the_password_must_be_the_same_on_both_sides() {
    let lab = Lab::new();
    let secret = format!(" neighbor {NODE_V4} password opensesame\n");
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, &secret));
    let mut wrong = with_routes(peer(ROUTER_V4));
    wrong.config.password = Some(Password::new("sesame"));
    let driver = Driver::start(&lab, one(wrong));
    let timed_out = || {
        let sessions = driver.sessions.borrow();
        sessions.get("tor").is_some_and(|s| matches!(s.last_failure, Some(Cause::ConnectTimeout(_))))
    };
    lab.wait("silence as the cause", SOON, &|| driver.state(), &timed_out);
    driver.change(|all| all.get_mut("tor").unwrap().config.password = Some(Password::new("opensesame")));
    wait_up(&lab, &driver);
    wait_text(&lab, &driver, "the route", &|| kernel(&lab, "-4"), &["198.51.100.7"]);
}

#[test]
fn a_wrong_as_is_refused_in_words() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let mut wrong = peer(ROUTER_V4);
    wrong.config.peer_asn = PeerAsn::Fixed(Asn::new(64999).unwrap());
    let driver = Driver::start(&lab, one(wrong));
    let refused = || {
        let sessions = driver.sessions.borrow();
        let failure = sessions.get("tor").and_then(|s| s.last_failure.clone());
        failure.is_some_and(|cause| {
            cause.to_string().contains("the peer is in AS 64512, spec.peerASN says 64999")
        })
    };
    lab.wait("the reason", SOON, &|| driver.state(), &refused);
}

#[test]
fn a_frozen_router_is_noticed_by_the_hold_timer_and_found_again() {
    let lab = Lab::new();
    let frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let driver = Driver::start(&lab, one(with_routes(peer(ROUTER_V4))));
    wait_up(&lab, &driver);
    frr.bgpd.signal(Signal::SIGSTOP);
    let expired = || {
        let sessions = driver.sessions.borrow();
        matches!(sessions["tor"].last_failure, Some(Cause::HoldTimerExpired(_)))
    };
    // FRR proposes three seconds, and the smaller hold time counts.
    let after = lab.wait("the hold timer", Duration::from_secs(5), &|| driver.state(), &expired);
    println!("router frozen -> session down: {after:?} (hold time 3 s)");
    assert!(after > Duration::from_millis(1800), "{after:?}: FRR's last KEEPALIVE is at most a second old");
    frr.bgpd.signal(Signal::SIGCONT);
    wait_up(&lab, &driver);
    wait_text(&lab, &driver, "the route again", &|| kernel(&lab, "-4"), &["198.51.100.7"]);
}

#[test]
fn a_restarted_router_gets_all_routes_again() {
    let lab = Lab::new();
    let mut frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let driver = Driver::start(&lab, one(with_routes(peer(ROUTER_V4))));
    wait_up(&lab, &driver);
    frr.bgpd.signal(Signal::SIGKILL);
    lab.wait("the session's end", SOON, &|| driver.state(), &|| !driver.up("tor"));
    wait_gone(&lab, &driver, "zebra's clean-up", &|| kernel(&lab, "-4"), "198.51.100.7");
    frr.bgpd = Frr::bgpd(&lab);
    wait_up(&lab, &driver);
    wait_text(&lab, &driver, "the route again", &|| kernel(&lab, "-4"), &["198.51.100.7"]);
    wait_text(&lab, &driver, "the IPv6 route again", &|| kernel(&lab, "-6"), &["2001:db8:7::7"]);
}

#[test]
fn a_change_of_one_session_leaves_the_other_alone_and_routes_restart_none() {
    let lab = Lab::new();
    let neighbors = neighbor(NODE_V4, 64513, "") + &neighbor(NODE_V6, 64513, "");
    let _frr = Frr::start(&lab, &neighbors);
    let mut six = peer(ROUTER_V6);
    six.config.name = "six".to_owned();
    let desired = DesiredPeers::from([("tor".to_owned(), peer(ROUTER_V4)), ("six".to_owned(), six)]);
    let driver = Driver::start(&lab, desired);
    wait_up(&lab, &driver);
    lab.wait("Established over IPv6", SOON, &|| driver.state(), &|| driver.up("six"));
    let since = |name: &str| driver.sessions.borrow().get(name).map(|s| s.since);
    let (tor, six) = (since("tor"), since("six"));
    driver.change(|all| all.get_mut("tor").unwrap().config.hold_time = Duration::from_secs(30));
    lab.wait("a new session", SOON, &|| driver.state(), &|| driver.up("tor") && since("tor") != tor);
    let tor = since("tor");
    driver.change(|all| {
        for peer in all.values_mut() {
            Arc::make_mut(&mut peer.routes).insert(net(V4), decorated());
            peer.config.timers.connect_retry = Some(Duration::from_secs(2));
        }
    });
    wait_text(&lab, &driver, "the route", &|| kernel(&lab, "-4"), &["198.51.100.7"]);
    assert_eq!((since("tor"), since("six")), (tor, six), "neither session may have restarted");
}

#[test]
fn with_graceful_restart_frr_keeps_routes_over_a_restart_and_forgets_those_that_went_meanwhile() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let mut graceful = with_routes(peer(ROUTER_V4));
    graceful.config.graceful_restart = true;
    let driver = Driver::start(&lab, one(graceful.clone()));
    wait_up(&lab, &driver);
    wait_text(&lab, &driver, "the route", &|| kernel(&lab, "-4"), &["198.51.100.7"]);
    wait_text(&lab, &driver, "the IPv6 route", &|| kernel(&lab, "-6"), &["2001:db8:7::7"]);
    let (_monitor, changes) = lab.watch_route("198.51.100.7");
    drop(driver);
    let stale = || Frr::show(&lab, &format!("show bgp ipv4 unicast {V4}"));
    lab.wait("stale routes", SOON, &stale, &|| stale().contains("stale"));
    Arc::make_mut(&mut graceful.routes).remove(&net(V6));
    let driver = Driver::start(&lab, one(graceful));
    wait_up(&lab, &driver);
    wait_gone(&lab, &driver, "the IPv6 route's end", &|| kernel(&lab, "-6"), "2001:db8:7::7");
    wait_gone(&lab, &driver, "no stale route", &stale, "stale");
    assert!(kernel(&lab, "-4").contains("198.51.100.7"));
    let deleted: Vec<_> = changes.try_iter().filter(|(_, line)| line.starts_with("Deleted")).collect();
    assert!(deleted.is_empty(), "the route was away: {deleted:?}");
}

#[test]
fn without_graceful_restart_frr_is_told_of_the_shutdown() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let driver = Driver::start(&lab, one(with_routes(peer(ROUTER_V4))));
    wait_up(&lab, &driver);
    wait_text(&lab, &driver, "the route", &|| kernel(&lab, "-4"), &["198.51.100.7"]);
    drop(driver);
    let neighbor = || Frr::show(&lab, &format!("show bgp neighbors {NODE_V4}"));
    lab.wait("the reason in FRR", SOON, &neighbor, &|| neighbor().contains("Administrative Shutdown"));
    let gone = || !kernel(&lab, "-4").contains("198.51.100.7");
    lab.wait("the route's end", SOON, &neighbor, &gone);
}

#[test]
fn a_change_reaches_frr_s_kernel_table_quickly() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let driver = Driver::start(&lab, one(peer(ROUTER_V4)));
    wait_up(&lab, &driver);
    let (_monitor, changes) = lab.watch_route("198.51.100.");
    let mut times = Vec::new();
    for i in 1..=20_u8 {
        let prefix = net(&format!("198.51.100.{i}/32"));
        let begin = Instant::now();
        driver.change(|all| {
            Arc::make_mut(&mut all.get_mut("tor").unwrap().routes).insert(prefix, RouteAttributes::default());
        });
        let (seen, _) = changes.recv_timeout(SOON).unwrap_or_else(|_| panic!("{prefix}: {}", driver.state()));
        times.push(seen - begin);
    }
    times.sort();
    println!("desired change -> route in FRR's kernel table: median {:?}, max {:?}", times[10], times[19]);
    assert!(times[10] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn bird_takes_both_families_over_both() {
    let lab = Lab::new();
    let _bird = bird(&lab);
    for router in [ROUTER_V4, ROUTER_V6] {
        let driver = Driver::start(&lab, one(with_routes(peer(router))));
        wait_up(&lab, &driver);
        let v4 = || birdc(&lab, &format!("show route for {V4} all"));
        let v6 = || birdc(&lab, &format!("show route for {V6} all"));
        let attributes = [
            "as_path: 64513 64513",
            "med: 33",
            "community: (64513,77)",
            "large_community: (64513, 1, 2)",
            "origin: IGP",
        ];
        wait_text(&lab, &driver, "the IPv4 route", &v4, &attributes);
        wait_text(&lab, &driver, "its next hop", &v4, &[&format!("next_hop: {NODE_V4}")]);
        wait_text(&lab, &driver, "the IPv6 route", &v6, &attributes);
        wait_text(&lab, &driver, "its next hop", &v6, &[&format!("next_hop: {NODE_V6}")]);
        wait_text(&lab, &driver, "the kernel's route", &|| kernel(&lab, "-6"), &["2001:db8:7::7"]);
        driver.change(|all| all.get_mut("tor").unwrap().routes = Arc::default());
        wait_gone(&lab, &driver, "IPv4 withdrawn", &v4, "64513");
        wait_gone(&lab, &driver, "IPv6 withdrawn", &v6, "64513");
    }
}

#[test]
fn gobgp_takes_both_families_over_both() {
    let lab = Lab::new();
    let _gobgp = gobgp(&lab);
    for router in [ROUTER_V4, ROUTER_V6] {
        let driver = Driver::start(&lab, one(with_routes(peer(router))));
        wait_up(&lab, &driver);
        let rib = |family: &str| lab.ask("gobgp", &["global", "rib", "-a", family]);
        let attributes = ["64513 64513", "{Med: 33}", "64513:77", "64513:1:2", "{Origin: i}"];
        wait_text(
            &lab,
            &driver,
            "the IPv4 route",
            &|| rib("ipv4"),
            &[&attributes[..], &[V4, NODE_V4]].concat(),
        );
        wait_text(
            &lab,
            &driver,
            "the IPv6 route",
            &|| rib("ipv6"),
            &[&attributes[..], &[V6, NODE_V6]].concat(),
        );
        driver.change(|all| all.get_mut("tor").unwrap().routes = Arc::default());
        wait_gone(&lab, &driver, "IPv4 withdrawn", &|| rib("ipv4"), V4);
        wait_gone(&lab, &driver, "IPv6 withdrawn", &|| rib("ipv6"), V6);
    }
}
