//! Clusters told as stories, for the tests of all commands.

use super::*;
use serde_json::{Value, from_value, json};

/// A cluster with one Service `shop/web`, told by what has happened to it so far.
#[derive(Clone, Copy)]
pub(crate) struct Story {
    pub(crate) assigned: bool,
    pub(crate) serves: bool,
    pub(crate) selects: bool,
    pub(crate) owner: bool,
}

pub(crate) fn announced() -> Story {
    Story { assigned: true, serves: true, selects: true, owner: true }
}

pub(crate) fn advertised() -> Story {
    Story { serves: false, owner: false, ..announced() }
}

pub(crate) fn pending() -> Story {
    Story { assigned: false, owner: false, ..announced() }
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    from_value(value).unwrap()
}

impl Story {
    pub(crate) fn cluster(&self) -> Cluster {
        let meta = |name: &str| json!({"name": name, "namespace": "metallb-system"});
        let objects = Objects {
            namespace: "metallb-system".to_owned(),
            pools: vec![Arc::new(object(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": meta("front"), "spec": {"addresses": ["192.0.2.0/24"]}})))],
            l2: vec![Arc::new(object(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": meta("all"),
                "spec": {"ipAddressPools": [if self.selects { "front" } else { "back" }]}})))],
            bgp: vec![],
            peers: vec![],
            bfd: vec![],
            communities: vec![],
            legacy: None,
        };
        let outcome = clarion_config::parse(&objects, &Config::default());
        let ingress = if self.assigned { json!([{"ip": "192.0.2.1"}]) } else { json!([]) };
        let web = json!({"name": "web", "namespace": "shop"});
        Cluster {
            config: outcome.config,
            problems: outcome.problems,
            notices: vec![],
            namespaces: BTreeMap::new(),
            services: vec![object(
                json!({"metadata": web, "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]},
                "status": {"loadBalancer": {"ingress": ingress}}}),
            )],
            nodes: vec![object(json!({"metadata": {"name": "n1"}}))],
            slices: vec![object(json!({
                "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n1", "conditions": {"ready": self.serves}}]}))],
            leases: BTreeMap::new(),
            l2_status: if self.owner {
                vec![object(json!({
                    "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status", "metadata": meta("l2-x"), "spec": {},
                    "status": {"node": "n1", "serviceName": "web", "serviceNamespace": "shop"}}))]
            } else {
                vec![]
            },
            bgp_status: vec![],
            states: vec![],
            lb_class: None,
            events: vec![object(json!({
                "metadata": {"name": "e", "namespace": "shop"}, "type": "Warning", "reason": "AllocationFailed",
                "message": "no available IPs", "involvedObject": {"namespace": "shop", "name": "web"}}))],
            now: jiff::Timestamp::UNIX_EPOCH,
        }
    }
}

/// Two Services and a pool for each reason not to use one.
pub(crate) fn pools_and_services() -> Cluster {
    let mut cluster = announced().cluster();
    let pool = |name: &str, born: u32, spec: Value| {
        Arc::new(object(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "namespace": "metallb-system",
                "creationTimestamp": format!("2026-01-01T00:00:{born:02}Z")}, "spec": spec})))
    };
    let objects = Objects {
        namespace: "metallb-system".to_owned(),
        pools: vec![
            pool("front", 0, json!({"addresses": ["192.0.2.1-192.0.2.9"]})),
            pool("full", 0, json!({"addresses": ["192.0.2.32/32"]})),
            pool("manual", 0, json!({"addresses": ["192.0.2.65/32"], "autoAssign": false})),
            pool(
                "other",
                0,
                json!({"addresses": ["192.0.2.66/32"], "serviceAllocation": {"namespaces": ["mall"]}}),
            ),
            pool("overlaps", 9, json!({"addresses": ["192.0.2.0/30"]})),
            pool("six", 0, json!({"addresses": ["2001:db8::/120"]})),
            pool("spare", 0, json!({"addresses": ["192.0.2.67/32"]})),
        ],
        l2: vec![Arc::new(object(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
            "metadata": {"name": "all", "namespace": "metallb-system"}, "spec": {}})))],
        ..Objects::default()
    };
    let outcome = clarion_config::parse(&objects, &Config::default());
    (cluster.config, cluster.problems) = (outcome.config, outcome.problems);
    let service = |name: &str, address: &str| {
        object(json!({"metadata": {"name": name, "namespace": "shop", "uid": name},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}}}))
    };
    cluster.services = vec![service("web", "192.0.2.1"), service("full", "192.0.2.32")];
    let node = |name: &str, labels: Value| object(json!({"metadata": {"name": name, "labels": labels}}));
    cluster.nodes = vec![node("n1", json!({})), node("n2", json!({EXCLUDE_LABEL: ""}))];
    cluster
}

#[test]
fn of_two_overlapping_pools_the_one_that_the_controller_refused_is_set_aside() {
    let pool = |name: &str, valid: &str| {
        Arc::new(object(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "namespace": "metallb-system"},
            "spec": {"addresses": ["192.0.2.0/24"]},
            "status": {"assignedIPv4": 0, "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0,
                "conditions": [{"type": "Valid", "status": valid, "reason": "x", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})))
    };
    let objects = Objects {
        namespace: "metallb-system".to_owned(),
        pools: vec![pool("a", "False"), pool("b", "True")],
        l2: vec![],
        bgp: vec![],
        peers: vec![],
        bfd: vec![],
        communities: vec![],
        legacy: None,
    };
    let outcome = clarion_config::follow(&objects, &Config::default());
    assert_eq!(outcome.config.pools.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b"]);
}
