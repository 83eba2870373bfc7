//! Events in, whole views out; API objects as the API server sends them.

use std::collections::BTreeMap;
use std::sync::Arc;

use clarion_core::{NodeName, ServiceKey};
use clarion_daemon::Object;
use clarion_daemon::configuration::ConfigEdit;
use clarion_daemon::watch::Edit;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::index::{Event, Index};
use super::{read, without_echo};
use crate::desired::{Me, desired};
use crate::view::{Endpoints, SecretValue, Service, TrafficPolicy};

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn web(edit: impl Fn(&mut Value)) -> Object {
    let mut value = json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "u1", "labels": { "app": "web" } },
        "spec": { "type": "LoadBalancer", "externalTrafficPolicy": "Local" },
        "status": { "loadBalancer": { "ingress": [{ "ip": "198.51.100.1" }, { "hostname": "x" }, { "ip": "2001:db8::1" }] } },
    });
    edit(&mut value);
    object(value)
}

#[test]
fn a_service_is_reduced_to_what_counts() {
    let facts = read::service(&web(|_| ()), None).unwrap();
    let expected = Service {
        uid: "u1".into(),
        labels: [("app".into(), "web".into())].into(),
        addresses: vec!["198.51.100.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        policy: TrafficPolicy::Local,
        shared: false,
    };
    assert_eq!(facts, expected);
    assert_eq!(read::service_key(&web(|_| ())), ServiceKey::new("shop", "web"));
    let old = web(|s| s["metadata"]["annotations"] = json!({ "metallb.universe.tf/allow-shared-ip": "k" }));
    assert!(read::service(&old, None).unwrap().shared);
}

#[test]
fn only_services_of_our_class_are_ours() {
    let cluster_ip = web(|s| s["spec"]["type"] = json!("ClusterIP"));
    assert_eq!(read::service(&cluster_ip, None), None);
    let classed = web(|s| s["spec"]["loadBalancerClass"] = json!("clarion.dev/lb"));
    assert_eq!(read::service(&classed, None), None);
    assert!(read::service(&classed, Some("clarion.dev/lb")).is_some());
    assert_eq!(read::service(&web(|_| ()), Some("clarion.dev/lb")), None);
}

fn slice(endpoints: &Value) -> Object {
    object(json!({
        "metadata": { "name": "web-1", "namespace": "shop", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4", "endpoints": endpoints,
    }))
}

#[test]
fn endpoints_that_serve_count() {
    let (key, endpoints) = read::slice(&slice(&json!([
        { "addresses": ["10.0.0.1"], "nodeName": "ready", "conditions": { "ready": true } },
        { "addresses": ["10.0.0.2"], "nodeName": "unknown" },
        { "addresses": ["10.0.0.3"], "nodeName": "down", "conditions": { "ready": false } },
        { "addresses": ["10.0.0.4"], "nodeName": "ending", "conditions": { "ready": false, "serving": true, "terminating": true } },
        { "addresses": [], "nodeName": "empty", "conditions": { "ready": true } },
        { "addresses": ["10.0.0.5"], "conditions": { "ready": true } },
    ])))
    .unwrap();
    let nodes = ["ready", "unknown", "ending"].map(NodeName::from).into();
    assert_eq!((key, endpoints), (ServiceKey::new("shop", "web"), Endpoints { nodes, elsewhere: true }));
}

#[test]
fn a_node_is_reduced_to_labels_addresses_and_one_condition() {
    let node: Object = object(json!({
        "metadata": { "name": "n1", "labels": { "zone": "a" } },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }, { "type": "NetworkUnavailable", "status": "True" }],
            "addresses": [{ "type": "Hostname", "address": "n1" }, { "type": "InternalIP", "address": "192.0.2.1" }],
        },
    }));
    let facts = read::node(&node);
    assert!(facts.network_unavailable && !facts.excluded());
    assert_eq!(facts.addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn unusable_secrets_say_why() {
    let secret = |type_: &str, data: Value| -> Object {
        object(json!({ "metadata": { "name": "key" }, "type": type_, "data": data }))
    };
    // "pw" in base64.
    let good = secret("kubernetes.io/basic-auth", json!({ "password": "cHc=" }));
    assert_eq!(read::secret(&good), SecretValue::Password("pw".into()));
    for (bad, why) in [
        (secret("Opaque", json!({ "password": "cHc=" })), "kubernetes.io/basic-auth"),
        (secret("kubernetes.io/basic-auth", json!({})), "no key"),
        (secret("kubernetes.io/basic-auth", json!({ "password": "" })), "1 to 80"),
    ] {
        let SecretValue::Unusable(text) = read::secret(&bad) else { panic!("{bad:?}") };
        assert!(text.contains(why), "{text}");
    }
}

fn synced() -> Index {
    let mut index = Index::new("metallb-system");
    for event in [
        Event::Service(Edit::Reset(BTreeMap::new())),
        Event::Slice(Edit::Reset(BTreeMap::new())),
        Event::Node(Edit::Reset(BTreeMap::new())),
        Event::Plan(Edit::Reset(BTreeMap::new())),
    ] {
        assert!(!index.missing().is_empty());
        index.apply(event);
    }
    for edit in ConfigEdit::nothing() {
        assert!(!index.missing().is_empty());
        index.apply(Event::Config(edit));
    }
    assert!(index.missing().is_empty());
    index
}

fn apply(index: &mut Index, event: Event) -> bool {
    index.apply(event)
}

#[test]
fn what_says_nothing_new_changes_nothing() {
    let mut index = synced();
    let (key, facts) = (ServiceKey::new("shop", "web"), read::service(&web(|_| ()), None).unwrap());
    assert!(apply(&mut index, Event::Service(Edit::Apply(key.clone(), facts.clone()))));
    assert!(!apply(&mut index, Event::Service(Edit::Apply(key.clone(), facts.clone()))));
    assert!(!apply(&mut index, Event::Service(Edit::Reset([(key.clone(), facts)].into()))));
    assert!(apply(&mut index, Event::Service(Edit::Delete(key.clone()))));
    assert!(!apply(&mut index, Event::Service(Edit::Delete(key))));
}

#[test]
fn slices_of_a_service_unite_and_an_empty_one_counts_for_nothing() {
    let mut index = synced();
    let service = ServiceKey::new("shop", "web");
    let at = |nodes: &[&str]| {
        let nodes = nodes.iter().map(|n| NodeName::from(*n)).collect();
        (service.clone(), Endpoints { nodes, elsewhere: false })
    };
    let id = |name: &str| ("shop".to_owned(), name.to_owned());
    assert!(!apply(&mut index, Event::Slice(Edit::Apply(id("a"), at(&[])))));
    assert!(apply(&mut index, Event::Slice(Edit::Apply(id("a"), at(&["n1"])))));
    assert!(apply(&mut index, Event::Slice(Edit::Apply(id("b"), at(&["n2"])))));
    assert_eq!(index.view().endpoints[&service], at(&["n1", "n2"]).1);
    assert!(!apply(&mut index, Event::Slice(Edit::Apply(id("c"), at(&["n2"])))));
    assert!(apply(&mut index, Event::Slice(Edit::Delete(id("a")))));
    assert_eq!(index.view().endpoints[&service], at(&["n2"]).1);
    assert!(apply(&mut index, Event::Slice(Edit::Reset(BTreeMap::new()))));
    assert!(index.view().endpoints.is_empty());
}

#[test]
fn plans_and_the_clusters_key_are_kept_and_a_renewed_lease_changes_nothing() {
    let mut index = synced();
    assert!(!apply(&mut index, Event::Lease));
    let spec = json!({ "members": [{ "node": "n1", "voters": ["n2"] }] });
    let part = read::plan(&object(json!({ "metadata": { "name": "members-0" }, "spec": spec })));
    assert_eq!(part.members.len(), 1);
    assert!(apply(&mut index, Event::Plan(Edit::Apply("members-0".into(), part.clone()))));
    assert!(!apply(&mut index, Event::Plan(Edit::Apply("members-0".into(), part))));
    let secret =
        |text: &str| object(json!({ "metadata": { "name": "memberlist" }, "data": { "secretkey": text } }));
    let key = read::cluster_key(&secret("c2VjcmV0"));
    assert!(key.is_some() && read::cluster_key(&secret("")).is_none());
    assert!(apply(&mut index, Event::Key(Edit::Apply("memberlist".into(), key.unwrap()))));
    apply(&mut index, Event::Key(Edit::Delete("memberlist".into())));
    assert_eq!(index.key(), key, "agents go on with it");
}

#[test]
fn configuration_counts_only_when_all_of_it_was_seen() {
    let pool: clarion_api::IPAddressPool = object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": "p", "namespace": "metallb-system" },
        "spec": { "addresses": ["198.51.100.0/24"] },
    }));
    let event = Event::Config(ConfigEdit::Pool(Edit::Apply("p".into(), Arc::new(pool))));
    let mut index = Index::new("metallb-system");
    apply(&mut index, Event::Config(ConfigEdit::Pool(Edit::Reset(BTreeMap::new()))));
    assert!(!apply(&mut index, event.clone()));
    assert!(index.view().config.pools.is_empty());
    let mut index = synced();
    assert!(apply(&mut index, event));
    assert_eq!(index.view().config.pools.len(), 1);
}

