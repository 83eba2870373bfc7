//! A little world for the stories: pools, namespaces and Services as the API server has them, and
//! the controller's state machine with an API server that takes every write.
//!
//! A story is a line of commands, `;` between them:
//!
//! | command | meaning |
//! |---|---|
//! | `pool a RANGE…` | creates or changes an IPAddressPool; words `manual`, `avoid`, `for`, `prio=3`, `ns=red,blue`, `nssel=team:x`, `svcsel=tier:web`, `not=RANGE,RANGE` |
//! | `nopool a` | deletes it |
//! | `ns red team:x` | labels of a namespace |
//! | `svc x …` | creates or changes Service ns/x, or `svc red/x`; what is not said is as in a new one, but status and what the controller wrote stay |
//! | `del x` | deletes it |
//! | `restart` | another controller takes over |
//! | `class=c` | the flag `--lb-class`, from the next restart on; `class=` for none |
//!
//! Words of `svc`: `ip=` (spec.loadBalancerIP), `ips=`, `pool=`, `share=` (annotations; `old` before
//! them for the deprecated prefix), `ports=80,53/UDP`, `local`, `sel=k:v`, `label=k:v`, `class=`,
//! `type=`, `born=SECONDS`; families by `v6`, `both` (RequireDualStack), `prefer`, `prefer6`,
//! `require1` (with one ClusterIP), `none` (no ClusterIP yet), `headless`, `two4`; and of its
//! past `has=ADDRESS,…`, `host`, `from=POOL`, `oldfrom=POOL`.
//!
//! What comes out is what all Services show afterwards, `x=192.0.2.0@a`, and what was said of
//! the last command: `x! why` for a refusal, `x- why` for a loss, else `x Reason: message`.
//! `IPAllocated` is left out where the address says it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use clarion_api::IPAddressPool;
use clarion_controller::index::{Change, ConfigEdit, Edit};
use clarion_controller::planner::{ServicePlan, StatusWrite};
use clarion_controller::service::ServiceView;
use clarion_controller::state::{State, Written};
use clarion_core::{AllocReason, Labels, ServiceKey};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Map, Value, json};

const CONFIGURATION: &str = "metallb-system";
const ALLOCATED: &str = "metallb.io/ip-allocated-from-pool";
const ALLOCATED_OLD: &str = "metallb.universe.tf/ip-allocated-from-pool";
/// More than any story needs to come to rest.
const MOST_PLANS: usize = 1000;

/// See the module.
pub(crate) struct World {
    state: State,
    now: Instant,
    version: u32,
    class: Option<String>,
    services: BTreeMap<ServiceKey, Value>,
    pools: BTreeMap<String, Arc<IPAddressPool>>,
    namespaces: BTreeMap<String, Arc<Labels>>,
    said: Vec<String>,
}

impl World {
    /// Plays a story.
    pub(crate) fn play(story: &str) -> String {
        let mut world = Self {
            state: State::new(CONFIGURATION),
            now: Instant::now(),
            version: 0,
            class: None,
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            said: Vec::new(),
        };
        world.restart();
        for command in story.split(';') {
            world.said.clear();
            world.command(command.trim());
            world.rest();
        }
        world.outcome()
    }

    fn command(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let verb = words.next().unwrap();
        if let Some(class) = verb.strip_prefix("class=") {
            self.class = (!class.is_empty()).then(|| class.to_owned());
            return;
        }
        match verb {
            "restart" => self.restart(),
            "pool" => {
                let (name, pool) = pool(&mut words);
                self.pools.insert(name.clone(), Arc::clone(&pool));
                self.state.handle(Change::Config(ConfigEdit::Pool(Edit::Apply(name, pool))));
            }
            "nopool" => {
                let name = words.next().unwrap();
                self.pools.remove(name).unwrap();
                self.state.handle(Change::Config(ConfigEdit::Pool(Edit::Delete(name.to_owned()))));
            }
            "ns" => {
                let name = words.next().unwrap().to_owned();
                let labels = Arc::new(words.map(pair).collect::<Labels>());
                self.namespaces.insert(name.clone(), Arc::clone(&labels));
                self.state.handle(Change::Namespace(Edit::Apply(name, labels)));
            }
            "svc" => {
                let key = key(words.next().unwrap());
                let object = service(&key, self.services.get(&key), words);
                self.watch(key, object);
            }
            "del" => {
                let key = key(words.next().unwrap());
                self.services.remove(&key).unwrap();
                self.state.handle(Change::Service(Edit::Delete(key)));
            }
            other => panic!("no such command: {other}"),
        }
    }

    /// Everything is as it is, and nobody knows it yet.
    fn restart(&mut self) {
        self.state = State::new(CONFIGURATION);
        let views = self.services.values().filter_map(|object| self.view(object));
        let views = views.map(|view| (view.key.clone(), Arc::new(view))).collect();
        ConfigEdit::nothing().into_iter().for_each(|edit| self.state.handle(Change::Config(edit)));
        for change in [
            Change::Namespace(Edit::Reset(self.namespaces.clone())),
            Change::Config(ConfigEdit::Pool(Edit::Reset(self.pools.clone()))),
            Change::Service(Edit::Reset(views)),
        ] {
            self.state.handle(change);
        }
        self.state.lead(true);
    }

