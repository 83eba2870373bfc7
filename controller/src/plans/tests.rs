//! From what watches tell to the objects that are written, without an API server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_api::{OwnerPlan, SHARD};
use clarion_config::{Config, L2Advertisement, Plans, Pool};
use clarion_core::{LabelSelector, Labels, NodeName, OwnerList, PoolName, ServiceKey, VipSet};
use clarion_placement::{Now, Rebalance, Settings};
use serde_json::{Value, json};

use super::{Action, Feed, Planning, Stored, Wrote};
use crate::placement::{NodeView, Slice, World};
use crate::service::ServiceView;
use clarion_daemon::watch::Edit;

/// The world, the plan, and an API server that has whatever is written.
struct Bench {
    world: World,
    planning: Planning,
    stored: BTreeMap<String, OwnerPlan>,
    writes: usize,
    seconds: u64,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn node(pairs: &[(&str, &str)]) -> Arc<NodeView> {
    Arc::new(NodeView { labels: labels(pairs), ready: true, ..NodeView::default() })
}

fn config(advertisements: Vec<L2Advertisement>) -> Arc<Config> {
    let pool = |name: &str, range: &str| Pool {
        name: PoolName::new(name),
        labels: Labels::new(),
        ranges: vec![range.parse().unwrap()],
        exclude: vec![],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    };
    let pools = [pool("lan", "192.0.2.0/24"), pool("lan6", "2001:db8::/64"), pool("wide", "10.0.0.0/16")];
    Arc::new(Config {
        pools: pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect(),
        l2: advertisements.into_iter().map(|a| (a.name.clone(), a)).collect(),
        ..Config::default()
    })
}

fn all() -> L2Advertisement {
    L2Advertisement { name: "all".to_owned(), ..L2Advertisement::default() }
}

fn service(name: &str, spec: &Value, annotations: &Value, addresses: &[&str]) -> Arc<ServiceView> {
    let ingress: Vec<_> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    let mut spec = spec.clone();
    spec["type"] = json!("LoadBalancer");
    spec["clusterIPs"] = json!(["10.96.0.1"]);
    let object = json!({
        "metadata": {"namespace": "ns", "name": name, "annotations": annotations},
        "spec": spec, "status": {"loadBalancer": {"ingress": ingress}},
    });
    Arc::new(ServiceView::read(&serde_json::from_value(object).unwrap(), None).unwrap())
}

fn plain(name: &str, addresses: &[&str]) -> Arc<ServiceView> {
    service(name, &json!({}), &json!({}), addresses)
}

fn by_key(services: impl IntoIterator<Item = Arc<ServiceView>>) -> BTreeMap<ServiceKey, Arc<ServiceView>> {
    services.into_iter().map(|service| (service.key.clone(), service)).collect()
}

fn world(services: Vec<Arc<ServiceView>>) -> World {
    let names = ["n1", "n2", "n3"].map(NodeName::from);
    let mut world = World::new(false);
    world.services(Edit::Reset(by_key(services)));
    world.nodes(Edit::Reset(
        names.iter().map(|name| (name.clone(), node(&[("name", name.as_str())]))).collect(),
    ));
    world.agents(Edit::Reset(names.into_iter().map(|name| (name, ())).collect()));
    world.configure(config(vec![all()]));
    world
}

impl Bench {
    fn new(services: Vec<Arc<ServiceView>>) -> Self {
        let mut world = world(services);
        let planning = Planning::start(Settings::default(), &mut world, &[]);
        let mut bench = Self { world, planning, stored: BTreeMap::new(), writes: 0, seconds: 1 };
        bench.settle();
        bench
    }

