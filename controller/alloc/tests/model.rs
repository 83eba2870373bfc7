//! The allocator against a plain model that walks every address of every pool.
//!
//! Small pools and few Services, so that exhaustion, sharing and collisions are the
//! rule and not the exception.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_alloc::{
    Allocator, Claim, Discord, Eligible, Families, Outcome, PoolSpec, Port, Protocol, Refusal, Request, Wish,
};
use clarion_core::{AddressRange, Family, PoolName, ServiceKey, VipSet};
use proptest::prelude::*;

const POOLS: [&str; 3] = ["a", "b", "c"];
const SERVICES: usize = 7;

#[derive(Debug, Clone)]
enum Op {
    /// Decide on a Service that asks for this.
    Decide(usize, Ask),
    /// Ask again for what the Service asked for last.
    Again(usize),
    /// The Service is deleted.
    Release(usize),
    /// Other pools.
    Pools(Vec<PoolSpec>),
    /// Another process takes over with nothing but the status of the Services, which it
    /// reads in an order that comes of this number.
    Restart(u64),
}

#[derive(Debug, Clone)]
struct Ask {
    families: Families,
    wish: Wish,
    sharing: &'static str,
    backend: &'static str,
    ports: BTreeSet<Port>,
    compatible: BTreeSet<&'static str>,
    /// Those of the compatible pools that are for Services like it.
    pinned: BTreeSet<&'static str>,
    created_s: i64,
}

/// Ranges of which no two overlap, whichever are chosen.
const RANGES: [&str; 8] = [
    "192.0.2.254-192.0.3.1",
    "192.0.4.0/31",
    "192.0.4.2/32",
    "192.0.5.5-192.0.5.7",
    "2001:db8::/127",
    "2001:db8::10/128",
    "2001:db8::ff-2001:db8::101",
    "2001:db8:1::/126",
];

/// Of some of them nothing is left, or a hole is in the middle.
const EXCLUDED: [&str; 4] =
    ["192.0.3.0/32", "192.0.5.6-192.0.6.255", "2001:db8::10/127", "2001:db8:1::1/128"];

fn pools() -> impl Strategy<Value = Vec<PoolSpec>> {
    // Each range goes to one pool or, so that addresses are scarce, to none.
    let owners = prop::collection::vec(0..=2 * POOLS.len(), RANGES.len());
    let avoid = prop::collection::vec(any::<bool>(), POOLS.len());
    let exclude = prop::collection::vec(prop::sample::subsequence(EXCLUDED.to_vec(), 0..3), POOLS.len());
    (owners, avoid, exclude).prop_map(|(owners, avoid, exclude)| {
        POOLS
            .iter()
            .enumerate()
            .map(|(i, name)| PoolSpec {
                name: PoolName::from(*name),
                ranges: std::iter::zip(&owners, RANGES)
                    .filter(|(owner, _)| **owner == i)
                    .map(|(_, range)| range.parse().unwrap())
                    .collect(),
                exclude: exclude[i].iter().map(|range| range.parse().unwrap()).collect(),
                avoid_buggy_ips: avoid[i],
            })
            .filter(|pool| !pool.ranges.is_empty())
            .collect()
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let families = prop_oneof![
        Just(Families::One(Family::V4)),
        Just(Families::One(Family::V6)),
        Just(Families::Both),
        Just(Families::Prefer { first: Family::V4 }),
        Just(Families::Prefer { first: Family::V6 }),
    ];
    let some_address =
        |texts: [&'static str; 4]| prop::sample::select(texts.map(|t| t.parse::<IpAddr>().unwrap()).to_vec());
    let v4 = some_address(["192.0.2.255", "192.0.4.1", "192.0.5.5", "198.51.100.1"]);
    let v6 = some_address(["2001:db8::", "2001:db8::10", "2001:db8:1::3", "2001:db8:ffff::"]);
    let pool = prop::sample::select(vec!["a", "b", "c", "unknown"]).prop_map(PoolName::from);
    let wish = prop_oneof![
        4 => Just(Wish::Any),
        1 => pool.clone().prop_map(Wish::Pool),
        2 => (prop::option::of(v4), prop::option::of(v6), prop::option::weighted(0.3, pool)).prop_filter_map(
            "an address", |(v4, v6, pool)| {
                let addresses = VipSet::from_addresses(v4.into_iter().chain(v6))?;
                (!addresses.is_empty()).then_some(Wish::Addresses { addresses, pool })
            }),
        1 => Just(Wish::read("nonsense", "", "")),
    ];
    (
        families,
        wish,
        prop::sample::select(vec!["", "k", "k", "l"]),
        prop::sample::select(vec!["", "", "", "app=x"]),
        prop::collection::btree_set(port(), 1..3),
        prop::collection::btree_set(prop::sample::select(POOLS.to_vec()), 1..4),
        prop::collection::btree_set(prop::sample::select(POOLS.to_vec()), 0..3),
        0..3_i64,
    )
        .prop_map(|(families, wish, sharing, backend, ports, compatible, pinned, created_s)| Ask {
            families,
            wish,
            sharing,
            backend,
            ports,
            compatible,
            pinned,
            created_s,
        })
}

fn port() -> impl Strategy<Value = Port> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    (protocol, 80u16..83).prop_map(|(protocol, number)| Port { protocol, number })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..SERVICES, ask()).prop_map(|(service, ask)| Op::Decide(service, ask)),
        3 => (0..SERVICES).prop_map(Op::Again),
        3 => (0..SERVICES).prop_map(Op::Release),
        1 => pools().prop_map(Op::Pools),
        1 => any::<u64>().prop_map(Op::Restart),
    ]
}

