//! The rules of the contract one by one, each named by its section.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use clarion_alloc::{
    Allocator, Claim, Decision, Eligible, Families, Outcome, PoolSpec, Port, Protocol, Request, Wish,
};
use clarion_core::{Family, PoolName, ServiceKey, VipSet};

/// A pool's name and ranges.
type Ranges = (&'static str, &'static [&'static str]);

const V4: Families = Families::One(Family::V4);
const PREFER: Families = Families::Prefer { first: Family::V4 };

fn pool(name: &str, ranges: &[&str]) -> PoolSpec {
    PoolSpec {
        name: name.into(),
        ranges: ranges.iter().map(|r| r.parse().unwrap()).collect(),
        exclude: vec![],
        avoid_buggy_ips: false,
    }
}

fn with_pools(pools: &[(&str, &[&str])]) -> Allocator {
    let mut allocator = Allocator::new();
    allocator.set_pools(pools.iter().map(|(name, ranges)| pool(name, ranges)).collect());
    allocator
}

/// Every pool may be used and is automatic, in the order of the list.
fn request(families: Families, wish: Wish, pools: &[&str]) -> Request {
    let names = || pools.iter().map(|name| PoolName::from(*name));
    Request {
        families,
        wish,
        claim: Arc::default(),
        eligible: Arc::new(Eligible {
            compatible: names().collect(),
            pinned: vec![],
            common: names().collect(),
        }),
        created_s: 0,
        set_aside: BTreeMap::new(),
    }
}

fn sharing(mut request: Request, key: &str, backend: &str, port: u16) -> Request {
    let ports = [Port { protocol: Protocol::Tcp, number: port }].into();
    request.claim = Arc::new(Claim { sharing: key.to_owned(), backend: backend.to_owned(), ports });
    request
}

fn wish(addresses: &[&str]) -> Wish {
    Wish::read("", &addresses.join(","), "")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn svc(name: &str) -> ServiceKey {
    ServiceKey::new("ns", name)
}

/// What a decision amounts to, on one line.
fn said(decision: &Decision) -> String {
    let list = |set: VipSet| set.iter().map(|a| a.to_string()).collect::<Vec<_>>().join("+");
    let cleared = match &decision.cleared {
        None => String::new(),
        Some(cleared) => {
            let why = cleared.why.as_ref().map_or("unwanted".to_owned(), ToString::to_string);
            format!("lost {} ({why}); ", list(cleared.addresses))
        }
    };
    let now = match &decision.outcome {
        Outcome::Kept(grant) => format!("kept {} of {}", list(grant.addresses), grant.pool),
        Outcome::Assigned(grant) | Outcome::AssignedSingle { grant, .. } => {
            format!("got {} of {}", list(grant.addresses), grant.pool)
        }
        Outcome::Extended { grant, added } => format!("kept {} with new {added}", list(grant.addresses)),
        Outcome::KeptSingle { grant, why } => format!("kept only {} ({why})", list(grant.addresses)),
        Outcome::KeptDespite { grant, why } => format!("kept {} although {why}", list(grant.addresses)),
        Outcome::Refused(why) => format!("refused: {why}"),
    };
    cleared + &now
}

#[test]
fn explicit_addresses_follow_section_2_3() {
    let pools: &[(&str, &[&str])] = &[("a", &["192.0.2.0/24", "2001:db8::/64"]), ("b", &["198.51.100.0/24"])];
    // (families, wish, what is said)
    let table = [
        (V4, wish(&["192.0.2.7"]), "got 192.0.2.7 of a"),
        (V4, wish(&["203.0.113.1"]), r#"refused: ["203.0.113.1"] is not allowed in config"#),
        (
            V4,
            wish(&["2001:db8::1"]),
            r#"refused: requested loadBalancer IP(s) ["2001:db8::1"] does not match the ipFamily of the service"#,
        ),
        (
            Families::Both,
            wish(&["192.0.2.7"]),
            r#"refused: requested loadBalancer IP(s) ["192.0.2.7"] does not match the ipFamily of the service"#,
        ),
        (Families::Both, wish(&["2001:db8::1", "192.0.2.7"]), "got 192.0.2.7+2001:db8::1 of a"),
        (
            Families::Both,
            wish(&["198.51.100.1", "2001:db8::1"]),
            r#"refused: ["198.51.100.1" "2001:db8::1"] is not allowed in config: they are of two pools, and a service gets both of one"#,
        ),
        (
            V4,
            Wish::read("192.0.2.7", "", "b"),
            r#"refused: requested loadBalancer IP(s) ["192.0.2.7"] is not compatible with requested address pool b"#,
        ),
        (V4, Wish::read("192.0.2.7", "", "a"), "got 192.0.2.7 of a"),
        (V4, Wish::Pool("b".into()), "got 198.51.100.0 of b"),
        (V4, Wish::Pool("nope".into()), r#"refused: unknown pool "nope""#),
        (
            Families::One(Family::V6),
            Wish::Pool("b".into()),
            "refused: no available IPs in pool b: no IPv6 addresses configured for it",
        ),
    ];
    for (families, wish, expected) in table {
        let decision = with_pools(pools).decide(&svc("x"), &request(families, wish.clone(), &["a", "b"]));
        assert_eq!(said(&decision), expected, "{families:?} {wish:?}");
    }
}

#[test]
fn a_pool_for_others_is_refused_section_2_3_rule_3() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"]), ("b", &["198.51.100.0/24"])]);
    let by_address = request(V4, wish(&["198.51.100.1"]), &["a"]);
    let words = "refused: pool b not compatible for ip assignment";
    assert_eq!(said(&allocator.decide(&svc("x"), &by_address)), words);
    assert_eq!(said(&allocator.decide(&svc("y"), &request(V4, Wish::Pool("b".into()), &["a"]))), words);
}

#[test]
fn a_taken_address_names_its_holder_section_2_5() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"])]);
    allocator.decide(&svc("first"), &request(V4, wish(&["192.0.2.7"]), &["a"]));
    let second = allocator.decide(&svc("second"), &request(V4, wish(&["192.0.2.7"]), &["a"]));
    assert_eq!(
        said(&second),
        r#"refused: can't change sharing key for "ns/second", address also in use by ns/first: 192.0.2.7: existing service does not allow sharing (metallb.io/allow-shared-ip)"#
    );
}

#[test]
fn sharing_follows_section_2_5() {
    // (key, backend, port of the second; what is said to it)
    let table = [
        ("k", "", 443, "got 192.0.2.7 of a"),
        ("k", "", 80, r#"refused: port TCP/80 is already in use on "192.0.2.7" by ns/first"#),
        (
            "l",
            "",
            443,
            r#"refused: can't change sharing key for "ns/second", address also in use by ns/first: 192.0.2.7: sharing key does not match existing sharing key (metallb.io/allow-shared-ip)"#,
        ),
        (
            "",
            "",
            443,
            r#"refused: can't change sharing key for "ns/second", address also in use by ns/first: 192.0.2.7: new service does not allow sharing (metallb.io/allow-shared-ip)"#,
        ),
        (
            "k",
            "app=x",
            443,
            r#"refused: can't change sharing key for "ns/second", address also in use by ns/first: 192.0.2.7: backends differ: externalTrafficPolicy must be Cluster for both, or Local with equal selectors"#,
        ),
    ];
    for (key, backend, port, expected) in table {
        let mut allocator = with_pools(&[("a", &["192.0.2.0/24"])]);
        let base = || request(V4, wish(&["192.0.2.7"]), &["a"]);
        allocator.decide(&svc("first"), &sharing(base(), "k", "", 80));
        let second = allocator.decide(&svc("second"), &sharing(base(), key, backend, port));
        assert_eq!(said(&second), expected, "{key:?} {backend:?} {port}");
    }
}

#[test]
fn services_with_one_key_meet_on_the_lowest_address() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"])]);
    let any = || request(V4, Wish::Any, &["a"]);
    allocator.decide(&svc("alone"), &any());
    assert_eq!(said(&allocator.decide(&svc("x"), &sharing(any(), "k", "", 80))), "got 192.0.2.1 of a");
    assert_eq!(said(&allocator.decide(&svc("y"), &sharing(any(), "k", "", 443))), "got 192.0.2.1 of a");
    assert_eq!(said(&allocator.decide(&svc("z"), &sharing(any(), "k", "", 80))), "got 192.0.2.2 of a");
    // The address is free only when the last has left.
    allocator.release(&svc("x"));
    assert_eq!(said(&allocator.decide(&svc("new"), &any())), "got 192.0.2.3 of a");
    allocator.release(&svc("y"));
    assert_eq!(said(&allocator.decide(&svc("newer"), &any())), "got 192.0.2.1 of a");
}

#[test]
fn a_sole_holder_changes_its_key_in_place_and_one_of_many_must_go() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"])]);
    let any = |key: &str, port| sharing(request(V4, Wish::Any, &["a"]), key, "", port);
    allocator.decide(&svc("x"), &any("k", 80));
    assert_eq!(said(&allocator.decide(&svc("x"), &any("l", 80))), "kept 192.0.2.0 of a");
    allocator.decide(&svc("y"), &any("l", 443));
    assert_eq!(
        said(&allocator.decide(&svc("y"), &any("m", 443))),
        r#"lost 192.0.2.0 (can't change sharing key for "ns/y", address also in use by ns/x: 192.0.2.0: sharing key does not match existing sharing key (metallb.io/allow-shared-ip)); got 192.0.2.1 of a"#
    );
}

#[test]
fn dual_stack_follows_section_2_6() {
    let both: Ranges = ("both", &["192.0.2.0/32", "2001:db8::/128"]);
    let only4: Ranges = ("only4", &["198.51.100.0/32"]);
    let only6: Ranges = ("only6", &["2001:db8:6::/128"]);
    let prefer6 = Families::Prefer { first: Family::V6 };
    // (pools in order, families, what is said)
    let table: [(&[Ranges], Families, &str); 7] = [
        (&[only4, both], Families::Both, "got 192.0.2.0+2001:db8:: of both"),
        (
            &[only4, only6],
            Families::Both,
            "refused: no available IPs: no pool with both IPv4 and IPv6 addresses configured for it",
        ),
        (&[only4, both], PREFER, "got 192.0.2.0+2001:db8:: of both"),
        (&[only6, only4], PREFER, "got 198.51.100.0 of only4"),
        (&[only4, only6], prefer6, "got 2001:db8:6:: of only6"),
        (&[only6], PREFER, "got 2001:db8:6:: of only6"),
        (&[both], Families::One(Family::V6), "got 2001:db8:: of both"),
    ];
    for (pools, families, expected) in table {
        let names: Vec<_> = pools.iter().map(|(name, _)| *name).collect();
        let decision = with_pools(pools).decide(&svc("x"), &request(families, Wish::Any, &names));
        assert_eq!(said(&decision), expected, "{names:?} {families:?}");
    }
}

#[test]
fn a_single_address_is_completed_from_its_own_pool_only() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"]), ("b", &["2001:db8::/64"])]);
    let prefer = request(PREFER, Wish::Any, &["a", "b"]);
    assert_eq!(said(&allocator.decide(&svc("x"), &prefer)), "got 192.0.2.0 of a");
    assert_eq!(
        said(&allocator.decide(&svc("x"), &prefer)),
        "kept only 192.0.2.0 (no available IPs in pool a: no IPv6 addresses configured for it)"
    );
    allocator.set_pools(vec![pool("a", &["192.0.2.0/24", "2001:db8:a::/64"]), pool("b", &["2001:db8::/64"])]);
    assert_eq!(
        said(&allocator.decide(&svc("x"), &prefer)),
        "kept 192.0.2.0+2001:db8:a:: with new 2001:db8:a::"
    );
    // Back to one family: what is still needed does not move.
    let single = request(V4, Wish::Any, &["a", "b"]);
    assert_eq!(said(&allocator.decide(&svc("x"), &single)), "kept 192.0.2.0 of a");
    assert_eq!(allocator.holders(ip("2001:db8:a::")).count(), 0);
}

#[test]
fn addresses_stay_while_the_configuration_allows_them_section_2_7() {
    let any = |pools: &[&str]| request(V4, Wish::Any, pools);
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"])]);
    assert_eq!(said(&allocator.decide(&svc("x"), &any(&["a"]))), "got 192.0.2.0 of a");
    // The range moves to a pool of another name, and that is no longer automatic.
    allocator.set_pools(vec![pool("b", &["192.0.2.0/25"]), pool("c", &["198.51.100.0/24"])]);
    let mut manual = any(&["b", "c"]);
    Arc::make_mut(&mut manual.eligible).common.clear();
    assert_eq!(said(&allocator.decide(&svc("x"), &manual)), "kept 192.0.2.0 of b");
    // The range goes.
    allocator.set_pools(vec![pool("c", &["198.51.100.0/24"])]);
    assert_eq!(
        said(&allocator.decide(&svc("x"), &any(&["c"]))),
        r#"lost 192.0.2.0 (["192.0.2.0"] is not allowed in config); got 198.51.100.0 of c"#
    );
    // All go.
    allocator.set_pools(vec![]);
    assert_eq!(
        said(&allocator.decide(&svc("x"), &any(&[]))),
        r#"lost 198.51.100.0 (["198.51.100.0"] is not allowed in config); refused: no available IPs: there is no IPAddressPool"#
    );
}

#[test]
fn a_changed_wish_gives_up_the_old_address_even_for_nothing_section_2_3() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"]), ("b", &["198.51.100.0/32"])]);
    let asks = |wish| request(V4, wish, &["a", "b"]);
    allocator.decide(&svc("x"), &asks(Wish::Any));
    // (new wish, what is said), one after the other on the same Service
    let table = [
        (wish(&["192.0.2.9"]), "lost 192.0.2.0 (unwanted); got 192.0.2.9 of a"),
        (Wish::Pool("b".into()), "lost 192.0.2.9 (unwanted); got 198.51.100.0 of b"),
        (Wish::read("junk", "", ""), r#"kept 198.51.100.0 although invalid spec.loadBalancerIP "junk""#),
        (Wish::Any, "kept 198.51.100.0 of b"),
        (Wish::Pool("nope".into()), r#"lost 198.51.100.0 (unwanted); refused: unknown pool "nope""#),
        (Wish::read("junk", "", ""), r#"refused: invalid spec.loadBalancerIP "junk""#),
        (Wish::Any, "got 192.0.2.0 of a"),
    ];
    for (wish, expected) in table {
        assert_eq!(said(&allocator.decide(&svc("x"), &asks(wish.clone()))), expected, "{wish:?}");
    }
}

#[test]
fn nobody_is_given_an_address_whose_holder_has_not_been_judged_yet() {
    let mut allocator = with_pools(&[("a", &["192.0.2.0/31"])]);
    let old = VipSet::from_addresses([ip("192.0.2.0")]).unwrap();
    allocator.recover(&svc("old"), old, &Arc::default()).unwrap();
    // The new one sorts first and asks first.
    assert_eq!(said(&allocator.decide(&svc("aaa"), &request(V4, Wish::Any, &["a"]))), "got 192.0.2.1 of a");
    assert_eq!(said(&allocator.decide(&svc("old"), &request(V4, Wish::Any, &["a"]))), "kept 192.0.2.0 of a");
}

#[test]
fn ranges_that_overlap_never_put_one_address_into_two_pools() {
    let mut allocator =
        with_pools(&[("a", &["192.0.2.0/24", "192.0.2.128/25"]), ("b", &["192.0.2.255-192.0.3.0"])]);
    assert_eq!(allocator.pool_of(ip("192.0.2.255")), Some(&PoolName::from("a")));
    assert_eq!(allocator.pool_of(ip("192.0.3.0")), None);
    assert_eq!(
        said(&allocator.decide(&svc("x"), &request(V4, Wish::Any, &["b"]))),
        "refused: no available IPs: no IPv4 addresses configured for it"
    );
}

#[test]
fn one_requested_address_is_too_little_for_require_and_stays_alone_under_prefer() {
    let asks = |families| request(families, wish(&["192.0.2.7"]), &["a"]);
    // (families that the Service turns to, what is said each time)
    let table = [
        (PREFER, "kept 192.0.2.7 of a", "kept 192.0.2.7 of a"),
        (
            Families::Both,
            r#"lost 192.0.2.7 (unwanted); refused: requested loadBalancer IP(s) ["192.0.2.7"] does not match the ipFamily of the service"#,
            r#"refused: requested loadBalancer IP(s) ["192.0.2.7"] does not match the ipFamily of the service"#,
        ),
    ];
    for (families, first, again) in table {
        let mut allocator = with_pools(&[("a", &["192.0.2.0/24", "2001:db8::/64"])]);
        allocator.decide(&svc("x"), &asks(V4));
        assert_eq!(said(&allocator.decide(&svc("x"), &asks(families))), first, "{families:?}");
        assert_eq!(said(&allocator.decide(&svc("x"), &asks(families))), again, "{families:?}");
    }
}

#[test]
fn what_is_of_a_pool_set_aside_is_kept_unless_something_else_is_asked_for() {
    let held = VipSet::from_addresses([ip("203.0.113.1"), ip("2001:db8::1")]).unwrap();
    let aside = |mut request: Request| {
        request.set_aside = held.iter().map(|address| (address, "aside".into())).collect();
        request
    };
    let mut allocator = with_pools(&[("a", &["192.0.2.0/24"])]);
    allocator.recover(&svc("x"), held, &Arc::default()).unwrap();
    let kept = |outcome: &Outcome| matches!(outcome, Outcome::Kept(grant) if grant.pool == "aside".into());
    for asked in [Wish::Any, Wish::Pool("aside".into()), wish(&["203.0.113.1", "2001:db8::1"])] {
        let decision = allocator.decide(&svc("x"), &aside(request(PREFER, asked, &["a"])));
        assert!(kept(&decision.outcome) && decision.cleared.is_none(), "{decision:?}");
    }
    let decision = allocator.decide(&svc("x"), &aside(request(V4, Wish::Any, &["a"])));
    assert!(kept(&decision.outcome), "the family that it still needs: {decision:?}");
    let newcomer = allocator.decide(&svc("y"), &aside(request(V4, wish(&["203.0.113.1"]), &["a"])));
    assert!(matches!(newcomer.outcome, Outcome::Refused(_)), "nobody is given any: {newcomer:?}");
    let moved = allocator.decide(&svc("x"), &aside(request(V4, Wish::Pool("a".into()), &["a"])));
    assert!(matches!(&moved.outcome, Outcome::Assigned(grant) if grant.pool == "a".into()), "{moved:?}");
}
