//! A [`State`] on a bench: stories are told to it, and what it plans is said in a line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use clarion_api::{IPAddressPool, IPAddressPoolSpec};
use clarion_controller::index::{Change, ConfigEdit, Edit};
use clarion_controller::planner::ServicePlan;
use clarion_controller::service::ServiceView;
use clarion_controller::state::{State, Written};
use clarion_core::ServiceKey;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

/// A State and a clock that moves only when it is told to.
pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) now: Instant,
    versions: u32,
    pub(crate) services: BTreeMap<String, Value>,
}

impl Bench {
    /// A configuration of these pools, seen in full, with these Services; leading.
    pub(crate) fn leading(pools: &[(&str, &str)], services: &[(&str, Value)]) -> Self {
        let mut bench = Self::following(pools, services);
        bench.state.lead(true);
        bench
    }

    pub(crate) fn following(pools: &[(&str, &str)], services: &[(&str, Value)]) -> Self {
        let mut bench = Self {
            state: State::new("metallb-system"),
            now: Instant::now(),
            versions: 0,
            services: BTreeMap::new(),
        };
        let views: Vec<_> =
            services.iter().filter_map(|(name, object)| bench.view(name, object.clone())).collect();
        let all = views.into_iter().map(|view| (view.key.clone(), Arc::new(view))).collect();
        bench.state.handle(Change::Service(Edit::Reset(all)));
        bench.state.handle(Change::Namespace(Edit::Reset(BTreeMap::new())));
        ConfigEdit::nothing().into_iter().for_each(|edit| bench.state.handle(Change::Config(edit)));
        let pools = pools.iter().map(|(name, range)| ((*name).to_owned(), pool(name, range))).collect();
        bench.state.handle(Change::Config(ConfigEdit::Pool(Edit::Reset(pools))));
        bench
    }

    /// The object as the API server would have it, with a version of its own.
    pub(crate) fn view(&mut self, name: &str, mut object: Value) -> Option<ServiceView> {
        self.versions += 1;
        object["metadata"]["namespace"] = json!("ns");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{name}"));
        }
        self.services.insert(name.to_owned(), object.clone());
        ServiceView::read(&serde_json::from_value::<Service>(object).unwrap(), None)
    }

    /// The watch tells of a Service.
    pub(crate) fn apply(&mut self, name: &str, object: Value) {
        let edit = match self.view(name, object) {
            Some(view) => Edit::Apply(view.key.clone(), Arc::new(view)),
            None => Edit::Delete(key(name)),
        };
        self.state.handle(Change::Service(edit));
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.services.remove(name);
        self.state.handle(Change::Service(Edit::Delete(key(name))));
    }

    /// What is planned next: Service, status to write, events.
    pub(crate) fn next(&mut self) -> Option<(String, Option<String>, Vec<String>)> {
        self.state.next(self.now).map(|(key, plan)| said(&key, &plan))
    }

    /// The API server takes what was planned for a Service, and the watch tells of it.
    pub(crate) fn store(&mut self, name: &str, addresses: &[&str], pool: Option<&str>) {
        let mut object = self.services[name].clone();
        object["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] = json!(pool);
        if pool.is_none() {
            object["metadata"]["annotations"] = json!({});
        }
        let ingress: Vec<Value> = addresses.iter().map(|a| json!({"ip": a, "ipMode": "VIP"})).collect();
        object["status"]["loadBalancer"]["ingress"] = json!(ingress);
        let view = self.view(name, object);
        let view = view.map(Arc::new);
        let done = Written::Done(view.clone());
        self.state.written(&key(name), done, self.now);
        if let Some(view) = view {
            self.state.handle(Change::Service(Edit::Apply(key(name), view)));
        }
    }
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("ns", name)
}

pub(crate) fn pool(name: &str, range: &str) -> Arc<IPAddressPool> {
    let addresses = range.split(' ').map(str::to_owned).collect();
    let mut pool =
        IPAddressPool::new(name, IPAddressPoolSpec { addresses, auto_assign: true, ..Default::default() });
    pool.metadata.namespace = Some("metallb-system".into());
    Arc::new(pool)
}

pub(crate) fn balancer() -> Value {
    json!({"metadata": {}, "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]}})
}

pub(crate) fn holding(address: &str) -> Value {
    let mut object = balancer();
    object["metadata"]["annotations"] = json!({"metallb.io/ip-allocated-from-pool": "a"});
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
    object
}

pub(crate) fn asking(address: &str) -> Value {
    asking_for(balancer(), address)
}

pub(crate) fn asking_for(mut object: Value, address: &str) -> Value {
    object["spec"]["loadBalancerIP"] = json!(address);
    object
}

pub(crate) fn said(key: &ServiceKey, plan: &ServicePlan) -> (String, Option<String>, Vec<String>) {
    let write = plan.write.as_ref().map(|write| {
        let addresses: Vec<_> = write.addresses.iter().map(|a| a.to_string()).collect();
        let pool = write.pool.as_ref().map_or("-", |pool| pool.as_str());
        format!("[{}] of {pool} on {}", addresses.join(" "), write.resource_version)
    });
    let events = plan.sayings.iter().map(|s| format!("{}: {}", s.reason, s.message)).collect();
    (key.name().to_owned(), write, events)
}

pub(crate) fn planned(
    name: &str,
    write: &str,
    events: &[&str],
) -> Option<(String, Option<String>, Vec<String>)> {
    let write = (!write.is_empty()).then(|| write.to_owned());
    Some((name.to_owned(), write, events.iter().map(|e| (*e).to_owned()).collect()))
}