    /// Plans and writes, until nothing is left to do. The names of what was written.
    fn settle(&mut self) -> BTreeSet<String> {
        assert!(self.world.synced());
        let now = Now { monotonic: Duration::ZERO, unix_ms: self.seconds * 1000 };
        self.seconds += 1;
        self.planning.plan(&mut self.world, now);
        let mut written = BTreeSet::new();
        let now = Instant::now();
        while let Some(write) = self.planning.next(now) {
            let name = write.object.metadata.name.clone().unwrap();
            self.writes += 1;
            written.insert(name.clone());
            let generation = self.stored.get(&name).and_then(|o| o.metadata.generation).unwrap_or(0) + 1;
            let result = match write.action {
                Action::Delete(_) => {
                    self.stored.remove(&name);
                    Wrote::Deleted
                }
                Action::Create | Action::Replace(_) => {
                    let mut object = write.object;
                    object.metadata.generation = Some(generation);
                    object.metadata.resource_version = Some(self.writes.to_string());
                    let stored = Stored::of(&object.metadata);
                    self.stored.insert(name, object);
                    Wrote::Done(stored)
                }
            };
            self.planning.wrote(write.part, write.number, result, now);
        }
        written
    }

    /// Another controller begins, with what is stored.
    fn restart(&mut self) {
        self.restart_with(Settings::default());
    }

    fn restart_with(&mut self, settings: Settings) {
        let stored: Vec<_> = self.stored.values().cloned().collect();
        self.planning = Planning::start(settings, &mut self.world, &stored);
    }

    fn plans(&self) -> Plans {
        let mut plans = Plans::default();
        self.stored.values().for_each(|object| plans.add(object));
        plans
    }

    fn list(&self, address: &str) -> OwnerList {
        let address: IpAddr = address.parse().unwrap();
        self.plans().addresses.get(&address).cloned().unwrap_or_else(|| panic!("{address} is not planned"))
    }

    fn owners(&self, address: &str) -> Vec<String> {
        let mut owners: Vec<_> = self.list(address).owners.iter().map(ToString::to_string).collect();
        owners.sort();
        owners
    }

    fn reason(&self, address: &str) -> String {
        let mut entries = self.stored.values().flat_map(|object| &object.spec.addresses);
        let entry = entries.find(|entry| entry.address == address).unwrap();
        entry.reason.clone().unwrap_or_default()
    }

