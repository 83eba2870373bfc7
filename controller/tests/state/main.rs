//! The controller without an API server: changes go in, plans come out, whole values
//! are compared.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clarion_controller::index::{Change, ConfigEdit, Edit};
use clarion_controller::planner::StatusWrite;
use clarion_controller::state::{State, Written};
use clarion_core::VipSet;
use serde_json::json;

use bench::{Bench, asking, asking_for, balancer, holding, key, planned, pool};

#[test]
fn a_new_service_gets_one_write_and_one_event_and_then_silence() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[]);
    bench.apply("x", balancer());
    let (planned_for, plan) = bench.state.next(bench.now).unwrap();
    assert_eq!(planned_for, key("x"));
    let write = StatusWrite {
        key: key("x"),
        resource_version: "1".into(),
        addresses: VipSet::from_addresses(["192.0.2.0".parse().unwrap()]).unwrap(),
        pool: Some("a".into()),
        remove_deprecated: false,
    };
    assert_eq!(plan.write, Some(write));
    assert_eq!(plan.sayings.len(), 1);
    bench.store("x", &["192.0.2.0"], Some("a"));
    assert_eq!(bench.next(), None);
}

#[test]
fn whoever_does_not_lead_plans_nothing() {
    let mut bench = Bench::following(&[("a", "192.0.2.0/24")], &[("x", balancer())]);
    assert_eq!(bench.next(), None);
    bench.state.lead(true);
    assert_eq!(
        bench.next(),
        planned("x", "[192.0.2.0] of a on 1", &[r#"IPAllocated: Assigned IP ["192.0.2.0"]"#])
    );
    bench.state.lead(false);
    bench.apply("y", balancer());
    assert_eq!(bench.next(), None);
}

#[test]
fn nothing_is_planned_before_every_kind_has_been_seen() {
    let mut state = State::new("metallb-system");
    state.lead(true);
    state.handle(Change::Config(ConfigEdit::Pool(Edit::Reset(
        [("a".to_owned(), pool("a", "192.0.2.0/24"))].into(),
    ))));
    state.handle(Change::Service(Edit::Reset(BTreeMap::new())));
    assert!(state.planner().is_none());
    assert!(state.index().unsynced().contains(&"l2advertisements"));
}

#[test]
fn a_restart_keeps_addresses_before_it_gives_any() {
    let services = [("aaa", balancer()), ("zzz", holding("192.0.2.0"))];
    let mut bench = Bench::leading(&[("a", "192.0.2.0/31")], &services);
    assert_eq!(
        bench.next(),
        planned("aaa", "[192.0.2.1] of a on 1", &[r#"IPAllocated: Assigned IP ["192.0.2.1"]"#])
    );
    assert_eq!(bench.next(), None, "zzz shows what it holds");
}

#[test]
fn an_address_is_not_shown_by_its_next_holder_before_the_former_one_has_ceased_to() {
    let services = [("x", holding("192.0.2.0")), ("y", balancer())];
    let mut bench = Bench::leading(&[("a", "192.0.2.0/31")], &services);
    bench.apply("y", asking("192.0.2.0"));
    let refused = bench.next().unwrap();
    assert!(refused.1.is_none() && refused.2[0].contains("also in use by ns/x"), "{refused:?}");
    bench.apply("x", asking_for(holding("192.0.2.0"), "192.0.2.1"));
    assert_eq!(bench.next().unwrap().1.as_deref(), Some("[192.0.2.1] of a on 4"));
    assert_eq!(bench.next(), None, "x still shows it");
    bench.state.written(&key("x"), Written::Failed, bench.now);
    assert_eq!(bench.next(), None, "it goes on showing it");
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.next().unwrap().1.as_deref(), Some("[192.0.2.1] of a on 4"));
    bench.store("x", &["192.0.2.1"], Some("a"));
    let (name, write, events) = bench.next().unwrap();
    assert_eq!((name.as_str(), write.as_deref()), ("y", Some("[192.0.2.0] of a on 3")));
    assert!(events[0].starts_with("IPAllocated"), "told with its write: {events:?}");
}

#[test]
fn two_that_exchange_addresses_both_get_them() {
    let services = [("x", holding("192.0.2.0")), ("y", holding("192.0.2.1"))];
    let mut bench = Bench::leading(&[("a", "192.0.2.0/31")], &services);
    bench.apply("x", asking_for(holding("192.0.2.0"), "192.0.2.1"));
    bench.apply("y", asking_for(holding("192.0.2.1"), "192.0.2.0"));
    for _ in 0..8 {
        let mut shown: BTreeMap<String, String> = BTreeMap::new();
        for name in ["x", "y"] {
            let view = bench.state.index().services[&key(name)].clone();
            for address in view.shown.addresses.unwrap_or_default().iter() {
                assert_eq!(shown.insert(address.to_string(), name.to_owned()), None, "shown twice");
            }
        }
        let Some((name, Some(write), _)) = bench.next() else { continue };
        let address = write.split(['[', ']']).nth(1).unwrap().to_owned();
        let addresses: Vec<_> = address.split_whitespace().collect();
        bench.store(&name, &addresses, (!addresses.is_empty()).then_some("a"));
    }
    let shown = |name: &str| {
        let shown = bench.state.index().services[&key(name)].shown.addresses.unwrap_or_default();
        shown.iter().map(|address| address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((shown("x"), shown("y")), (vec!["192.0.2.1".to_owned()], vec!["192.0.2.0".to_owned()]));
}

#[test]
fn what_is_deleted_is_counted_out() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/31")], &[("x", holding("192.0.2.0"))]);
    let assigned = |bench: &Bench| bench.state.planner().unwrap().counters()[&"a".into()].assigned_v4;
    assert_eq!(bench.next(), None);
    assert!(bench.state.take_changed() && assigned(&bench) == 1);
    bench.state.handle(Change::Service(Edit::Delete(key("x"))));
    assert!(bench.state.has_changed(), "or nobody shows that it is gone");
    assert_eq!(assigned(&bench), 0);
}

#[test]
fn of_two_that_hold_one_address_the_older_keeps_it() {
    let mut young = holding("192.0.2.0");
    young["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    let mut old = holding("192.0.2.0");
    old["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("aaa", young), ("zzz", old)]);
    let lost = r#"ClearAssignment: current IP for "ns/aaa" not allowed by config, will attempt for new IP assignment: can't change sharing key for "ns/aaa", address also in use by ns/zzz: 192.0.2.0: existing service does not allow sharing (metallb.io/allow-shared-ip)"#;
    assert_eq!(
        bench.next(),
        planned("aaa", "[192.0.2.1] of a on 1", &[lost, r#"IPAllocated: Assigned IP ["192.0.2.1"]"#])
    );
    assert_eq!(bench.next(), None);
}

#[test]
fn a_refusal_is_said_once_and_a_freed_address_goes_to_who_waits() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/32")], &[("x", holding("192.0.2.0"))]);
    assert_eq!(bench.next(), None);
    bench.apply("y", balancer());
    let refused = r#"AllocationFailed: Failed to allocate IP for "ns/y": no available IPs"#;
    assert_eq!(bench.next(), planned("y", "", &[refused]));
    bench.apply("y", balancer());
    assert_eq!(bench.next(), None, "nothing new to say");
    bench.delete("x");
    assert_eq!(
        bench.next(),
        planned("y", "[192.0.2.0] of a on 3", &[r#"IPAllocated: Assigned IP ["192.0.2.0"]"#])
    );
}

#[test]
fn a_taken_address_and_an_unknown_pool_are_named() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", holding("192.0.2.0"))]);
    bench.next();
    bench.apply("y", asking("192.0.2.0"));
    let taken = r#"AllocationFailed: Failed to allocate IP for "ns/y": can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.0: existing service does not allow sharing (metallb.io/allow-shared-ip)"#;
    assert_eq!(bench.next(), planned("y", "", &[taken]));
    let mut named = balancer();
    named["metadata"]["annotations"] = json!({"metallb.universe.tf/address-pool": "nope"});
    bench.apply("z", named);
    let unknown = r#"AllocationFailed: Failed to allocate IP for "ns/z": unknown pool "nope""#;
    assert_eq!(bench.next(), planned("z", "", &[unknown]));
}

#[test]
fn a_service_that_is_no_balancer_any_longer_is_cleaned_and_its_address_freed() {
    let mut bench =
        Bench::leading(&[("a", "192.0.2.0/32")], &[("x", holding("192.0.2.0")), ("y", balancer())]);
    while bench.next().is_some() {}
    let mut former = holding("192.0.2.0");
    former["spec"]["type"] = json!("ClusterIP");
    bench.apply("x", former);
    assert_eq!(bench.next(), planned("x", "[] of - on 3", &[]));
    bench.store("x", &[], None);
    // The watch tells that it is no concern of ours any longer.
    bench.delete("x");
    assert_eq!(
        bench.next(),
        planned("y", "[192.0.2.0] of a on 2", &[r#"IPAllocated: Assigned IP ["192.0.2.0"]"#])
    );
}

#[test]
fn a_conflict_waits_for_the_watch_and_then_plans_from_the_new_version() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", balancer())]);
    bench.next().unwrap();
    bench.state.written(&key("x"), Written::Stale, bench.now);
    assert_eq!(bench.next(), None, "the watch has not told of the newer version");
    bench.apply("x", balancer());
    let (_, write, _) = bench.next().unwrap();
    assert_eq!(write.as_deref(), Some("[192.0.2.0] of a on 2"), "the same address");
}

#[test]
fn a_change_during_a_write_is_planned_for_after_it() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", balancer())]);
    bench.next().unwrap();
    bench.apply("x", asking("192.0.2.9"));
    assert_eq!(bench.next(), None, "one write of a Service at a time");
    bench.state.written(&key("x"), Written::Stale, bench.now);
    let (_, write, _) = bench.next().unwrap();
    assert_eq!(write.as_deref(), Some("[192.0.2.9] of a on 2"));
}

#[test]
fn failed_writes_are_tried_again_with_growing_pauses() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", balancer())]);
    for pause_ms in [100, 200, 400, 800] {
        assert!(bench.next().is_some());
        bench.state.written(&key("x"), Written::Failed, bench.now);
        assert_eq!(bench.next(), None);
        assert_eq!(bench.state.deadline(), Some(bench.now + Duration::from_millis(pause_ms)));
        bench.now += Duration::from_millis(pause_ms);
    }
    assert!(bench.next().is_some());
    bench.store("x", &["192.0.2.0"], Some("a"));
    assert_eq!(bench.state.deadline(), None);
}

#[test]
fn a_pool_that_goes_takes_its_addresses_with_it_and_says_so() {
    let mut bench =
        Bench::leading(&[("a", "192.0.2.0/24"), ("b", "198.51.100.0/24")], &[("x", holding("192.0.2.0"))]);
    bench.next();
    bench.state.handle(Change::Config(ConfigEdit::Pool(Edit::Delete("a".into()))));
    let lost = r#"ClearAssignment: current IP for "ns/x" not allowed by config, will attempt for new IP assignment: ["192.0.2.0"] is not allowed in config"#;
    let got = r#"IPAllocated: Assigned IP ["198.51.100.0"]"#;
    assert_eq!(bench.next(), planned("x", "[198.51.100.0] of b on 1", &[lost, got]));
}

#[test]
fn who_loses_an_address_and_finds_no_other_is_told_both_with_one_write() {
    let lost = r#"ClearAssignment: current IP for "ns/x" not allowed by config, will attempt for new IP assignment: ["192.0.2.0"] is not allowed in config"#;
    let refused =
        r#"AllocationFailed: Failed to allocate IP for "ns/x": no available IPs: there is no IPAddressPool"#;
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", holding("192.0.2.0"))]);
    assert_eq!(bench.next(), None);
    bench.state.handle(Change::Config(ConfigEdit::Pool(Edit::Delete("a".into()))));
    let both = |version: u32| planned("x", &format!("[] of - on {version}"), &[lost, refused]);
    assert_eq!(bench.next(), both(1));
    assert_eq!(bench.next(), None, "one write of a Service at a time");
    // Somebody else was faster: nothing has been told, so it is told with the next write.
    bench.apply("x", holding("192.0.2.0"));
    bench.state.written(&key("x"), Written::Stale, bench.now);
    assert_eq!(bench.next(), both(2));
    bench.store("x", &[], None);
    assert_eq!(bench.next(), None, "once per change");
    assert_eq!(bench.state.planner().unwrap().pending(), 1);
}

#[test]
fn every_balancer_without_an_address_is_pending() {
    let mut headless = balancer();
    headless["spec"]["clusterIPs"] = json!(["None"]);
    let services = [
        ("garbled", asking("nonsense")),
        ("happy", balancer()),
        ("headless", headless),
        ("late", balancer()),
        ("outside", asking("203.0.113.1")),
    ];
    let mut bench = Bench::leading(&[("a", "192.0.2.0/32")], &services);
    while bench.next().is_some() {}
    let pending = |bench: &Bench| bench.state.planner().unwrap().pending();
    assert_eq!(pending(&bench), 4);
    bench.delete("outside");
    assert_eq!(pending(&bench), 3);
}

#[test]
fn beside_a_pool_set_aside_only_what_belongs_to_no_pool_is_taken_back() {
    let pools = [("a", "192.0.2.0/24"), ("b", "192.0.2.64-192.0.2.200")];
    let services = [("x", holding("192.0.2.150")), ("y", holding("192.0.2.250"))];
    let mut bench = Bench::leading(&pools, &services);
    assert_eq!(bench.next(), None);
    bench.state.handle(Change::Config(ConfigEdit::Pool(Edit::Apply("a".into(), pool("a", "192.0.2.0/25")))));
    assert!(bench.state.parsed().config.set_aside.contains_key(&"b".into()));
    assert_eq!(bench.next(), planned("x", "[192.0.2.150] of b on 1", &[]), "it belongs to b now");
    let lost = r#"ClearAssignment: current IP for "ns/y" not allowed by config, will attempt for new IP assignment: ["192.0.2.250"] is not allowed in config"#;
    let got = r#"IPAllocated: Assigned IP ["192.0.2.0"]"#;
    assert_eq!(bench.next(), planned("y", "[192.0.2.0] of a on 2", &[lost, got]));
    bench.store("x", &["192.0.2.150"], Some("b"));
    assert_eq!(bench.next(), None);
    bench.state.handle(Change::Config(ConfigEdit::Pool(Edit::Delete("b".into()))));
    let (name, write, events) = bench.next().unwrap();
    assert_eq!((name.as_str(), write.as_deref()), ("x", Some("[192.0.2.1] of a on 3")));
    assert_eq!(events.len(), 2, "{events:?}");
}

#[test]
fn what_can_be_read_of_a_bad_pool_stays_even_after_a_restart() {
    let pools = [("a", "192.0.2.0/25 192.0.2.209-192.0.2.200"), ("b", "198.51.100.0/24")];
    let mut bench = Bench::leading(&pools, &[("x", holding("192.0.2.0")), ("y", balancer())]);
    assert_eq!(bench.state.parsed().problems.len(), 1);
    assert_eq!(
        bench.next(),
        planned("y", "[198.51.100.0] of b on 2", &[r#"IPAllocated: Assigned IP ["198.51.100.0"]"#]),
        "x keeps what it has, and the good pool serves"
    );
    assert_eq!(bench.next(), None);
}

#[test]
fn a_service_that_asks_for_a_pool_set_aside_is_told_so_and_why() {
    let mut asking = balancer();
    asking["metadata"]["annotations"] = json!({"metallb.io/address-pool": "bad"});
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24"), ("bad", "192.0.2.300")], &[("x", asking)]);
    let (_, write, said) = bench.next().unwrap();
    assert_eq!((write, said.len()), (None, 1));
    let told = r#"AllocationFailed: Failed to allocate IP for "ns/x": unknown pool "bad": IPAddressPool bad is set aside: spec.addresses[0]: "#;
    assert!(said[0].starts_with(told), "{said:?}");
}

#[test]
fn what_somebody_else_takes_back_each_time_is_written_ever_more_rarely() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", balancer())]);
    let (mut written, begin) = (Vec::new(), bench.now);
    let mut deadline = None;
    while bench.now < begin + Duration::from_secs(60) {
        if let Some((_, write, said)) = bench.next() {
            assert_eq!(write.is_some(), !said.is_empty() || !written.is_empty(), "{write:?} {said:?}");
            written.push((bench.now - begin).as_secs());
            bench.store("x", &["192.0.2.0"], Some("a"));
            bench.apply("x", holding("198.51.100.1"));
        }
        deadline = bench.state.deadline();
        bench.now += Duration::from_secs(1);
    }
    assert!(written.len() < 12 && written[..3] == [0, 1, 2], "{written:?}");
    assert!(deadline.is_some(), "and it is tried again");
    assert_eq!((bench.state.take_contested(), bench.state.contested().count()), (vec![key("x")], 1));
    bench.delete("x");
    assert_eq!(bench.state.contested().count(), 0);
}

#[test]
fn a_service_made_anew_under_its_old_name_is_another_one() {
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", holding("192.0.2.7"))]);
    bench.next();
    // The watch was down meanwhile and tells of the new one only.
    let mut anew = balancer();
    anew["metadata"]["uid"] = json!("another");
    bench.apply("x", anew);
    assert_eq!(
        bench.next(),
        planned("x", "[192.0.2.0] of a on 2", &[r#"IPAllocated: Assigned IP ["192.0.2.0"]"#])
    );
}

#[test]
fn deprecated_annotations_are_mentioned_when_the_service_is_changed_anyway() {
    let mut old = balancer();
    old["metadata"]["annotations"] = json!({"metallb.universe.tf/address-pool": "a"});
    let mut bench = Bench::leading(&[("a", "192.0.2.0/24")], &[("x", old)]);
    let deprecated =
        "deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/address-pool";
    assert_eq!(
        bench.next(),
        planned("x", "[192.0.2.0] of a on 1", &[r#"IPAllocated: Assigned IP ["192.0.2.0"]"#, deprecated])
    );
    let mut done = bench.services["x"].clone();
    done["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] = json!("a");
    done["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.0"}]}});
    let view = bench.view("x", done);
    bench.state.written(&key("x"), Written::Done(view.map(Arc::new)), bench.now);
    bench.state.lead(true);
    assert_eq!(bench.next(), None);
}
