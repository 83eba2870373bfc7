//! Clusters told as stories, for the tests of all commands.

use super::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};

/// A cluster with one Service `shop/web`, told by what has happened to it so far.
#[derive(Clone, Copy)]
pub(crate) struct Story {
    pub(crate) assigned: bool,
    pub(crate) serves: bool,
    pub(crate) selects: bool,
    pub(crate) owner: bool,
    /// Whether the node's agent and a controller live.
    pub(crate) agent: bool,
}

pub(crate) fn announced() -> Story {
    Story { assigned: true, serves: true, selects: true, owner: true, agent: true }
}

pub(crate) fn advertised() -> Story {
    Story { serves: false, owner: false, ..announced() }
}

pub(crate) fn pending() -> Story {
    Story { assigned: false, owner: false, agent: false, ..announced() }
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    from_value(value).unwrap()
}

/// A Lease that was renewed so many seconds before [`NOW`].
fn lease(age_s: i64, macs: &Value) -> Lease {
    let renewed = jiff::Timestamp::from_second(NOW - age_s).unwrap();
    let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    object(json!({"metadata": {"annotations": {"clarion.dev/macs": macs.to_string()}},
        "spec": {"holderIdentity": "somebody", "renewTime": renewed}}))
}

/// When all stories are told.
const NOW: i64 = 1_000_000;

/// A cluster in which `shop/web` has 192.0.2.1 of pool `front`, an endpoint on n1 serves, nodes n1
/// (labels rack=1, interface eth0) and n2 have agents, a controller lives, and nobody announces.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// `spec` of L2Advertisements, BGPAdvertisements and BGPPeers; named by their number.
    pub(crate) l2: Vec<Value>,
    pub(crate) bgp: Vec<Value>,
    pub(crate) peers: Vec<Value>,
    /// Merged into both nodes.
    pub(crate) nodes: Value,
    /// The policy and the annotations of the Service.
    pub(crate) policy: &'static str,
    pub(crate) annotations: Value,
    /// How long ago the agents and the controller renewed their Leases.
    pub(crate) agents_s: i64,
    pub(crate) controller_s: i64,
    /// Nodes that say that they announce: on layer 2, by BGP.
    pub(crate) owner: Option<&'static str>,
    pub(crate) speaker: Option<&'static str>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            l2: vec![],
            bgp: vec![],
            peers: vec![],
            nodes: json!({}),
            policy: "Cluster",
            annotations: json!({}),
            agents_s: 3,
            controller_s: 1,
            owner: None,
            speaker: None,
        }
    }
}

impl World {
    pub(crate) fn cluster(&self) -> Cluster {
        fn numbered<K: DeserializeOwned>(kind: &str, version: &str, specs: &[Value]) -> Vec<Arc<K>> {
            let one = |(n, spec): (usize, &Value)| {
                Arc::new(object(json!({
                    "apiVersion": version, "kind": kind, "spec": spec,
                    "metadata": {"name": format!("{}{n}", &kind[..2].to_lowercase()), "namespace": "metallb-system"}})))
            };
            specs.iter().enumerate().map(one).collect()
        }
        let mut cluster = Story { owner: false, ..announced() }.cluster();
        let objects = Objects {
            namespace: "metallb-system".to_owned(),
            pools: vec![Arc::new(object(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": {"name": "front", "namespace": "metallb-system"},
                "spec": {"addresses": ["192.0.2.0/24"]}})))],
            l2: numbered("L2Advertisement", "metallb.io/v1beta1", &self.l2),
            bgp: numbered("BGPAdvertisement", "metallb.io/v1beta1", &self.bgp),
            peers: numbered("PeerOfBGP", "metallb.io/v1beta2", &self.peers),
            ..Objects::default()
        };
        let outcome = clarion_config::parse(&objects, &Config::default());
        (cluster.config, cluster.problems) = (outcome.config, outcome.problems);
        cluster.nodes = ["n1", "n2"].map(|name| node(name, &self.nodes)).into();
        let agent =
            |name: &str| (name.to_owned(), lease(self.agents_s, &json!({"eth0": "02:00:00:00:00:01"})));
        cluster.leases = ["n1", "n2"].map(agent).into();
        cluster.controller = Ok(Some(lease(self.controller_s, &json!({}))));
        cluster.services = vec![object(json!({
            "metadata": {"name": "web", "namespace": "shop", "annotations": self.annotations},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "externalTrafficPolicy": self.policy},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}))];
        let status = |node: &str| {
            json!({"metadata": {"name": "x"}, "spec": {},
                "status": {"node": node, "serviceName": "web", "serviceNamespace": "shop", "peers": ["pe0"]}})
        };
        cluster.l2_status = self.owner.iter().map(|node| object(status(node))).collect();
        cluster.bgp_status = self.speaker.iter().map(|node| object(status(node))).collect();
        cluster.events = vec![];
        cluster
    }
}