    /// The watch tells of a Service.
    fn watch(&mut self, key: ServiceKey, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let edit = match self.view(&object) {
            Some(view) => Edit::Apply(key.clone(), Arc::new(view)),
            None => Edit::Delete(key.clone()),
        };
        self.services.insert(key, object);
        self.state.handle(Change::Service(edit));
    }

    fn view(&self, object: &Value) -> Option<ServiceView> {
        let service: Service = serde_json::from_value(object.clone()).unwrap();
        ServiceView::read(&service, self.class.as_deref())
    }

    /// Plans and writes until nothing is left to do.
    fn rest(&mut self) {
        for _ in 0..MOST_PLANS {
            let Some((key, plan)) = self.state.next(self.now) else { return };
            self.hear(&key, &plan);
            if let Some(write) = &plan.write {
                self.store(&key, write);
            }
        }
        panic!("the controller does not come to rest: {}", self.outcome());
    }

    fn hear(&mut self, key: &ServiceKey, plan: &ServicePlan) {
        for saying in &plan.sayings {
            let (short, message) = (short(key), &saying.message);
            let failed = format!("Failed to allocate IP for \"{key}\": ");
            let lost = format!(
                "current IP for \"{key}\" not allowed by config, will attempt for new IP assignment: "
            );
            self.said.push(
                match (saying.reason, message.strip_prefix(&failed), message.strip_prefix(&lost)) {
                    (AllocReason::IpAllocated, ..) if !message.contains("additional") => continue,
                    (AllocReason::AllocationFailed, Some(why), _) => format!("{short}! {why}"),
                    (AllocReason::ClearAssignment, _, Some(why)) => format!("{short}- {why}"),
                    (reason, ..) => format!("{short} {reason}: {message}"),
                },
            );
        }
    }

    fn store(&mut self, key: &ServiceKey, write: &StatusWrite) {
        let mut object = self.services[key].clone();
        assert_eq!(object["metadata"]["resourceVersion"], json!(write.resource_version), "written unseen");
        let ingress: Vec<_> = write.addresses.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
        object["status"] = json!({"loadBalancer": {"ingress": ingress}});
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove(ALLOCATED);
        if let Some(pool) = &write.pool {
            annotations.insert(ALLOCATED.to_owned(), json!(pool.as_str()));
        }
        if write.remove_deprecated {
            annotations.remove(ALLOCATED_OLD);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let view = self.view(&object).map(Arc::new);
        self.services.insert(key.clone(), object);
        self.state.written(key, Written::Done(view.clone()), self.now);
        let edit = view.map_or_else(|| Edit::Delete(key.clone()), |view| Edit::Apply(key.clone(), view));
        self.state.handle(Change::Service(edit));
    }

    fn outcome(&self) -> String {
        let shown = self.services.iter().map(|(key, object)| format!("{}={}", short(key), shown(object)));
        shown.chain(self.said.iter().cloned()).collect::<Vec<_>>().join("; ")
    }
}

fn shown(object: &Value) -> String {
    let ingress = object["status"]["loadBalancer"]["ingress"].as_array();
    let texts: Vec<_> =
        ingress.into_iter().flatten().map(|i| i["ip"].as_str().unwrap_or("host").to_owned()).collect();
    let annotation = |name: &str| object["metadata"]["annotations"][name].as_str();
    let pool = annotation(ALLOCATED).map(|pool| format!("@{pool}")).unwrap_or_default();
    let old = annotation(ALLOCATED_OLD).map(|pool| format!("@old:{pool}")).unwrap_or_default();
    format!("{}{pool}{old}", texts.join("+"))
}

fn key(text: &str) -> ServiceKey {
    let (namespace, name) = text.split_once('/').unwrap_or(("ns", text));
    ServiceKey::new(namespace, name)
}

fn short(key: &ServiceKey) -> String {
    if key.namespace() == "ns" { key.name().to_owned() } else { key.to_string() }
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once(':').unwrap();
    (key.to_owned(), value.to_owned())
}

fn selectors(text: &str) -> Value {
    let selector = |text: &str| json!({"matchLabels": BTreeMap::from([pair(text)])});
    text.split(',').map(selector).collect()
}

fn pool<'a>(words: &mut impl Iterator<Item = &'a str>) -> (String, Arc<IPAddressPool>) {
    let name = words.next().unwrap();
    let (mut addresses, mut spec, mut allocation) = (Vec::new(), json!({}), json!({}));
    for word in words {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        match word.split_once('=') {
            None if word == "manual" => spec["autoAssign"] = json!(false),
            None if word == "avoid" => spec["avoidBuggyIPs"] = json!(true),
            None if word == "for" => spec["serviceAllocation"] = json!({}),
            None => addresses.push(word.to_owned()),
            Some(("not", text)) => spec["excludeAddresses"] = json!(list(text)),
            Some(("prio", text)) => allocation["priority"] = json!(text.parse::<u32>().unwrap()),
            Some(("ns", text)) => allocation["namespaces"] = json!(list(text)),
            Some(("nssel", text)) => allocation["namespaceSelectors"] = selectors(text),
            Some(("svcsel", text)) => allocation["serviceSelectors"] = selectors(text),
            Some(_) => panic!("no such word of a pool: {word}"),
        }
    }
    spec["addresses"] = json!(addresses);
    if allocation != json!({}) {
        spec["serviceAllocation"] = allocation;
    }
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "spec": spec,
        "metadata": {"name": name, "namespace": CONFIGURATION, "uid": name},
    });
    (name.to_owned(), Arc::new(serde_json::from_value(object).unwrap()))
}