impl Ask {
    fn request(&self) -> Request {
        let names = || self.compatible.iter().map(|name| PoolName::from(*name));
        let pinned = |name: &PoolName| self.pinned.contains(name.as_str());
        Request {
            families: self.families,
            wish: self.wish.clone(),
            claim: Arc::new(Claim {
                sharing: self.sharing.to_owned(),
                backend: self.backend.to_owned(),
                ports: self.ports.clone(),
            }),
            eligible: Arc::new(Eligible {
                compatible: names().collect(),
                pinned: names().filter(pinned).collect(),
                common: names().filter(|name| !pinned(name)).collect(),
            }),
            created_s: self.created_s,
            set_aside: BTreeMap::new(),
        }
    }
}

/// What anybody can see: pools and who holds what. No gaps, no index.
#[derive(Default)]
struct Model {
    pools: Vec<PoolSpec>,
    held: BTreeMap<ServiceKey, (VipSet, Arc<Claim>)>,
}

impl Model {
    fn usable(pool: &PoolSpec, address: IpAddr) -> bool {
        let buggy = matches!(address, IpAddr::V4(a) if matches!(a.octets()[3], 0 | 255));
        let excluded = pool.exclude.iter().any(|r| r.contains(address));
        let barred = excluded || (buggy && pool.avoid_buggy_ips);
        !barred && pool.ranges.iter().any(|r| r.contains(address))
    }

    fn may_share(one: &Claim, other: &Claim) -> bool {
        !one.sharing.is_empty()
            && one.sharing == other.sharing
            && one.backend == other.backend
            && one.ports.is_disjoint(&other.ports)
    }

    fn free_for(&self, key: &ServiceKey, address: IpAddr, claim: &Claim) -> bool {
        self.held
            .iter()
            .filter(|(holder, (addresses, _))| *holder != key && addresses.iter().any(|a| a == address))
            .all(|(_, (_, other))| Self::may_share(claim, other))
    }

    fn walk(range: AddressRange) -> impl Iterator<Item = IpAddr> {
        range.prefixes().into_iter().flat_map(|prefix| {
            // The pools of this test are a few addresses large.
            let all: Vec<IpAddr> = match prefix {
                ipnet::IpNet::V4(net) => (u32::from(net.network())..=u32::from(net.broadcast()))
                    .map(|n| IpAddr::from(n.to_be_bytes()))
                    .collect(),
                ipnet::IpNet::V6(net) => (u128::from(net.network())..=u128::from(net.broadcast()))
                    .map(|n| IpAddr::from(n.to_be_bytes()))
                    .collect(),
            };
            all
        })
    }