    fn slice(&mut self, service: &str, nodes: &[&str]) {
        let slice = Slice {
            service: ServiceKey::new("ns", service),
            serving: nodes.iter().map(|name| NodeName::from(*name)).collect(),
        };
        self.world.slices(Edit::Apply(("ns".into(), format!("{service}-x")), Arc::new(slice)));
    }
}

#[test]
fn many_services_share_objects_and_an_address_stays_in_its_own() {
    let services = (0..600_u32).map(|n| plain(&format!("s{n}"), &[&format!("10.0.{}.{}", n / 200, n % 200)]));
    let mut bench = Bench::new(services.collect());
    assert_eq!(bench.stored.len(), 600_usize.div_ceil(SHARD) + 1, "{:?}", bench.stored.keys());
    assert_eq!(bench.writes, bench.stored.len());
    assert_eq!(bench.plans().members[&NodeName::from("n1")].len(), 2);

    bench.world.services(Edit::Delete(ServiceKey::new("ns", "s0")));
    assert_eq!(bench.settle(), ["addresses-0".to_owned()].into());
    bench.world.services(Edit::Apply(ServiceKey::new("ns", "new"), plain("new", &["10.0.9.9"])));
    assert_eq!(bench.settle(), ["addresses-0".to_owned()].into(), "the first with room");
    bench.world.services(Edit::Reset(BTreeMap::new()));
    bench.settle();
    let left: Vec<_> = bench.stored.keys().collect();
    assert_eq!(left, ["members-0"], "the next address finds its voters");
    bench.world.configure(config(vec![]));
    assert!(bench.world.has_changed());
    bench.settle();
    assert_eq!(bench.stored, BTreeMap::new(), "nothing is left behind");
}

#[test]
fn voters_are_there_before_the_first_address() {
    let bench = Bench::new(Vec::new());
    assert_eq!(bench.plans().members.len(), 3);
    assert!(bench.plans().addresses.is_empty());
}

#[test]
fn another_controller_changes_nothing() {
    let mut bench = Bench::new(vec![plain("a", &["192.0.2.1"]), plain("b", &["192.0.2.2", "2001:db8::2"])]);
    let before = bench.stored.clone();
    bench.restart();
    assert_eq!(bench.settle(), BTreeSet::new());
    assert_eq!(bench.stored, before);

    bench.world.services(Edit::Delete(ServiceKey::new("ns", "a")));
    bench.restart();
    assert_eq!(bench.settle(), ["addresses-0".to_owned()].into(), "what went meanwhile goes");
    assert_eq!(bench.plans().addresses.len(), 2);
}

#[test]
fn an_address_in_two_objects_is_read_by_its_epoch_and_written_once() {
    let mut bench = Bench::new(vec![plain("a", &["192.0.2.1"])]);
    let mut twin = bench.stored["addresses-0"].clone();
    twin.metadata.name = Some("addresses-7".to_owned());
    twin.spec.addresses[0].epoch -= 1;
    twin.spec.addresses[0].owners.rotate_left(1);
    let list = bench.list("192.0.2.1");
    bench.stored.insert("addresses-7".to_owned(), twin);
    bench.restart();
    assert_eq!(bench.settle(), ["addresses-7".to_owned()].into());
    assert_eq!(bench.list("192.0.2.1"), list);
    assert_eq!(bench.stored.len(), 2);
}

#[test]
fn both_addresses_of_a_service_and_those_who_share_have_one_owner() {
    let shared = |name: &str, addresses: &[&str]| {
        service(name, &json!({}), &json!({"metallb.io/allow-shared-ip": "k"}), addresses)
    };
    let bench = Bench::new(vec![
        shared("a", &["192.0.2.1", "2001:db8::1"]),
        shared("b", &["2001:db8::1"]),
        shared("c", &["192.0.2.1"]),
        plain("d", &["192.0.2.4"]),
    ]);
    assert_eq!(bench.list("192.0.2.1"), bench.list("2001:db8::1"));
    assert_ne!(bench.list("192.0.2.1").owner(), bench.list("192.0.2.4").owner(), "two groups, two nodes");
}

#[test]
fn who_may_own_follows_nodes_and_advertisements() {
    let mut bench = Bench::new(vec![plain("a", &["192.0.2.1"])]);
    assert_eq!(bench.owners("192.0.2.1"), ["n1", "n2", "n3"]);
    let excluded = clarion_config::EXCLUDE_LABEL;
    bench.world.nodes(Edit::Apply("n1".into(), node(&[(excluded, "")])));
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n2", "n3"]);
    bench.world.agents(Edit::Delete("n2".into()));
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n3"]);
    let cut = NodeView { network_unavailable: true, ready: true, ..NodeView::default() };
    bench.world.nodes(Edit::Apply("n3".into(), Arc::new(cut)));
    bench.settle();
    assert_eq!(
        bench.reason("192.0.2.1"),
        "nodeNetworkUnavailable: 1 node, nodeLabeledExcludeBalancers: 1 node, nodeWithoutAgent: 1 node"
    );

    let mut bench = Bench::new(vec![plain("a", &["192.0.2.1"])]);
    let only = |name: &str| LabelSelector::new(labels(&[("name", name)]), vec![]);
    let advertisement = |name: &str, on: &str| L2Advertisement {
        name: name.to_owned(),
        node_selectors: vec![only(on)],
        ..L2Advertisement::default()
    };
    let mut first = advertisement("first", "n1");
    first.preferred_nodes = vec![(50, only("n1"))];
    bench.world.configure(config(vec![first, advertisement("second", "n3")]));
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n1", "n3"], "the union over advertisements");
    bench.world.configure(config(vec![]));
    bench.settle();
    assert_eq!(bench.plans(), Plans::default(), "without layer 2 there is no plan");
}

#[test]
fn local_services_are_planned_where_their_endpoints_serve() {
    let local = |name: &str, addresses: &[&str]| {
        let sharing = json!({"metallb.io/allow-shared-ip": "k"});
        service(name, &json!({"externalTrafficPolicy": "Local", "selector": {"a": "b"}}), &sharing, addresses)
    };
    let mut bench = Bench::new(vec![plain("cluster", &["192.0.2.9"])]);
    bench.world.services(Edit::Apply(ServiceKey::new("ns", "a"), local("a", &["192.0.2.1"])));
    assert!(bench.world.needs_slices() && !bench.world.synced());
    bench.world.slices(Edit::Reset(BTreeMap::new()));
    bench.settle();
    assert_eq!(bench.reason("192.0.2.1"), "noLocalEndpoints: 3 nodes");
    bench.slice("a", &["n1", "n2"]);
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n1", "n2"]);

    bench.world.services(Edit::Apply(ServiceKey::new("ns", "b"), local("b", &["192.0.2.1"])));
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n1", "n2"], "a sharer without endpoints asks for nothing");
    bench.slice("b", &["n2", "n3"]);
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n2"], "the node that suits both");
    bench.slice("b", &["n3"]);
    bench.settle();
    assert_eq!(bench.owners("192.0.2.1"), ["n1", "n2", "n3"], "none suits both: one of them is served");
    assert_eq!(bench.owners("192.0.2.9"), ["n1", "n2", "n3"]);
}

/// What a feed tells of the Services: which addresses each shows, `None` when it is gone.
fn told(news: &mut tokio::sync::mpsc::Receiver<crate::placement::News>) -> Vec<Option<Vec<String>>> {
    let addresses = |view: &ServiceView| {
        view.shown.addresses.iter().flat_map(VipSet::iter).map(|address| address.to_string()).collect()
    };
    std::iter::from_fn(|| news.try_recv().ok())
        .map(|news| match news {
            crate::placement::News::Service(Edit::Apply(_, view)) => Some(addresses(&view)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_first_address_is_told_before_it_is_written_and_taken_back_if_it_is_not() {
    let (news_tx, mut news) = tokio::sync::mpsc::channel(8);
    let feed = Feed::new(news_tx, tokio::sync::watch::channel(None).0);
    let new: VipSet = VipSet::from_addresses(["192.0.2.1".parse().unwrap()]).unwrap();
    let write = |addresses| crate::planner::StatusWrite {
        key: ServiceKey::new("ns", "a"),
        resource_version: "1".into(),
        addresses,
        pool: None,
        remove_deprecated: false,
    };
    let pending = plain("a", &[]);
    feed.foretell(&pending, &write(new)).await;
    assert_eq!(told(&mut news), [Some(vec!["192.0.2.1".to_owned()])]);
    feed.retract(&pending.key, Some(&pending)).await;
    feed.retract(&pending.key, None).await;
    assert_eq!(told(&mut news), [Some(vec![]), None]);
    // An address that changes is still answered at its old place, and one that goes is no news yet.
    feed.foretell(&plain("a", &["192.0.2.9"]), &write(new)).await;
    feed.foretell(&pending, &write(VipSet::default())).await;
    assert_eq!(told(&mut news), []);
}

#[test]
fn agents_are_told_whether_owners_stay_and_nothing_else_is_written_for_it() {
    let mut bench = Bench::new(vec![plain("a", &["192.0.2.1"])]);
    let stay = |bench: &Bench| bench.stored.values().map(|object| object.spec.stay).collect::<Vec<_>>();
    assert_eq!(stay(&bench), [false, false]);
    for (rebalance, told) in [(Rebalance::Never, true), (Settings::default().rebalance, false)] {
        bench.restart_with(Settings { rebalance, ..Settings::default() });
        assert_eq!(bench.settle(), ["members-0".to_owned()].into());
        // By name: addresses-0, members-0.
        assert_eq!(stay(&bench), [false, told]);
        assert_eq!(bench.settle(), BTreeSet::new());
    }
}
