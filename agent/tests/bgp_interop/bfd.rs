//! BFD with FRR's bfdd and with BIRD, alone and as what it is for: the end of a BGP session
//! whose path is dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_agent::bfd::{BfdState, BfdStatus};
use clarion_bgp::session::Cause;
use clarion_config::BfdProfile;
use nix::sys::signal::Signal;

use super::lab::{Driver, Lab, NODE_V4, NODE_V6, ROUTER_V4, ROUTER_V6};
use super::routers::{Frr, bird_with, birdc, neighbor};
use super::{SOON, kernel, one, peer, wait_text, wait_up, with_routes};
use crate::{DesiredPeer, DesiredPeers};

const ROUTE: &str = "198.51.100.7";

/// The same interval both ways, three packets.
fn profile(millis: u32) -> BfdProfile {
    BfdProfile {
        name: format!("of-{millis}"),
        receive_interval_ms: millis,
        transmit_interval_ms: millis,
        echo_interval_ms: 50,
        detect_multiplier: 3,
        echo_mode: false,
        passive_mode: false,
        minimum_ttl: 254,
    }
}

/// The router as a peer that is watched, with routes.
fn watched(router: &str, profile: BfdProfile) -> DesiredPeer {
    let mut peer = with_routes(peer(router));
    peer.config.bfd = Some(profile);
    peer
}

fn bfd(driver: &Driver) -> Option<BfdStatus> {
    driver.sessions.borrow().get("tor")?.bfd.clone()
}

fn wait_bfd(lab: &Lab, driver: &Driver, state: BfdState) {
    let seen = || bfd(driver).is_some_and(|bfd| bfd.state == state);
    lab.wait(&format!("BFD {state}"), SOON, &|| driver.state(), &seen);
}

/// Both protocols are up, and the route is in the router's kernel.
fn wait_whole(lab: &Lab, driver: &Driver) {
    wait_up(lab, driver);
    wait_bfd(lab, driver, BfdState::Up);
    wait_text(lab, driver, "the route", &|| kernel(lab, "-4"), &[ROUTE]);
}

/// FRR with BFD for a neighbour: multiplier 3 and these milliseconds both ways.
fn frr(lab: &Lab, node: &str, millis: u32, more: &str) -> (Frr, super::lab::Process) {
    let bfd = format!(" neighbor {node} bfd 3 {millis} {millis}\n{more}");
    let frr = Frr::start(lab, &neighbor(node, 64513, &bfd));
    let bfdd = Frr::bfdd(lab);
    (frr, bfdd)
}

fn peers(lab: &Lab) -> String {
    Frr::show(lab, "show bfd peers")
}

/// How often FRR's session came up and went down.
fn frr_changes(lab: &Lab) -> (u64, u64) {
    let text = Frr::show(lab, "show bfd peers counters");
    let count = |what: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(what));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default()
    };
    (count("Session up events:"), count("Session down events:"))
}

#[test]
fn bfd_with_frr_comes_up_over_both_families_at_the_slower_pace_of_both() {
    for (router, node) in [(ROUTER_V4, NODE_V4), (ROUTER_V6, NODE_V6)] {
        let lab = Lab::new();
        let _frr = frr(&lab, node, 80, "");
        let driver = Driver::start(&lab, one(watched(router, profile(50))));
        wait_whole(&lab, &driver);
        wait_text(
            &lab,
            &driver,
            "FRR's view",
            &|| peers(&lab),
            &["Status: up", "Transmission interval: 50ms"],
        );
        let paced = || {
            let timing = bfd(&driver).and_then(|bfd| bfd.timing);
            timing.is_some_and(|timing| {
                (timing.transmit, timing.detection) == (Duration::from_millis(80), Duration::from_millis(240))
            })
        };
        lab.wait("the pace of FRR", SOON, &|| driver.state(), &paced);
    }
}