#[test]
fn a_peer_that_asks_for_echo_packets_is_named_with_its_profile() {
    let mut index = synced();
    let peer = |name: &str, address: &str, profile: Option<&str>| {
        let mut spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": address });
        if let Some(profile) = profile {
            spec["bfdProfile"] = json!(profile);
        }
        let value = json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
            "metadata": { "name": name, "namespace": "metallb-system" }, "spec": spec,
        });
        Event::Config(ConfigEdit::Peer(Edit::Apply(name.to_owned(), Arc::new(object(value)))))
    };
    for (name, echo) in [("fast", false), ("echoing", true)] {
        let profile = object(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "BFDProfile",
            "metadata": { "name": name, "namespace": "metallb-system" }, "spec": { "echoMode": echo },
        }));
        apply(&mut index, Event::Config(ConfigEdit::Bfd(Edit::Apply(name.into(), Arc::new(profile)))));
    }
    apply(&mut index, Event::Node(Edit::Apply("n1".into(), crate::view::Node::default())));
    apply(&mut index, peer("plain", "192.0.2.253", None));
    apply(&mut index, peer("watched", "192.0.2.254", Some("fast")));
    apply(&mut index, peer("echoed", "192.0.2.252", Some("echoing")));
    let me = Me { node: "n1".into(), ignore_exclude_label: false };
    assert!(index.problems().is_empty(), "{:?}", index.problems());
    let desired = desired(&me, index.view());
    assert_eq!(without_echo(&desired), [("echoed".to_owned(), "echoing".to_owned())].into());
    let profiles = desired.peers.values().map(|peer| peer.config.bfd.as_ref().map(|bfd| bfd.name.as_str()));
    assert_eq!(profiles.collect::<Vec<_>>(), [Some("echoing"), None, Some("fast")]);
}