    fn first_free(&self, key: &ServiceKey, pool: &PoolName, family: Family, claim: &Claim) -> Option<IpAddr> {
        let pool = self.pools.iter().find(|p| p.name == *pool)?;
        pool.ranges
            .iter()
            .filter(|range| range.family() == family)
            .flat_map(|range| Self::walk(*range))
            .find(|address| Self::usable(pool, *address) && self.free_for(key, *address, claim))
    }

    fn choice(
        &self,
        key: &ServiceKey,
        pool: &PoolName,
        wanted: &[Family],
        claim: &Claim,
    ) -> Option<(VipSet, PoolName)> {
        let found: Option<Vec<_>> = wanted.iter().map(|f| self.first_free(key, pool, *f, claim)).collect();
        Some((VipSet::from_addresses(found?)?, pool.clone()))
    }

    /// What a Service that holds nothing should get for [`Wish::Any`] and [`Wish::Pool`].
    fn expected(&self, key: &ServiceKey, request: &Request) -> Option<(VipSet, PoolName)> {
        let tiers = match &request.wish {
            Wish::Any => [request.eligible.pinned.clone(), request.eligible.common.clone()],
            Wish::Pool(pool) if request.eligible.compatible.contains(pool) => [vec![pool.clone()], vec![]],
            _ => [vec![], vec![]],
        };
        let both = vec![Family::V4, Family::V6];
        let orders: Vec<Vec<Family>> = match request.families {
            Families::One(family) => vec![vec![family]],
            Families::Both => vec![both],
            Families::Prefer { first } => vec![both, vec![first], vec![other(first)]],
        };
        tiers.iter().find_map(|pools| {
            orders.iter().find_map(|wanted| {
                pools.iter().find_map(|pool| self.choice(key, pool, wanted, &request.claim))
            })
        })
    }

    /// What a Service keeps rather than the one address that it would get, after both of its
    /// addresses together are not allowed any longer.
    fn remaining(&self, key: &ServiceKey, before: VipSet, request: &Request) -> Option<(VipSet, PoolName)> {
        let Families::Prefer { first } = request.families else { return None };
        [first, other(first)].into_iter().find_map(|family| {
            let address = before.get(family).filter(|_| before.iter().count() == 2)?;
            let pool = self.pools.iter().find(|pool| Self::usable(pool, address))?;
            let asked = !matches!(&request.wish, Wish::Pool(wanted) if *wanted != pool.name);
            let fits = asked && request.eligible.compatible.contains(&pool.name);
            let alone = self.first_free(key, &pool.name, other(family), &request.claim).is_none();
            (fits && alone && self.free_for(key, address, &request.claim))
                .then(|| (VipSet::from_addresses([address]).unwrap(), pool.name.clone()))
        })
    }
}

fn other(family: Family) -> Family {
    if family == Family::V4 { Family::V6 } else { Family::V4 }
}

fn key(service: usize) -> ServiceKey {
    ServiceKey::new("ns", format!("s{service}"))
}

