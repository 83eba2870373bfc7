//! Group `addresses`, without a cluster: what deciding costs by itself.
//!
//! The allocator alone, and the controller's whole state machine with an API server
//! that answers at once. What both have in common is that their cost must not follow the
//! number of Services nor the size of a pool, so the rivals here are the same calls with fewer
//! Services and with another pool.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clarion_alloc::{Allocator, Claim, Eligible, Families, PoolSpec, Port, Protocol, Request, Wish};
use clarion_api::{IPAddressPool, IPAddressPoolSpec};
use clarion_controller::index::{Change, ConfigEdit, Edit};
use clarion_controller::planner::StatusWrite;
use clarion_controller::service::ServiceView;
use clarion_controller::state::{State, Written};
use clarion_controller::writer;
use clarion_core::{Family, PoolName, ServiceKey};
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use crate::{Bar, Row, Rows};

/// Services that hold an address where there are many.
const MANY: usize = 1_000_000;
/// Addresses freed, one after the other.
const FREED: usize = 1_000;
/// Calls timed together: a clock read costs as much as a call.
const BATCH: usize = 1_000;
/// Batches where a row repeats one call.
const BATCHES: usize = 50;
/// Services in the controller, and those that wait.
const SERVICES: usize = 10_000;

/// Measures.
///
/// # Errors
/// When an address is refused that is there.
pub fn run(rows: &mut Rows) -> Result<()> {
    let row = |name, unit, samples: &[f64]| Row::new("addresses", name, unit, samples);

    let mut slash8 = pools(&hundredths());
    let names: Vec<_> = slash8.counters().map(|(name, _)| name.clone()).collect();
    let rates = fill(&mut slash8, &request(Family::V4, names), MANY)?;
    rows.push(row("allocator alone, a /8 in 100 pools", "1/s", &rates).bar(Bar::AtLeast(500_000.0)));

    let one_pool = |range: &str, family| {
        let mut allocator = pools(&[range.to_owned()]);
        let request = request(family, vec!["p0".into()]);
        fill(&mut allocator, &request, MANY).map(|_| one_more(&mut allocator, &request, MANY))
    };
    let (in_8, in_64) = (one_pool("10.0.0.0/8", Family::V4)?, one_pool("2001:db8::/64", Family::V6)?);
    let name = "one more with 1,000,000 in use, a /64";
    rows.push(row(name, "µs", &in_64).versus("a /8", &in_8).bar(Bar::RatioAtMost(1.5)));

    let (few, many) = (freed(10)?, freed(SERVICES)?);
    let name = "a freed address to its next holder, 10,000 waiting";
    rows.push(row(name, "µs", &many).versus("10 waiting", &few));

    let own = own_time(SERVICES)?;
    rows.push(row("controller's own time a Service, 10,000 of them", "µs", &own).bar(Bar::AtMost(100.0)));
    Ok(())
}

/// 10.0.0.0/8 in a hundred ranges.
fn hundredths() -> Vec<String> {
    let size = (1_u32 << 24) / 100;
    let at = |n: u32| std::net::Ipv4Addr::from((10 << 24) + n);
    (0..100).map(|i| format!("{}-{}", at(i * size), at((i + 1) * size - 1))).collect()
}

/// A pool for each range.
fn pools(ranges: &[String]) -> Allocator {
    let spec = |(i, range): (usize, &String)| {
        let ranges = range.parse().into_iter().collect();
        PoolSpec { name: PoolName::new(format!("p{i}")), ranges, exclude: vec![], avoid_buggy_ips: false }
    };
    let mut allocator = Allocator::new();
    allocator.set_pools(ranges.iter().enumerate().map(spec).collect());
    allocator
}

fn request(family: Family, pools: Vec<PoolName>) -> Request {
    let compatible: BTreeSet<PoolName> = pools.iter().cloned().collect();
    let ports = [Port { protocol: Protocol::Tcp, number: 80 }].into();
    Request {
        families: Families::One(family),
        wish: Wish::Any,
        claim: Arc::new(Claim { ports, ..Claim::default() }),
        eligible: Arc::new(Eligible { compatible, pinned: vec![], common: pools }),
        created_s: 0,
        set_aside: BTreeMap::new(),
    }
}

fn key(number: usize) -> ServiceKey {
    ServiceKey::new(format!("team-{}", number % 100), format!("service-{number}"))
}

/// Gives `number` Services an address. Allocations per second, batch by batch.
fn fill(allocator: &mut Allocator, request: &Request, number: usize) -> Result<Vec<f64>> {
    let mut rates = Vec::with_capacity(number / BATCH);
    for batch in 0..number / BATCH {
        let keys: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(key).collect();
        let begin = Instant::now();
        for key in &keys {
            let decision = allocator.decide(key, request);
            ensure!(decision.outcome.grant().is_some(), "{key}: {:?}", decision.outcome);
        }
        rates.push(BATCH as f64 / begin.elapsed().as_secs_f64());
    }
    Ok(rates)
}

/// Microseconds to give one more Service an address, somewhere among `in_use`, and take it
/// back.
fn one_more(allocator: &mut Allocator, request: &Request, in_use: usize) -> Vec<f64> {
    let batch = |batch: usize| {
        let keys: Vec<_> = (0..BATCH).map(|i| key(in_use + batch * BATCH + i)).collect();
        let begin = Instant::now();
        for key in &keys {
            black_box(allocator.decide(key, request));
            black_box(allocator.release(key));
        }
        begin.elapsed().as_secs_f64() * 1e6 / BATCH as f64
    };
    (0..BATCHES).map(batch).collect()
}