/// ClusterIPs and policy.
fn families(word: &str) -> Option<(&'static [&'static str], &'static str)> {
    Some(match word {
        "v4" => (&["10.96.0.1"], "SingleStack"),
        "v6" => (&["fd00::1"], "SingleStack"),
        "both" => (&["10.96.0.1", "fd00::1"], "RequireDualStack"),
        "prefer" => (&["10.96.0.1", "fd00::1"], "PreferDualStack"),
        "prefer6" => (&["fd00::1", "10.96.0.1"], "PreferDualStack"),
        "prefer1" => (&["10.96.0.1"], "PreferDualStack"),
        "require1" => (&["10.96.0.1"], "RequireDualStack"),
        "headless" => (&["None"], "SingleStack"),
        "two4" => (&["10.96.0.1", "10.96.0.2"], "SingleStack"),
        "none" => (&[], "SingleStack"),
        _ => return None,
    })
}

fn service<'a>(key: &ServiceKey, before: Option<&Value>, words: impl Iterator<Item = &'a str>) -> Value {
    let mut annotations = Map::new();
    for name in [ALLOCATED, ALLOCATED_OLD] {
        if let Some(value) = before.and_then(|object| object["metadata"]["annotations"].get(name)) {
            annotations.insert(name.to_owned(), value.clone());
        }
    }
    let mut object = json!({
        "metadata": {"namespace": key.namespace(), "name": key.name(), "uid": key.to_string(), "labels": {}},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster",
            "selector": {"app": key.name()}, "ports": [{"port": 80, "protocol": "TCP"}]},
        "status": before.map_or_else(|| json!({}), |object| object["status"].clone()),
    });
    let (mut cluster_ips, mut policy) = families("v4").unwrap();
    for word in words {
        match word.split_once('=') {
            None if word == "local" => object["spec"]["externalTrafficPolicy"] = json!("Local"),
            None if word == "host" => object["status"] = host(&object["status"]),
            None => (cluster_ips, policy) = families(word).unwrap(),
            Some(("ip", text)) => object["spec"]["loadBalancerIP"] = json!(text),
            Some(("class", text)) => object["spec"]["loadBalancerClass"] = json!(text),
            Some(("type", text)) => object["spec"]["type"] = json!(text),
            Some(("ports", text)) => object["spec"]["ports"] = text.split(',').map(port).collect(),
            Some(("sel", "")) => object["spec"]["selector"] = json!({}),
            Some(("sel", text)) => object["spec"]["selector"] = json!(BTreeMap::from([pair(text)])),
            Some(("label", text)) => object["metadata"]["labels"] = json!(BTreeMap::from([pair(text)])),
            Some(("born", text)) => {
                object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{text:0>2}Z"));
            }
            Some(("has", text)) => {
                let ingress: Vec<_> = text.split(',').map(|ip| json!({"ip": ip})).collect();
                object["status"] = json!({"loadBalancer": {"ingress": ingress}});
            }
            Some((name, text)) => {
                annotations.insert(annotation(name).to_owned(), json!(text.replace('_', " ")));
            }
        }
    }
    object["spec"]["clusterIPs"] = json!(cluster_ips);
    object["spec"]["ipFamilyPolicy"] = json!(policy);
    object["metadata"]["annotations"] = Value::Object(annotations);
    object
}

fn annotation(word: &str) -> &'static str {
    match word {
        "pool" => "metallb.io/address-pool",
        "oldpool" => "metallb.universe.tf/address-pool",
        "ips" => "metallb.io/loadBalancerIPs",
        "oldips" => "metallb.universe.tf/loadBalancerIPs",
        "share" => "metallb.io/allow-shared-ip",
        "oldshare" => "metallb.universe.tf/allow-shared-ip",
        "from" => ALLOCATED,
        "oldfrom" => ALLOCATED_OLD,
        other => panic!("no such word of a Service: {other}"),
    }
}

fn host(status: &Value) -> Value {
    let mut ingress = status["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    ingress.push(json!({"hostname": "lb.example"}));
    json!({"loadBalancer": {"ingress": ingress}})
}

fn port(text: &str) -> Value {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
    json!({"port": number.parse::<u16>().unwrap(), "protocol": protocol})
}