#[test]
fn a_node_that_goes_dark_is_out_of_frr_s_routes_in_the_detection_time() {
    let lab = Lab::new();
    let _frr = frr(&lab, NODE_V4, 50, "");
    let driver = Driver::start(&lab, one(watched(ROUTER_V4, profile(50))));
    let mut times = Vec::new();
    for _ in 0..10 {
        wait_whole(&lab, &driver);
        wait_text(&lab, &driver, "FRR's view", &|| peers(&lab), &["Status: up", "interval: 50ms"]);
        let (_monitor, changes) = lab.watch_route(ROUTE);
        let begin = Instant::now();
        lab.go_dark();
        let (seen, line) = changes.recv_timeout(SOON).unwrap_or_else(|_| panic!("{}", driver.state()));
        assert!(line.starts_with("Deleted"), "{line}");
        times.push(seen - begin);
        lab.come_back();
    }
    times.sort();
    println!("node dark -> route out of FRR's kernel table: median {:?}, max {:?}", times[5], times[9]);
    assert!(times[5] < Duration::from_secs(1), "{times:?}: BGP alone would need three");
}

#[test]
fn a_router_whose_bfd_falls_silent_ends_the_bgp_session_at_once_and_gets_it_back() {
    let lab = Lab::new();
    let (_frr, bfdd) = frr(&lab, NODE_V4, 100, "");
    let driver = Driver::start(&lab, one(watched(ROUTER_V4, profile(100))));
    wait_whole(&lab, &driver);
    bfdd.signal(Signal::SIGSTOP);
    let ended = || {
        let sessions = driver.sessions.borrow();
        matches!(&sessions["tor"].last_failure, Some(Cause::PathDown(why)) if why.contains("nothing heard for 300ms"))
    };
    let after = lab.wait("the session's end", SOON, &|| driver.state(), &ended);
    println!("router's BFD silent -> BGP session down: {after:?} (100 ms x 3)");
    assert!(after < Duration::from_secs(1), "{after:?}");
    bfdd.signal(Signal::SIGCONT);
    wait_whole(&lab, &driver);
}

#[test]
fn another_profile_takes_effect_without_a_flap_of_either_protocol() {
    let lab = Lab::new();
    let _frr = frr(&lab, NODE_V4, 50, "");
    let driver = Driver::start(&lab, one(watched(ROUTER_V4, profile(50))));
    wait_whole(&lab, &driver);
    wait_text(&lab, &driver, "FRR's view", &|| peers(&lab), &["Status: up"]);
    let before = frr_changes(&lab);
    for millis in [400, 60, 1000, 50] {
        driver.change(|all| all.get_mut("tor").unwrap().config.bfd = Some(profile(millis)));
        let wanted = Duration::from_millis(u64::from(millis));
        let paced =
            || bfd(&driver).and_then(|bfd| bfd.timing).is_some_and(|timing| timing.transmit == wanted);
        lab.wait("the new pace", SOON, &|| driver.state(), &paced);
        let told = format!("Transmission interval: {millis}ms");
        wait_text(&lab, &driver, "FRR's view of it", &|| peers(&lab), &[&told]);
    }
    let status = driver.sessions.borrow()["tor"].clone();
    let counters = status.bfd.clone().unwrap().counters;
    assert_eq!((counters.ups, counters.downs, status.established), (1, 0, 1), "{status:#?}");
    assert_eq!(frr_changes(&lab), before, "FRR saw no change of the session");
}

#[test]
fn bfd_is_switched_on_under_a_living_session() {
    let lab = Lab::new();
    let _frr = frr(&lab, NODE_V4, 50, "");
    let driver = Driver::start(&lab, one(with_routes(peer(ROUTER_V4))));
    wait_up(&lab, &driver);
    driver.change(|all| all.get_mut("tor").unwrap().config.bfd = Some(profile(50)));
    wait_bfd(&lab, &driver, BfdState::Up);
    wait_text(&lab, &driver, "FRR's view", &|| peers(&lab), &["Status: up"]);
    let status = driver.sessions.borrow()["tor"].clone();
    assert_eq!((status.established, status.up()), (1, true), "{status:#?}");
}

#[test]
fn a_router_that_switches_bfd_off_keeps_its_bgp_session() {
    let lab = Lab::new();
    let _frr = frr(&lab, NODE_V4, 50, "");
    let driver = Driver::start(&lab, one(watched(ROUTER_V4, profile(50))));
    wait_whole(&lab, &driver);
    let session = format!("peer {NODE_V4} local-address {ROUTER_V4} interface eth0");
    let lines = ["bfd", "profile off", "shutdown", "exit", "exit", "router bgp 64512"];
    let by_profile = format!("neighbor {NODE_V4} bfd profile off");
    Frr::configure(&lab, &[&lines[..], &[by_profile.as_str()]].concat());
    let off = || bfd(&driver).is_some_and(|bfd| bfd.cause.is_some_and(|cause| cause.contains("operator")));
    let state = || format!("{}\n{}", driver.state(), peers(&lab));
    lab.wait(&format!("the operator as the cause ({session})"), SOON, &state, &off);
    let status = driver.sessions.borrow()["tor"].clone();
    assert_eq!((status.established, status.up()), (1, true), "{status:#?}");
    assert_eq!(status.bfd.unwrap().failures, 0);
}