/// Decides, compares with the model, and writes down what is held now.
fn decide(
    allocator: &mut Allocator,
    model: &mut Model,
    service: &ServiceKey,
    request: &Request,
) -> Result<(), TestCaseError> {
    let before = model.held.get(service).map(|(addresses, _)| *addresses);
    let decision = allocator.decide(service, request);
    if let Some(cleared) = &decision.cleared {
        prop_assert_eq!(Some(cleared.addresses), before);
    }
    if before.is_none() || decision.cleared.is_some() {
        model.held.remove(service);
        if matches!(request.wish, Wish::Any | Wish::Pool(_)) {
            let got = decision.outcome.grant().map(|grant| (grant.addresses, grant.pool.clone()));
            let mut expected = model.expected(service, request);
            if expected.as_ref().is_some_and(|(addresses, _)| addresses.iter().count() == 1) {
                expected = model.remaining(service, before.unwrap_or_default(), request).or(expected);
            }
            prop_assert_eq!(got, expected, "{:?}", decision);
        }
    }
    if let Outcome::Refused(why) = &decision.outcome {
        prop_assert!(!why.to_string().is_empty());
    }
    if let Some(grant) = decision.outcome.grant() {
        let pool =
            model.pools.iter().find(|p| p.name == grant.pool).expect("granted from a pool that exists");
        prop_assert!(grant.addresses.iter().all(|a| Model::usable(pool, a)), "outside its pool: {:?}", grant);
        prop_assert!(request.eligible.compatible.contains(&grant.pool), "not for this Service: {:?}", grant);
        if let (Wish::Addresses { addresses, .. }, Outcome::Assigned(grant)) =
            (&request.wish, &decision.outcome)
        {
            prop_assert_eq!(*addresses, grant.addresses);
        }
        model.held.insert(service.clone(), (grant.addresses, Arc::clone(&request.claim)));
    } else {
        model.held.remove(service);
    }
    let again = allocator.decide(service, request);
    prop_assert_eq!(again.outcome.grant(), decision.outcome.grant(), "asking again changes nothing");
    prop_assert_eq!(again.cleared, None);
    Ok(())
}

fn check(allocator: &Allocator, model: &Model) -> Result<(), TestCaseError> {
    let held: BTreeMap<ServiceKey, (VipSet, Arc<Claim>)> =
        allocator.holdings().map(|(k, h)| (k.clone(), (h.addresses, Arc::clone(&h.claim)))).collect();
    prop_assert_eq!(&held, &model.held);
    for (one, (addresses, claim)) in &held {
        for address in addresses.iter() {
            prop_assert!(model.free_for(one, address, claim), "{} twice: {:?}", address, held);
            prop_assert!(allocator.holders(address).any(|holder| holder == one));
        }
    }
    for (name, counters) in allocator.counters() {
        let pool = model.pools.iter().find(|p| p.name == *name).expect("a pool that exists");
        let all: BTreeSet<IpAddr> =
            pool.ranges.iter().flat_map(|r| Model::walk(*r)).filter(|a| Model::usable(pool, *a)).collect();
        let used: BTreeSet<IpAddr> =
            held.values().flat_map(|(a, _)| a.iter()).filter(|a| Model::usable(pool, *a)).collect();
        let count = |family: Family| {
            let of = |set: &BTreeSet<IpAddr>| {
                i64::try_from(set.iter().filter(|a| Family::of(**a) == family).count())
            };
            (of(&used).unwrap(), of(&all).unwrap() - of(&used).unwrap())
        };
        prop_assert_eq!((counters.assigned_v4, counters.available_v4), count(Family::V4));
        prop_assert_eq!((counters.assigned_v6, counters.available_v6), count(Family::V6));
    }
    Ok(())
}

/// Decides on everybody who is woken, until nobody is. Whoever is woken alone gets something.
fn wake(
    allocator: &mut Allocator,
    model: &mut Model,
    asked: &BTreeMap<ServiceKey, Request>,
) -> Result<(), TestCaseError> {
    for _ in 0..100 {
        let woken = allocator.take_woken();
        if woken.is_empty() {
            return Ok(());
        }
        for service in &woken {
            let request = asked.get(service).expect("nobody is woken who is gone");
            let before = model.held.get(service).map(|(addresses, _)| *addresses);
            decide(allocator, model, service, request)?;
            let after = model.held.get(service).map(|(addresses, _)| *addresses);
            prop_assert!(woken.len() > 1 || before != after, "{} was woken for nothing", service);
        }
    }
    prop_assert!(false, "they wake each other without end");
    Ok(())
}