/// Microseconds from a freed address to its next holder, in a full pool with `waiting`
/// Services for it.
///
/// # Errors
/// When anybody but the one next in turn is woken.
fn freed(waiting: usize) -> Result<Vec<f64>> {
    let mut allocator = pools(&["10.0.0.0/22".to_owned()]);
    let request = request(Family::V4, vec!["p0".into()]);
    for number in 0..1024 + waiting {
        allocator.decide(&key(number), &request);
    }
    ensure!(allocator.take_woken().is_empty(), "nothing is free and somebody is woken");
    let mut samples = Vec::with_capacity(FREED);
    let mut holders: std::collections::VecDeque<_> = (0..1024).map(key).collect();
    for turn in 0..FREED {
        let leaver = holders.pop_front().context("nobody holds an address")?;
        let begin = Instant::now();
        allocator.release(&leaver);
        let woken = allocator.take_woken();
        let [next] = woken.as_slice() else { anyhow::bail!("one address, {} woken", woken.len()) };
        black_box(allocator.decide(next, &request));
        ensure!(allocator.take_woken().is_empty(), "the address is given away, and somebody is woken for it");
        samples.push(begin.elapsed().as_secs_f64() * 1e6);
        holders.push_back(next.clone());
        // As many wait as before.
        allocator.decide(&key(1_000_000 + turn), &request);
    }
    Ok(samples)
}

/// Microseconds of the controller for each of `number` new Services: reading the object,
/// index, plan, the patch's text, the write's result, and what the watch tells of it
/// afterwards. No IO.
///
/// # Errors
/// When a Service gets no address.
fn own_time(number: usize) -> Result<Vec<f64>> {
    const TOGETHER: usize = 32;
    let mut state = leading();
    let mut samples = Vec::with_capacity(number / TOGETHER);
    for batch in 0..number / TOGETHER {
        let objects: Vec<Service> =
            (0..TOGETHER).map(|i| object(batch * TOGETHER + i)).collect::<Result<_>>()?;
        let begin = Instant::now();
        for object in &objects {
            let view = ServiceView::read(object, None).context("it is no load balancer")?;
            state.handle(Change::Service(Edit::Apply(view.key.clone(), Arc::new(view))));
        }
        let mut writes = Vec::with_capacity(TOGETHER);
        while let Some((_, plan)) = state.next(begin) {
            let write = plan.write.context("nothing to write for a new Service")?;
            black_box(writer::payload(&write).to_string());
            black_box(plan.sayings);
            writes.push(write);
        }
        let decided = begin.elapsed();
        ensure!(writes.len() == TOGETHER, "{} writes for {TOGETHER} Services", writes.len());
        let answers: Vec<Service> = std::iter::zip(&objects, &writes).map(|(o, w)| stored(o, w)).collect();
        let begin = Instant::now();
        for (write, answer) in std::iter::zip(&writes, &answers) {
            let view = ServiceView::read(answer, None).map(Arc::new);
            state.written(&write.key, Written::Done(view), begin);
        }
        for answer in &answers {
            let view = ServiceView::read(answer, None).context("it is no load balancer")?;
            state.handle(Change::Service(Edit::Apply(view.key.clone(), Arc::new(view))));
        }
        ensure!(state.next(begin).is_none(), "what is written is planned again");
        samples.push((decided + begin.elapsed()).as_secs_f64() * 1e6 / TOGETHER as f64);
    }
    Ok(samples)
}

/// The controller, leading, with one pool and no Services.
fn leading() -> State {
    let mut state = State::new("metallb-system");
    let spec = IPAddressPoolSpec {
        addresses: vec!["10.0.0.0/8".to_owned()],
        auto_assign: true,
        ..IPAddressPoolSpec::default()
    };
    let mut pool = IPAddressPool::new("pool", spec);
    pool.metadata.namespace = Some("metallb-system".into());
    ConfigEdit::nothing().into_iter().for_each(|edit| state.handle(Change::Config(edit)));
    for change in [
        Change::Service(Edit::Reset(BTreeMap::new())),
        Change::Namespace(Edit::Reset(BTreeMap::new())),
        Change::Config(ConfigEdit::Pool(Edit::Reset([("pool".to_owned(), Arc::new(pool))].into()))),
    ] {
        state.handle(change);
    }
    state.lead(true);
    state
}

/// A Service as the API server has it.
fn object(number: usize) -> Result<Service> {
    let key = key(number);
    let object = json!({
        "metadata": {
            "namespace": key.namespace(), "name": key.name(), "uid": format!("uid-{number}"),
            "resourceVersion": number.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/name": key.name()},
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "https", "port": 443, "protocol": "TCP"}],
            "selector": {"app.kubernetes.io/name": key.name()},
        },
        "status": {"loadBalancer": {}},
    });
    Ok(serde_json::from_value(object)?)
}

/// The same once the write is stored.
fn stored(object: &Service, write: &StatusWrite) -> Service {
    use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, ServiceStatus};
    let mut stored = object.clone();
    let ingress = |ip: std::net::IpAddr| LoadBalancerIngress {
        ip: Some(ip.to_string()),
        ip_mode: Some("VIP".into()),
        ..LoadBalancerIngress::default()
    };
    let balancer = LoadBalancerStatus { ingress: Some(write.addresses.iter().map(ingress).collect()) };
    stored.status = Some(ServiceStatus { load_balancer: Some(balancer), ..ServiceStatus::default() });
    stored.metadata.resource_version = Some(format!("{}-written", write.resource_version));
    let pool = write.pool.as_ref().map(|pool| pool.as_str().to_owned()).unwrap_or_default();
    let annotations = stored.metadata.annotations.get_or_insert_default();
    annotations.insert("metallb.io/ip-allocated-from-pool".to_owned(), pool);
    stored
}
