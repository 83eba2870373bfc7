//! What a Service would get now, and why not of each other pool: decided by the
//! controller's own planner on what the API server says, written nowhere.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clarion_alloc::{Families, Wish};
use clarion_config::{Pool, PoolSelection};
use clarion_controller::planner::Planner;
use clarion_controller::service::{Role, ServiceView};
use clarion_core::{AllocReason, Family, LabelSelector, Labels};
use serde::Serialize;

use crate::cluster::Cluster;

/// The decision.
#[derive(Debug, Serialize)]
pub(crate) struct DryRun {
    /// The addresses; empty if it would get none.
    pub(crate) addresses: Vec<IpAddr>,
    /// The pool they are from.
    pub(crate) pool: Option<String>,
    /// Why it would get none, in the words of the event.
    pub(crate) refusal: Option<String>,
    /// Every pool, in the order of names.
    pub(crate) pools: Vec<PoolVerdict>,
    /// Nodes that could own the addresses on layer 2, by advertisements and node labels.
    pub(crate) layer2_nodes: Vec<String>,
    /// Nodes that would announce them by BGP.
    pub(crate) bgp_nodes: Vec<String>,
}

/// A pool's part in it.
#[derive(Debug, Serialize)]
pub(crate) struct PoolVerdict {
    pub(crate) pool: String,
    pub(crate) reason: PoolReason,
    /// What would have to change for an address of it; empty if it is the one.
    pub(crate) remedy: String,
}

/// Why an address is, or is not, from a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PoolReason {
    /// It is.
    Chosen,
    /// It would do; another one comes first.
    LaterInOrder,
    /// The pool as written is not in force.
    NotInForce,
    /// Its serviceAllocation is for other Services.
    NotForThisService,
    /// The Service asks for another pool.
    OtherPoolRequested,
    /// The Service asks for addresses that the pool does not have.
    OtherAddressesRequested,
    /// Only Services that ask for it get something.
    NotAutomatic,
    /// It has no addresses of a family that the Service needs.
    FamilyMissing,
    /// Nothing of it is free for this Service.
    Exhausted,
    /// What the Service asks for of it cannot be given.
    Refused,
}

impl PoolReason {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Chosen => "would be used",
            Self::LaterInOrder => "would do, but another pool comes first",
            Self::NotInForce => "is not in force",
            Self::NotForThisService => "its serviceAllocation is for other Services",
            Self::OtherPoolRequested => "the Service asks for another pool",
            Self::OtherAddressesRequested => "does not have the addresses that the Service asks for",
            Self::NotAutomatic => "autoAssign is off and the Service does not ask for it",
            Self::FamilyMissing => "has no addresses of a family that the Service needs",
            Self::Exhausted => "has nothing free for this Service",
            Self::Refused => "cannot give what the Service asks for",
        }
    }
}

/// What the planner said.
struct Plan {
    addresses: Vec<IpAddr>,
    pool: Option<String>,
    refusal: Option<String>,
}

/// Decides for a Service as the controller would. `services` are all that it sees.
pub(crate) fn dry_run(cluster: &Cluster, services: &[ServiceView], service: &ServiceView) -> DryRun {
    let outcome = cluster.outcome();
    let namespace_labels = &cluster.namespace_labels(service.key.namespace());
    let mut planner = Planner::start(&outcome, services);
    let plan = plan(&mut planner, service, namespace_labels);
    let config = &outcome.config;
    let mut verdicts: BTreeMap<String, PoolVerdict> = BTreeMap::new();
    for pool in config.pools.values() {
        let reason = if plan.pool.as_deref() == Some(pool.name.as_str()) {
            PoolReason::Chosen
        } else {
            excluded(pool, service, namespace_labels).unwrap_or_else(|| {
                let asking = asking_for(service, pool);
                match self::plan(&mut planner, &asking, namespace_labels).addresses.is_empty() {
                    false => PoolReason::LaterInOrder,
                    true if wants_addresses(service) => PoolReason::Refused,
                    true => PoolReason::Exhausted,
                }
            })
        };
        let remedy = remedy(reason, pool, &plan);
        verdicts.insert(pool.name.to_string(), PoolVerdict { pool: pool.name.to_string(), reason, remedy });
    }
    for pool in config.set_aside.values().filter(|pool| !config.pools.contains_key(&pool.name)) {
        let (reason, pool) = (PoolReason::NotInForce, pool.name.to_string());
        let remedy = "`kubectl clarion status` says what is wrong with it".to_owned();
        verdicts.insert(pool.clone(), PoolVerdict { pool, reason, remedy });
    }
    let (layer2_nodes, bgp_nodes) = announcers(cluster, &plan, service);
    DryRun {
        addresses: plan.addresses,
        pool: plan.pool,
        refusal: plan.refusal,
        pools: verdicts.into_values().collect(),
        layer2_nodes,
        bgp_nodes,
    }
}