/// Who has been decided on has what he can have: nobody waits for what is there.
fn quiet(
    allocator: &mut Allocator,
    model: &Model,
    asked: &BTreeMap<ServiceKey, Request>,
) -> Result<(), TestCaseError> {
    for (service, request) in asked {
        let held = model.held.get(service).map(|(addresses, _)| *addresses);
        let decision = allocator.decide(service, request);
        let has = decision.outcome.grant().map(|grant| grant.addresses);
        prop_assert_eq!(has, held, "{} had to ask again: {:?}", service, decision);
        prop_assert_eq!(decision.cleared, None);
    }
    prop_assert_eq!(allocator.take_woken(), vec![]);
    Ok(())
}

/// Another order of the same, by a number.
fn shuffled<T>(items: impl IntoIterator<Item = T>, mut number: u64) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    let mut shuffled = Vec::with_capacity(items.len());
    while !items.is_empty() {
        let at = usize::try_from(number % items.len() as u64).unwrap();
        number = number.rotate_left(7) ^ 0x9e37_79b9;
        shuffled.push(items.swap_remove(at));
    }
    shuffled
}

fn run(first: Vec<PoolSpec>, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let (mut allocator, mut model) = (Allocator::new(), Model::default());
    let mut asked: BTreeMap<ServiceKey, Request> = BTreeMap::new();
    for op in std::iter::once(Op::Pools(first)).chain(ops) {
        match op {
            Op::Decide(service, ask) => {
                let request = ask.request();
                decide(&mut allocator, &mut model, &key(service), &request)?;
                asked.insert(key(service), request);
            }
            Op::Again(service) => {
                if let Some(request) = asked.get(&key(service)) {
                    decide(&mut allocator, &mut model, &key(service), request)?;
                }
            }
            Op::Release(service) => {
                let released = allocator.release(&key(service)).map(|h| h.addresses);
                prop_assert_eq!(released, model.held.remove(&key(service)).map(|(addresses, _)| addresses));
                asked.remove(&key(service));
            }
            Op::Pools(pools) => {
                allocator.set_pools(pools.clone());
                model.pools = pools;
                check(&allocator, &model)?;
                for (service, request) in &asked {
                    decide(&mut allocator, &mut model, service, request)?;
                }
            }
            Op::Restart(order) => {
                let mut fresh = Allocator::new();
                fresh.set_pools(model.pools.clone());
                // In any order: what is lawful together is lawful one by one.
                for (service, (addresses, claim)) in shuffled(&model.held, order) {
                    prop_assert_eq!(fresh.recover(service, *addresses, claim), Ok(()));
                }
                allocator = fresh;
                for (service, request) in shuffled(&asked, order) {
                    let held = model.held.get(service).map(|(addresses, _)| *addresses);
                    decide(&mut allocator, &mut model, service, request)?;
                    let now = model.held.get(service).map(|(addresses, _)| *addresses);
                    prop_assert_eq!(held, now, "{} has moved", service);
                }
            }
        }
        check(&allocator, &model)?;
        wake(&mut allocator, &mut model, &asked)?;
        quiet(&mut allocator, &model, &asked)?;
        check(&allocator, &model)?;
    }
    Ok(())
}

/// Operations of one case, on average.
const OPERATIONS: usize = 50;

/// A million operations and more with CLARION_LONG (`cargo xtask test --long`).
fn cases() -> u32 {
    if std::env::var_os("CLARION_LONG").is_some() { 24_000 } else { 1_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]
    #[test]
    fn the_allocator_does_what_the_plain_model_does(
        first in pools(),
        ops in prop::collection::vec(op(), 0..=2 * OPERATIONS),
    ) {
        run(first, ops)?;
    }
}

#[test]
fn an_address_that_another_holds_is_not_recovered_twice() {
    let mut allocator = Allocator::new();
    let one = VipSet::from_addresses(["192.0.2.1".parse().unwrap()]).unwrap();
    allocator.recover(&key(1), one, &Arc::default()).unwrap();
    let refusal = allocator.recover(&key(2), one, &Arc::default()).unwrap_err();
    let (address, holders) = ("192.0.2.1".parse().unwrap(), vec![key(1)]);
    assert_eq!(refusal, Refusal::SharingKey { service: key(2), address, holders, why: Discord::Theirs });
    assert_eq!(allocator.holding(&key(2)), None);
}
