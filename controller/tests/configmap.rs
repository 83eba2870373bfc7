//! The controller with a ConfigMap of the first releases, without an API server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use clarion_api::{IPAddressPool, IPAddressPoolSpec};
use clarion_config::legacy::Source;
use clarion_controller::index::{Change, ConfigEdit, Edit};
use clarion_controller::report::{CONFIGMAP_CONDITION, OBJECTS_WIN, Report, state};
use clarion_controller::service::ServiceView;
use clarion_controller::state::State;
use clarion_core::ServiceKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";
const GOOD: &str = "address-pools: [{name: My_Pool, protocol: layer2, addresses: [192.0.2.0/30]}]";

/// A leader that has seen everything: two Services, the first of which holds 192.0.2.0.
fn leading(text: Option<&str>) -> State {
    let mut state = State::new(NAMESPACE);
    state.lead(true);
    let all = ["has", "wants"].map(|name| (ServiceKey::new("ns", name), Arc::new(service(name))));
    state.handle(Change::Service(Edit::Reset(all.into())));
    state.handle(Change::Namespace(Edit::Reset(BTreeMap::new())));
    let others = ConfigEdit::nothing().into_iter().filter(|edit| !matches!(edit, ConfigEdit::ConfigMap(_)));
    others.for_each(|edit| state.handle(Change::Config(edit)));
    let sources = text.map(|text| ("config".to_owned(), source(text)));
    state.handle(Change::Config(ConfigEdit::ConfigMap(Edit::Reset(sources.into_iter().collect()))));
    state
}

fn service(name: &str) -> ServiceView {
    let status = match name {
        "has" => json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.0"}]}}),
        _ => json!({}),
    };
    let object = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1",
            "annotations": {"metallb.io/ip-allocated-from-pool": if name == "has" { "My_Pool" } else { "" }}},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]},
        "status": status,
    });
    ServiceView::read(&serde_json::from_value(object).unwrap(), None).unwrap()
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { namespace: NAMESPACE.into(), uid: "cm".into(), text: Some(text.into()) })
}

fn edit(state: &mut State, text: &str) {
    state.handle(Change::Config(ConfigEdit::ConfigMap(Edit::Apply("config".into(), source(text)))));
}

/// Everything that is planned now: Service, addresses, pool.
fn plans(state: &mut State) -> Vec<String> {
    let now = Instant::now();
    let plans = std::iter::from_fn(|| state.next(now));
    let words = |(key, plan): (ServiceKey, clarion_controller::planner::ServicePlan)| {
        let write = plan.write.map(|write| {
            let addresses: Vec<_> = write.addresses.iter().map(|a| a.to_string()).collect();
            format!("{} of {}", addresses.join(" "), write.pool.map(|p| p.to_string()).unwrap_or_default())
        });
        format!("{}: {}", key.name(), write.unwrap_or_default())
    };
    plans.map(words).collect()
}

fn shown(of: &State) -> Value {
    let report = Report::new(of.index(), of.parsed(), &BTreeMap::new());
    state(&report, "", &Time(Timestamp::UNIX_EPOCH))
}

#[test]
fn it_assigns_from_pools_of_the_configmap_under_their_names() {
    let mut state = leading(Some(GOOD));
    assert_eq!(plans(&mut state), ["wants: 192.0.2.1 of My_Pool"]);
    let state = shown(&state);
    assert_eq!(
        (&state["result"], &state["conditions"][1]["type"]),
        (&json!("Valid"), &json!(CONFIGMAP_CONDITION))
    );
    assert_eq!(state["conditions"][1]["status"], "True");
}

#[test]
fn without_a_configmap_nothing_is_said_of_it() {
    assert_eq!(shown(&leading(None))["conditions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_text_that_cannot_be_read_takes_nothing_back_and_is_told() {
    let mut live = leading(Some(GOOD));
    plans(&mut live);
    edit(&mut live, "address-pools: [");
    assert_eq!(plans(&mut live), Vec::<String>::new());
    assert!(live.parsed().config.pools.contains_key(&"My_Pool".into()));
    let summary = shown(&live)["errorSummary"].to_string();
    assert!(
        summary.contains("ConfigMap metallb-system/config: config: could not parse config: line 1"),
        "{summary}"
    );
    // A process that starts with it knows nothing: it waits.
    let mut started = leading(Some("address-pools: ["));
    assert!(started.planner().is_none() && started.unknown().is_some());
    assert_eq!(plans(&mut started), Vec::<String>::new());
    assert_eq!(shown(&started)["result"], "Invalid");
    edit(&mut started, GOOD);
    assert_eq!(plans(&mut started), ["wants: 192.0.2.1 of My_Pool"]);
}

#[test]
fn a_process_that_starts_with_a_pool_that_cannot_be_read_takes_nothing_back() {
    for wrong in [GOOD.replace("addresses", "adresses"), GOOD.replace("/30", "/33")] {
        let mut started = leading(Some(&wrong));
        let of_has = |state: &mut State| plans(state).into_iter().find(|plan| plan.starts_with("has"));
        assert_eq!(of_has(&mut started), None, "{wrong}");
        assert!(shown(&started)["errorSummary"].to_string().contains("ConfigMap"), "{wrong}");
        edit(&mut started, GOOD);
        assert_eq!(of_has(&mut started), None, "{wrong}");
        // What is no mistake is done: the pool has other addresses.
        edit(&mut started, &GOOD.replace("192.0.2.0", "198.51.100.0"));
        assert_eq!(of_has(&mut started).as_deref(), Some("has: 198.51.100.0 of My_Pool"), "{wrong}");
    }
}

#[test]
fn the_first_pool_object_ends_it_and_nobody_loses_an_address() {
    let mut state = leading(Some(GOOD));
    let spec = IPAddressPoolSpec {
        addresses: vec!["198.51.100.0/30".into()],
        auto_assign: true,
        ..Default::default()
    };
    let mut pool = IPAddressPool::new("new", spec);
    pool.metadata.namespace = Some(NAMESPACE.into());
    state.handle(Change::Config(ConfigEdit::Pool(Edit::Apply("new".into(), Arc::new(pool)))));
    assert_eq!(plans(&mut state), ["wants: 198.51.100.0 of new"], "`has` keeps what it has");
    let state = shown(&state);
    assert_eq!(state["result"], "Valid");
    let condition = &state["conditions"][1];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!(OBJECTS_WIN)));
    assert!(condition["message"].to_string().contains("objects win"), "{condition}");
}

#[test]
fn deleting_it_is_deleting_its_pools() {
    let mut state = leading(Some(GOOD));
    plans(&mut state);
    state.handle(Change::Config(ConfigEdit::ConfigMap(Edit::Delete("config".into()))));
    assert!(state.parsed().config.pools.is_empty());
    assert!(plans(&mut state).contains(&"has:  of ".to_owned()));
}