/// Which nodes the advertisements of the chosen pool are for: layer 2 and BGP.
fn announcers(cluster: &Cluster, plan: &Plan, service: &ServiceView) -> (Vec<String>, Vec<String>) {
    let config = &cluster.config;
    let pool = plan.pool.as_ref().and_then(|name| config.pools.get(&name.as_str().into()));
    let Some(pool) = pool else { return (Vec::new(), Vec::new()) };
    let selects = |pools: &PoolSelection, services: &[LabelSelector]| {
        pools.matches(pool) && LabelSelector::any_matches(services, &service.labels)
    };
    let l2 = config.l2.values().filter(|a| selects(&a.pools, &a.service_selectors));
    let l2: Vec<_> = l2.map(|a| a.node_selectors.as_slice()).collect();
    let bgp = config.bgp.values().filter(|a| selects(&a.pools, &a.service_selectors));
    let bgp: Vec<_> = bgp.map(|a| a.node_selectors.as_slice()).collect();
    let nodes = |selectors: &[&[LabelSelector]]| {
        let chosen = |labels: &Labels| selectors.iter().any(|s| LabelSelector::any_matches(s, labels));
        cluster.announcing_nodes().filter(|(_, labels)| chosen(labels)).map(|(name, _)| name).collect()
    };
    (nodes(&l2), nodes(&bgp))
}

/// Plans, and forgets it again.
fn plan(planner: &mut Planner, service: &ServiceView, namespace_labels: &Labels) -> Plan {
    planner.forget(&service.key);
    let planned = planner.plan(service, namespace_labels);
    planner.forget(&service.key);
    let lead = format!("Failed to allocate IP for \"{}\": ", service.key);
    let bad = |reason: AllocReason| reason.is_warning() && reason != AllocReason::DeprecatedAnnotation;
    let refusal = planned.sayings.iter().find(|saying| bad(saying.reason));
    let refusal =
        refusal.map(|saying| saying.message.strip_prefix(&lead).unwrap_or(&saying.message).to_owned());
    let (addresses, pool) = planned.write.map_or_else(
        || (service.shown.addresses.unwrap_or_default(), service.shown.pool.clone()),
        |write| (write.addresses, write.pool.map(|pool| pool.to_string())),
    );
    Plan { addresses: addresses.iter().collect(), pool, refusal }
}

/// The same Service, if it asked for this pool.
fn asking_for(service: &ServiceView, pool: &Pool) -> ServiceView {
    let mut asking = service.clone();
    if let Role::Balancer { wish, .. } = &mut asking.role
        && matches!(wish, Wish::Any)
    {
        *wish = Wish::Pool(pool.name.clone());
    }
    asking
}

fn wants_addresses(service: &ServiceView) -> bool {
    matches!(&service.role, Role::Balancer { wish: Wish::Addresses { .. } | Wish::Unreadable(_), .. })
}

