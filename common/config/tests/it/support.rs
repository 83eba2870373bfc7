//! Objects from short JSON, as the API server would deliver them.

use std::sync::Arc;

use clarion_api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use clarion_config::{Config, Objects, Outcome, parse};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "metallb-system";

/// An object of that name and age (in seconds: larger is younger).
pub(crate) fn object<K: DeserializeOwned>(kind: &str, name: &str, born: u32, spec: &Value) -> Arc<K> {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    let created = format!("2026-01-01T{:02}:{:02}:{:02}Z", born / 3600 % 24, born / 60 % 60, born % 60);
    let object = json!({
        "apiVersion": format!("metallb.io/{version}"),
        "kind": kind,
        "metadata": { "name": name, "namespace": NAMESPACE, "creationTimestamp": created, "labels": { "name": name } },
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).expect("a readable object"))
}

pub(crate) fn pool(name: &str, born: u32, addresses: &[&str]) -> Arc<IPAddressPool> {
    object("IPAddressPool", name, born, &json!({ "addresses": addresses }))
}

/// Collects objects; every method adds one.
#[derive(Clone)]
pub(crate) struct World(pub(crate) Objects);

impl World {
    pub(crate) fn new() -> Self {
        Self(Objects { namespace: NAMESPACE.to_owned(), ..Objects::default() })
    }

    pub(crate) fn pool(mut self, name: &str, born: u32, addresses: &[&str]) -> Self {
        self.0.pools.push(pool(name, born, addresses));
        self
    }

    /// Any kind by its spec. `born` is the number of objects so far: later is younger.
    pub(crate) fn with(mut self, kind: &str, name: &str, spec: &Value) -> Self {
        let o = &mut self.0;
        let all = [o.pools.len(), o.l2.len(), o.bgp.len(), o.peers.len(), o.bfd.len(), o.communities.len()];
        let born = u32::try_from(all.iter().sum::<usize>()).expect("few objects");
        match kind {
            "IPAddressPool" => o.pools.push(object::<IPAddressPool>(kind, name, born, spec)),
            "L2Advertisement" => o.l2.push(object::<L2Advertisement>(kind, name, born, spec)),
            "BGPAdvertisement" => o.bgp.push(object::<BGPAdvertisement>(kind, name, born, spec)),
            "BGPPeer" => o.peers.push(object::<BGPPeer>(kind, name, born, spec)),
            "BFDProfile" => o.bfd.push(object::<BFDProfile>(kind, name, born, spec)),
            "Community" => o.communities.push(object::<Community>(kind, name, born, spec)),
            other => panic!("no kind {other}"),
        }
        self
    }

    pub(crate) fn parse(&self) -> Outcome {
        self.after(&Config::default())
    }

    pub(crate) fn after(&self, previous: &Config) -> Outcome {
        parse(&self.0, previous)
    }
}

/// One problem, as `name: field: message`.
#[track_caller]
pub(crate) fn only_problem(outcome: &Outcome) -> String {
    assert_eq!(outcome.problems.len(), 1, "{:#?}", outcome.problems);
    let problem = &outcome.problems[0];
    format!("{}: {}: {}", problem.object.name, problem.field, problem.message)
}

#[track_caller]
pub(crate) fn no_problem(outcome: &Outcome) {
    assert!(outcome.problems.is_empty(), "{:#?}", outcome.problems);
}