#[test]
fn a_router_without_bfd_has_its_bgp_session_all_the_same() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let driver = Driver::start(&lab, one(watched(ROUTER_V4, profile(50))));
    wait_up(&lab, &driver);
    wait_bfd(&lab, &driver, BfdState::Down);
    assert_eq!(bfd(&driver).unwrap().counters.control_received, 0);
}

#[test]
fn several_hops_have_a_port_and_a_lowest_ttl_of_their_own() {
    let lab = Lab::new();
    let far = format!(" neighbor {NODE_V4} ebgp-multihop 4\n");
    let _frr = frr(&lab, NODE_V4, 50, &far);
    let mut peer = watched(ROUTER_V4, profile(50));
    peer.config.multi_hop = true;
    let driver = Driver::start(&lab, one(peer));
    wait_whole(&lab, &driver);
    wait_text(&lab, &driver, "FRR's view", &|| peers(&lab), &["multihop", "Status: up"]);
}

#[test]
fn another_daemon_on_the_port_is_named_and_bgp_comes_up_without_bfd() {
    let lab = Lab::new();
    let _frr = Frr::start(&lab, &neighbor(NODE_V4, 64513, ""));
    let netns = std::path::Path::new("/run/netns").join(&lab.node);
    let holder = std::thread::spawn(move || {
        let file = std::fs::File::open(netns).unwrap();
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        std::net::UdpSocket::bind("0.0.0.0:3784").unwrap()
    });
    let held = holder.join().unwrap();
    let driver = Driver::start(&lab, one(watched(ROUTER_V4, profile(50))));
    wait_up(&lab, &driver);
    let named = || {
        let problem = bfd(&driver).and_then(|bfd| bfd.problem);
        problem.is_some_and(|problem| problem.contains("UDP port 3784 is taken"))
    };
    lab.wait("the reason", SOON, &|| driver.state(), &named);
    drop(held);
    let ended = || bfd(&driver).is_some_and(|bfd| bfd.problem.is_none());
    lab.wait("the port again", SOON, &|| driver.state(), &ended);
}

#[test]
fn bird_and_bfd_over_both_families() {
    let lab = Lab::new();
    let bfd_lines = "protocol bfd { interface \"eth0\" { interval 50 ms; multiplier 3; }; }";
    let _bird = bird_with(&lab, bfd_lines, "bfd on; error wait time 1, 2;");
    let mut six = watched(ROUTER_V6, profile(50));
    six.config.name = "six".to_owned();
    let desired =
        DesiredPeers::from([("tor".to_owned(), watched(ROUTER_V4, profile(50))), ("six".to_owned(), six)]);
    let driver = Driver::start(&lab, desired);
    wait_whole(&lab, &driver);
    let sessions = || birdc(&lab, "show bfd sessions");
    let both = || sessions().matches(" Up ").count() == 2;
    lab.wait("both sessions in BIRD", SOON, &|| format!("{}\n{}", sessions(), driver.state()), &both);
    lab.wait("IPv6", SOON, &|| driver.state(), &|| driver.up("six"));
    let (_monitor, changes) = lab.watch_route(ROUTE);
    let begin = Instant::now();
    lab.go_dark();
    let mut lines = std::iter::from_fn(|| changes.recv_timeout(SOON).ok());
    let deleted = lines.find(|(_, line)| line.starts_with("Deleted"));
    let (seen, _) = deleted.unwrap_or_else(|| panic!("the route stayed: {}", driver.state()));
    println!("node dark -> route out of BIRD's kernel table: {:?}", seen - begin);
    assert!(seen - begin < Duration::from_secs(1), "{:?}", seen - begin);
    lab.come_back();
    wait_whole(&lab, &driver);
    driver.change(|all| {
        for peer in all.values_mut() {
            peer.routes = Arc::default();
        }
    });
}