/// What of the configuration keeps the pool out, whatever is free.
fn excluded(pool: &Pool, service: &ServiceView, namespace_labels: &Labels) -> Option<PoolReason> {
    let Role::Balancer { families, wish, .. } = &service.role else { return Some(PoolReason::Refused) };
    let for_it =
        |a: &clarion_config::ServiceAllocation| a.matches(&service.key, &service.labels, namespace_labels);
    match wish {
        Wish::Pool(asked) | Wish::Addresses { pool: Some(asked), .. } if *asked != pool.name => {
            return Some(PoolReason::OtherPoolRequested);
        }
        Wish::Addresses { addresses, .. } if !addresses.iter().all(|address| pool.contains(address)) => {
            return Some(PoolReason::OtherAddressesRequested);
        }
        _ => {}
    }
    if pool.allocation.as_ref().is_some_and(|allocation| !for_it(allocation)) {
        return Some(PoolReason::NotForThisService);
    }
    if *wish == Wish::Any && !pool.auto_assign {
        return Some(PoolReason::NotAutomatic);
    }
    let (v4, v6) = (pool.has_family(Family::V4), pool.has_family(Family::V6));
    let missing = match families {
        Ok(Families::One(Family::V4)) => !v4,
        Ok(Families::One(Family::V6)) => !v6,
        Ok(Families::Both) => !(v4 && v6),
        Ok(Families::Prefer { .. }) | Err(_) => false,
    };
    missing.then_some(PoolReason::FamilyMissing)
}

fn remedy(reason: PoolReason, pool: &Pool, plan: &Plan) -> String {
    let name = &pool.name;
    match reason {
        PoolReason::Chosen => String::new(),
        PoolReason::LaterInOrder => {
            format!(
                "annotate the Service with metallb.io/address-pool: {name}, or give the pool a better serviceAllocation.priority"
            )
        }
        PoolReason::NotInForce => "`kubectl clarion status` says what is wrong with it".to_owned(),
        PoolReason::NotForThisService => {
            "change the pool's serviceAllocation, or the labels of the Service or its namespace".to_owned()
        }
        PoolReason::OtherPoolRequested => {
            "change or remove the annotation metallb.io/address-pool".to_owned()
        }
        PoolReason::OtherAddressesRequested => {
            "ask for addresses of this pool (metallb.io/loadBalancerIPs), or for none".to_owned()
        }
        PoolReason::NotAutomatic => {
            format!("annotate the Service with metallb.io/address-pool: {name}, or set the pool's autoAssign")
        }
        PoolReason::FamilyMissing => {
            "add addresses of that family to the pool, or change the Service's ipFamilyPolicy and ipFamilies"
                .to_owned()
        }
        PoolReason::Exhausted => {
            "add addresses to the pool, delete a Service, or share an address (metallb.io/allow-shared-ip)"
                .to_owned()
        }
        PoolReason::Refused => plan.refusal.clone().unwrap_or_default(),
    }
}

impl DryRun {
    /// Whether the Service would have an address that somebody may announce.
    pub(crate) fn is_good(&self) -> bool {
        self.pool.is_some() && !(self.layer2_nodes.is_empty() && self.bgp_nodes.is_empty())
    }

    /// The one thing to say to somebody who waits.
    pub(crate) fn advice(&self) -> String {
        if let Some(pool) = &self.pool {
            let nobody = self.layer2_nodes.is_empty() && self.bgp_nodes.is_empty();
            let tail = if nobody {
                format!(
                    "; but no advertisement would announce it: create an L2Advertisement or a BGPAdvertisement for pool {pool}"
                )
            } else {
                String::new()
            };
            return format!("it would get {} from pool {pool}{tail}", self.texts());
        }
        match &self.refusal {
            Some(refusal) => format!("it would get no address: {refusal}"),
            None => "it would get no address yet: it has no ClusterIP".to_owned(),
        }
    }