fn node(name: &str, merged: &Value) -> Node {
    let mut all = merged.clone();
    all["metadata"]["name"] = json!(name);
    if name == "n1" {
        all["metadata"]["labels"]["rack"] = json!("1");
    }
    object(all)
}

impl Cluster {
    /// The same with these Warnings, which were all said at one second: version and message.
    pub(crate) fn warned(mut self, said: &[(&str, &str)]) -> Self {
        let at = jiff::Timestamp::from_second(NOW - 90).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = |(version, message): &(&str, &str)| {
            object(json!({
                "metadata": {"name": version, "namespace": "shop", "resourceVersion": version,
                    "creationTimestamp": "1970-01-01T00:00:00Z"},
                "lastTimestamp": at, "type": "Warning", "reason": "AllocationFailed", "message": message,
                "involvedObject": {"namespace": "shop", "name": "web"}}))
        };
        self.events = said.iter().map(event).collect();
        self
    }

    /// The same with this remark on its pool.
    pub(crate) fn remarked(mut self, pool: &str, remark: &str) -> Self {
        self.remarks = [(pool.to_owned(), remark.to_owned())].into();
        self
    }

    /// The same, configured by a ConfigMap.
    pub(crate) fn of_configmap(mut self) -> Self {
        self.source = Some("ConfigMap metallb-system/config".to_owned());
        self
    }
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
            namespace: "metallb-system".to_owned(),
            source: None,
            remarks: BTreeMap::new(),
            controller: Ok(self.agent.then(|| lease(0, &json!({})))),
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
            leases: self.agent.then(|| ("n1".to_owned(), lease(0, &json!({})))).into_iter().collect(),
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
            now: jiff::Timestamp::from_second(NOW).unwrap(),
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
fn who_lives_is_told_by_a_lease_that_is_held_and_fresh() {
    let now = jiff::Timestamp::from_second(NOW).unwrap();
    let mut given_back = lease(1, &json!({}));
    given_back.spec.as_mut().unwrap().holder_identity = Some(String::new());
    // (Lease, life)
    for (lease, life) in [
        (Some(lease(0, &json!({}))), Life::Lives(0)),
        (Some(lease(-5, &json!({}))), Life::Lives(0)),
        (Some(lease(15, &json!({}))), Life::Lives(15)),
        (Some(lease(300, &json!({}))), Life::Silent(300)),
        (Some(given_back), Life::Absent),
        (None, Life::Absent),
    ] {
        assert_eq!(Life::of(lease.as_ref(), now), life, "{lease:?}");
    }
}

#[test]
fn of_warnings_within_a_second_the_last_is_the_newest() {
    let key = ServiceKey::new("shop", "web");
    let cluster = World::default().cluster().warned(&[("99", "first"), ("101", "last"), ("100", "second")]);
    let warning = cluster.last_warning(&key).unwrap();
    assert_eq!((warning.message.as_str(), warning.age_s), ("last", Some(90)));
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
