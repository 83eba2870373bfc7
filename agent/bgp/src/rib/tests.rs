//! Adj-RIB-Out against a model RIB that believes every UPDATE.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Asn, Community, Family};
use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::session::LocalAddresses;
use crate::wire::{Framer, MAX_MESSAGE, Route, UpdateEncoder, UpdateReader};

const BUDGET: usize = 64 * 1024;

fn outbound(internal: bool) -> Outbound {
    let both = BTreeSet::from([Family::V4, Family::V6]);
    Outbound {
        encoder: UpdateEncoder { four_octet_as: true, max_message: MAX_MESSAGE },
        internal,
        local_asn: Asn::new(64513).unwrap(),
        local: LocalAddresses {
            v6: Some("2001:db8::1".parse().unwrap()),
            ..LocalAddresses::of_session("192.0.2.1".parse().unwrap())
        },
        offered: both.clone(),
        families: both,
        extended_next_hop: false,
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Every UPDATE of a batch: its routes and its octets.
fn updates(octets: &[u8], internal: bool) -> Vec<(Vec<Route>, Vec<u8>)> {
    let mut framer = Framer::default();
    framer.push(octets);
    let mut all = Vec::new();
    while let Some((_, body)) = framer.next_message().unwrap() {
        let mut routes = Vec::new();
        let reader = UpdateReader { four_octet_as: true, internal };
        assert_eq!(reader.read(body, |route| routes.push(route)).unwrap().tolerated, None);
        all.push((routes, body.to_vec()));
    }
    all
}

/// What a peer believes: prefix -> the UPDATE's octets without its prefixes would
/// be exact; the attributes that tell routes apart in these tests are enough.
#[derive(Default)]
struct Model {
    routes: BTreeMap<IpNet, Vec<u8>>,
    touched: BTreeSet<IpNet>,
}

impl Model {
    fn hear(&mut self, octets: &[u8]) {
        for (routes, body) in updates(octets, false) {
            for route in routes {
                match route {
                    Route::Announced(prefix) => {
                        self.touched.insert(prefix);
                        self.routes.insert(prefix, med(&body));
                    }
                    Route::Withdrawn(prefix) => {
                        self.touched.insert(prefix);
                        assert!(self.routes.remove(&prefix).is_some(), "{prefix} was never announced");
                    }
                }
            }
        }
    }
}

/// The value of MULTI_EXIT_DISC, which the tests make different for different attributes.
fn med(body: &[u8]) -> Vec<u8> {
    let at = body.windows(3).position(|w| w == [0x80, 4, 4]).map(|at| at + 3);
    at.map(|at| body[at..at + 4].to_vec()).unwrap_or_default()
}

fn drain(out: &mut AdjRibOut, desired: &Arc<Routes>, budget: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let batch = out.next_batch(desired, budget);
        if batch.octets.is_empty() {
            return octets;
        }
        assert!(batch.octets.len() <= budget + 2 * MAX_MESSAGE, "{}", batch.octets.len());
        octets.extend(batch.octets);
    }
}

fn arb_routes() -> impl Strategy<Value = Routes> {
    let prefix = (any::<bool>(), 0..60_u8).prop_map(|(v6, i)| {
        if v6 { net(&format!("2001:db8:0:{i:x}::/64")) } else { net(&format!("198.51.100.{i}/32")) }
    });
    let attributes = (1..4_u32).prop_map(|med| RouteAttributes {
        med: Some(med),
        communities: (0..med).map(|i| Community::Standard(64513, u16::try_from(i).unwrap())).collect(),
        ..RouteAttributes::default()
    });
    btree_map(prefix, attributes, 0..60)
}

proptest! {
    #[test]
    fn the_peer_believes_what_is_desired_and_hears_only_differences(
        states in vec((arb_routes(), any::<bool>()), 1..8), small in any::<bool>(),
    ) {
        let mut out = AdjRibOut::new(outbound(false));
        let mut model = Model::default();
        for (desired, interrupted) in states {
            let desired = Arc::new(desired);
            let budget = if small { 1 } else { BUDGET };
            if interrupted {
                // Only a part leaves before the next change.
                model.hear(&out.next_batch(&desired, 1).octets);
                continue;
            }
            model.touched.clear();
            model.hear(&drain(&mut out, &desired, budget));
            let believed: BTreeMap<_, _> = model.routes.iter().map(|(p, m)| (*p, m.clone())).collect();
            let wanted: BTreeMap<_, _> = desired
                .iter()
                .map(|(p, a)| (*p, a.med.unwrap().to_be_bytes().to_vec()))
                .collect();
            prop_assert_eq!(believed, wanted);
            prop_assert_eq!(out.announced(), desired.len());
            prop_assert!(drain(&mut out, &desired, budget).is_empty(), "nothing is said twice");
            prop_assert!(drain(&mut out, &Arc::new((*desired).clone()), budget).is_empty(), "equal values are equal");
        }
    }

    #[test]
    fn unchanged_routes_are_left_alone(routes in arb_routes(), more in arb_routes()) {
        let mut out = AdjRibOut::new(outbound(false));
        let mut model = Model::default();
        model.hear(&drain(&mut out, &Arc::new(routes.clone()), BUDGET));
        model.touched.clear();
        model.hear(&drain(&mut out, &Arc::new(more.clone()), BUDGET));
        let differing: BTreeSet<_> = routes
            .keys()
            .chain(more.keys())
            .filter(|prefix| routes.get(prefix) != more.get(prefix))
            .copied()
            .collect();
        prop_assert_eq!(model.touched, differing);
    }
}

#[test]
fn withdrawals_come_first_and_equal_attributes_share_an_update() {
    let mut out = AdjRibOut::new(outbound(false));
    let old: Routes = [(net("203.0.113.1/32"), RouteAttributes::default())].into();
    drain(&mut out, &Arc::new(old), BUDGET);
    let new: Routes =
        (0..200).map(|i| (net(&format!("198.51.100.{i}/32")), RouteAttributes::default())).collect();
    let batch = out.next_batch(&Arc::new(new), BUDGET);
    let updates = updates(&batch.octets, false);
    assert_eq!(updates.len(), 2, "one withdraws, one announces");
    assert_eq!(updates[0].0, [Route::Withdrawn(net("203.0.113.1/32"))]);
    assert_eq!(updates[1].0.len(), 200);
}

#[test]
fn end_of_rib_follows_the_first_complete_round_once() {
    let mut out = AdjRibOut::new(outbound(false));
    let routes = |count: u32| -> Arc<Routes> {
        Arc::new(
            (0..count)
                .map(|i| (net(&format!("10.0.{}.{}/32", i / 256, i % 256)), RouteAttributes::default()))
                .collect(),
        )
    };
    let many = routes(2000);
    let first = out.next_batch(&many, 1);
    assert!(first.end_of_rib.is_empty(), "the round is not complete");
    let mut markers = Vec::new();
    loop {
        let batch = out.next_batch(&many, 1);
        if batch.octets.is_empty() {
            break;
        }
        markers.extend(batch.end_of_rib);
    }
    assert_eq!(markers, [Family::V4, Family::V6]);
    assert!(out.next_batch(&routes(3), BUDGET).end_of_rib.is_empty());
}

#[test]
fn a_refresh_repeats_its_family_only_and_still_withdraws() {
    let mut out = AdjRibOut::new(outbound(false));
    let both: Routes = ["198.51.100.1/32", "198.51.100.2/32", "2001:db8:1::/64"]
        .map(|prefix| (net(prefix), RouteAttributes::default()))
        .into();
    drain(&mut out, &Arc::new(both.clone()), BUDGET);
    out.refresh(Family::V4);
    let mut fewer = both;
    fewer.remove(&net("198.51.100.2/32"));
    let heard = updates(&drain(&mut out, &Arc::new(fewer), BUDGET), false);
    let routes: Vec<_> = heard.into_iter().flat_map(|(routes, _)| routes).collect();
    assert_eq!(routes, [Route::Withdrawn(net("198.51.100.2/32")), Route::Announced(net("198.51.100.1/32"))]);
}

#[test]
fn what_cannot_be_sent_is_withheld_with_its_reason() {
    let prefix = net("2001:db8:1::/64");
    let routes: Arc<Routes> = Arc::new([(prefix, RouteAttributes::default())].into());
    type Change = Box<dyn Fn(&mut Outbound)>;
    let cases: [(&str, Change, Withheld); 3] = [
        (
            "off",
            Box::new(|o| {
                o.offered.remove(&Family::V6);
            }),
            Withheld::FamilyNotConfigured(Family::V6),
        ),
        (
            "refused",
            Box::new(|o| {
                o.families.remove(&Family::V6);
            }),
            Withheld::FamilyNotOffered(Family::V6),
        ),
        ("no address", Box::new(|o| o.local.v6 = None), Withheld::NoNextHop(Family::V6)),
    ];
    for (what, change, reason) in cases {
        let mut outbound = outbound(false);
        change(&mut outbound);
        let mut out = AdjRibOut::new(outbound);
        let octets = drain(&mut out, &routes, BUDGET);
        assert!(updates(&octets, false).iter().all(|(routes, _)| routes.is_empty()), "{what}");
        assert_eq!(out.withheld(), &BTreeMap::from([(reason, 1)]), "{what}");
    }
}

#[test]
fn attributes_too_long_for_a_message_take_the_route_back() {
    let prefix = net("198.51.100.1/32");
    let mut out = AdjRibOut::new(outbound(false));
    drain(&mut out, &Arc::new([(prefix, RouteAttributes::default())].into()), BUDGET);
    let communities = (0..1200).map(|i| Community::Standard(1, i)).collect();
    let long: Routes = [(prefix, RouteAttributes { communities, ..RouteAttributes::default() })].into();
    let heard = updates(&drain(&mut out, &Arc::new(long), BUDGET), false);
    assert_eq!(heard[0].0, [Route::Withdrawn(prefix)]);
    assert_eq!(out.withheld().get(&Withheld::AttributesTooLong(Family::V4)), Some(&1));
}

#[test]
fn internal_peers_get_local_preference_and_no_path_others_the_reverse() {
    let route = RouteAttributes { local_pref: Some(217), prepend: 2, ..RouteAttributes::default() };
    let routes: Arc<Routes> = Arc::new([(net("198.51.100.1/32"), route)].into());
    let contains = |octets: &[u8], part: &[u8]| octets.windows(part.len()).any(|w| w == part);
    let local_pref = [0x40, 5, 4, 0, 0, 0, 217];
    let ours = 64513_u32.to_be_bytes();
    let path = [&[0x40, 2, 14, 2, 3][..], &ours, &ours, &ours].concat();
    let internal = AdjRibOut::new(outbound(true)).next_batch(&routes, BUDGET).octets;
    assert!(contains(&internal, &local_pref) && contains(&internal, &[0x40, 2, 0]), "{internal:x?}");
    let external = AdjRibOut::new(outbound(false)).next_batch(&routes, BUDGET).octets;
    assert!(!contains(&external, &[0x40, 5]) && contains(&external, &path), "{external:x?}");
}

#[test]
fn next_hops_follow_the_session_and_the_policy() {
    let six: IpAddr = "2001:db8::5".parse().unwrap();
    let v4 = net("198.51.100.1/32");
    let fixed =
        |address| RouteAttributes { next_hop: NextHopPolicy::Address(address), ..RouteAttributes::default() };
    let routes: Arc<Routes> = Arc::new([(v4, fixed(six))].into());
    let mut out = AdjRibOut::new(outbound(false));
    drain(&mut out, &routes, BUDGET);
    assert_eq!(out.withheld().get(&Withheld::NoNextHop(Family::V4)), Some(&1), "IPv6 hop, not agreed");
    let mut out = AdjRibOut::new(Outbound { extended_next_hop: true, ..outbound(false) });
    let heard = updates(&drain(&mut out, &routes, BUDGET), false);
    assert_eq!(heard[0].0, [Route::Announced(v4)]);
    assert!(
        heard[0].1.windows(4).any(|w| w == [0, 1, 1, 16]),
        "RFC 8950: IPv4 unicast with 16 octets of next hop"
    );
}