    /// The addresses as text.
    pub(crate) fn texts(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Lines for people.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some(pool) = &self.pool {
            lines.push(("would get", format!("{} from pool {pool}", self.texts())));
            let nodes = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            lines.push(("could own it", nodes(&self.layer2_nodes)));
            lines.push(("BGP would be from", nodes(&self.bgp_nodes)));
        } else {
            lines.push((
                "would get",
                format!("nothing: {}", self.refusal.as_deref().unwrap_or("it has no ClusterIP yet")),
            ));
        }
        for pool in &self.pools {
            let remedy = if pool.remedy.is_empty() { String::new() } else { format!(": {}", pool.remedy) };
            lines.push(("pool", format!("{} {}{remedy}", pool.pool, pool.reason.text())));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::pools_and_services;
    use serde_json::{Value, json};

    fn dry(service: &Value) -> DryRun {
        let cluster = pools_and_services();
        let mut object = json!({"metadata": {"namespace": "shop", "name": "new", "uid": "n", "resourceVersion": "1"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}});
        for part in ["metadata", "spec"] {
            for (key, value) in service[part].as_object().into_iter().flatten() {
                object[part][key] = value.clone();
            }
        }
        let view = cluster.view(&serde_json::from_value(object).unwrap()).unwrap();
        dry_run(&cluster, &cluster.views(), &view)
    }

    fn verdicts(dry_run: &DryRun) -> Vec<String> {
        dry_run.pools.iter().map(|p| format!("{} {:?}", p.pool, p.reason)).collect()
    }

    #[test]
    fn it_says_the_pool_and_why_not_the_others() {
        let plain = dry(&json!({}));
        assert_eq!((plain.texts().as_str(), plain.pool.as_deref()), ("192.0.2.2", Some("front")));
        assert_eq!(
            verdicts(&plain),
            [
                "front Chosen",
                "full Exhausted",
                "manual NotAutomatic",
                "other NotForThisService",
                "overlaps NotInForce",
                "six FamilyMissing",
                "spare LaterInOrder",
            ]
        );
        assert!(plain.pools.iter().all(|p| p.remedy.is_empty() == (p.reason == PoolReason::Chosen)));
        assert_eq!((plain.layer2_nodes, plain.bgp_nodes), (vec!["n1".to_owned()], vec![]));
    }

    #[test]
    fn what_the_service_asks_for_decides() {
        let asking = |key: &str, value: &str| dry(&json!({"metadata": {"annotations": {key: value}}}));
        let manual = asking("metallb.io/address-pool", "manual");
        assert_eq!((manual.texts().as_str(), manual.pool.as_deref()), ("192.0.2.65", Some("manual")));
        assert!(
            verdicts(&manual).contains(&"front OtherPoolRequested".to_owned()),
            "{:?}",
            verdicts(&manual)
        );
        let full = asking("metallb.io/address-pool", "full");
        assert_eq!(full.refusal.as_deref(), Some("no available IPs in pool full"));
        assert!(verdicts(&full).contains(&"full Exhausted".to_owned()), "{:?}", verdicts(&full));
        let taken = asking("metallb.io/loadBalancerIPs", "192.0.2.1");
        assert!(
            taken.refusal.as_deref().unwrap_or_default().contains("also in use by shop/web"),
            "{:?}",
            taken.refusal
        );
        let said = verdicts(&taken);
        assert!(
            said.contains(&"front Refused".to_owned())
                && said.contains(&"spare OtherAddressesRequested".to_owned())
        );
        let unknown = asking("metallb.io/address-pool", "nope");
        assert_eq!(unknown.refusal.as_deref(), Some(r#"unknown pool "nope""#));
    }

    #[test]
    fn text_and_json_say_the_same() {
        let plain = dry(&json!({}));
        let lines: Vec<_> =
            plain.lines().into_iter().map(|(label, said)| format!("{label}: {said}")).collect();
        assert_eq!(lines[0], "would get: 192.0.2.2 from pool front");
        assert!(
            lines.iter().any(|l| l.starts_with("pool: manual autoAssign is off")
                && l.contains("metallb.io/address-pool: manual")),
            "{lines:#?}"
        );
        let json = serde_json::to_value(&plain).unwrap();
        assert_eq!(json["addresses"], json!(["192.0.2.2"]));
        assert_eq!(json["pools"][2]["reason"], "notAutomatic");
    }
}
