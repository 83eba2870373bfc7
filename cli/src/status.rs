//! `kubectl clarion status`: pools, Services, nodes and problems on one screen.

use std::collections::BTreeSet;

use clarion_core::AddressRange;
use serde::Serialize;

use crate::causes::causes;
use crate::cluster::{Cluster, Life, LoadBalancer};
use crate::explain::ago;
use crate::output::{plain, table as render, verdict};

/// What the command prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pools: Vec<PoolRow>,
    services: Vec<ServiceRow>,
    nodes: Vec<NodeRow>,
    /// Seconds since the controller renewed its Lease; `None` if nobody holds it or it may not be read.
    controller_age_s: Option<i64>,
    /// What the configuration is read from, if not from objects.
    source: Option<String>,
    /// One line each: object, field, what is wrong, what to do.
    pub(crate) problems: Vec<String>,
    /// Worth knowing, and no problem.
    notices: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PoolRow {
    name: String,
    addresses: Vec<String>,
    auto_assign: bool,
    assigned: usize,
    /// Whether the pool is in force as it is written.
    valid: bool,
    /// What is odd about its addresses, as its condition AddressesUsable says.
    remark: Option<String>,
}

#[derive(Debug, Serialize)]
struct ServiceRow {
    service: String,
    addresses: Vec<String>,
    pool: Option<String>,
    /// The node that answers on layer 2.
    owner: Option<String>,
    /// Nodes that mean to announce it by BGP.
    bgp_nodes: Vec<String>,
    /// Why no node announces it, and what to do, if none does.
    cause: Option<String>,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    node: String,
    /// Seconds since the agent's Lease was renewed; `None` if there is no Lease.
    lease_age_s: Option<i64>,
    layer2_addresses: usize,
    bgp_services: usize,
    #[serde(skip)]
    agent: Life,
}

impl ServiceRow {
    /// What is missing, and the command that says why.
    fn problem(&self) -> Option<String> {
        let name = &self.service;
        if let Some(cause) = &self.cause {
            return Some(format!("Service {name}: {cause} (`kubectl clarion explain service {name}`)"));
        }
        let missing = if self.addresses.is_empty() {
            "no address"
        } else if self.owner.is_none() && self.bgp_nodes.is_empty() {
            "an address that no node announces"
        } else {
            return None;
        };
        Some(format!("Service {name} has {missing}: `kubectl clarion explain service {name}` says why"))
    }
}

/// Why no node announces a Service by a protocol that is meant to.
fn cause(cluster: &Cluster, service: &LoadBalancer) -> Option<String> {
    let pool = service.addresses.first().and_then(|address| cluster.pool_of(*address))?;
    if cluster.serving_endpoints(&service.key).is_empty() {
        return None;
    }
    let cause = causes(cluster, service, pool).into_iter().next()?;
    let by = cause.protocol.map_or(String::new(), |protocol| format!(" by {protocol}"));
    Some(format!("no node announces it{by}: {}: {}", cause.what, cause.remedy))
}

/// That no controller works, if it is so.
fn without_controller(cluster: &Cluster) -> Option<String> {
    let how = match cluster.controller() {
        Life::Lives(_) | Life::Unknown => return None,
        Life::Silent(age) => format!("the last one was heard of {} ago", ago(age)),
        Life::Absent => "nobody holds its Lease".to_owned(),
    };
    Some(format!(
        "no controller lives ({how}), so no Service gets an address and nobody is made an owner: {}",
        cluster.pods_command("controller")
    ))
}

/// An agent that does not live, and what depends on it.
fn without_agent(cluster: &Cluster, node: &NodeRow) -> Option<String> {
    let how = match node.agent {
        Life::Lives(_) | Life::Unknown => return None,
        Life::Silent(age) => format!("the last one was heard of {} ago", ago(age)),
        Life::Absent => "there was none".to_owned(),
    };
    let said = node.layer2_addresses + node.bgp_services;
    let stale = match said {
        0 => String::new(),
        _ => ", and what it said of Services may be over".to_owned(),
    };
    Some(format!("node {} has no live agent ({how}){stale}: {}", node.node, cluster.pods_command("agent")))
}

/// Makes the report: nothing but what the snapshot holds.
pub(crate) fn report(cluster: &Cluster) -> Report {
    let services: Vec<_> = cluster
        .services()
        .map(|service| ServiceRow {
            service: service.key.to_string(),
            addresses: service.addresses.iter().map(ToString::to_string).collect(),
            pool: service.addresses.first().and_then(|a| cluster.pool_of(*a)).map(|p| p.name.to_string()),
            owner: cluster.layer2_owner(&service.key),
            bgp_nodes: cluster.bgp_announcers(&service.key).map(|(node, _)| node).collect(),
            cause: cause(cluster, &service),
        })
        .collect();
    // Shared addresses count once.
    let in_use: BTreeSet<_> = cluster.services().flat_map(|s| s.addresses).collect();
    let config = &cluster.config;
    // A pool that is set aside may be in force in an older version.
    let aside = config.set_aside.values().filter(|pool| !config.pools.contains_key(&pool.name));
    let mut pools: Vec<_> = config
        .pools
        .values()
        .chain(aside)
        .map(|pool| PoolRow {
            remark: cluster.remark(pool.name.as_str()).map(str::to_owned),
            name: pool.name.to_string(),
            addresses: pool.ranges.iter().map(AddressRange::to_string).collect(),
            auto_assign: pool.auto_assign,
            assigned: in_use.iter().filter(|a| pool.contains(**a)).count(),
            valid: !config.set_aside.contains_key(&pool.name)
                && !cluster.has_problem("IPAddressPool", pool.name.as_str()),
        })
        .collect();
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let nodes = cluster
        .node_facts()
        .map(|node| NodeRow {
            lease_age_s: match node.agent {
                Life::Lives(age) | Life::Silent(age) => Some(age),
                Life::Absent | Life::Unknown => None,
            },
            agent: node.agent,
            layer2_addresses: services.iter().filter(|s| s.owner.as_deref() == Some(&node.name)).count(),
            bgp_services: services.iter().filter(|s| s.bgp_nodes.contains(&node.name)).count(),
            node: node.name,
        })
        .collect::<Vec<_>>();
    let problems = without_controller(cluster)
        .into_iter()
        .chain(cluster.problems.iter().map(ToString::to_string))
        .chain(cluster.complaints())
        .chain(services.iter().filter_map(ServiceRow::problem))
        .chain(nodes.iter().filter_map(|node| without_agent(cluster, node)))
        .collect();
    let controller_age_s = match cluster.controller() {
        Life::Lives(age) | Life::Silent(age) => Some(age),
        Life::Absent | Life::Unknown => None,
    };
    let source = cluster.source.clone();
    Report { pools, services, nodes, controller_age_s, source, problems, notices: notices(cluster) }
}

/// What is worth knowing and no problem.
fn notices(cluster: &Cluster) -> Vec<String> {
    let source = cluster.source.iter().map(|source| {
        format!("the configuration is read from {source}: `kubectl clarion convert` makes objects of it")
    });
    let pools = cluster.config.pools.keys();
    let remarks = pools.filter_map(|pool| Some((pool, cluster.remark(pool.as_str())?)));
    let remarks = remarks.flat_map(|(pool, remark)| {
        remark.lines().map(move |line| format!("IPAddressPool {pool}: AddressesUsable: {line}"))
    });
    let bgp = cluster.services().any(|service| cluster.bgp_announcers(&service.key).next().is_some());
    let sessions = bgp.then(|| {
        format!(
            "BGP FROM says what is meant, not whether the sessions are up: {}",
            cluster.logs_command("agent")
        )
    });
    source.chain(cluster.notices.iter().cloned()).chain(remarks).chain(sessions).collect()
}

/// The report for people.
pub(crate) fn table(report: &Report) -> String {
    let pools = render(
        ["POOL", "ADDRESSES", "AUTO ASSIGN", "IN USE", "VALID"],
        report.pools.iter().map(|p| {
            [
                plain(&p.name),
                plain(p.addresses.join(", ")),
                plain(p.auto_assign),
                plain(p.assigned),
                match (&p.remark, p.valid) {
                    (Some(_), true) => plain("yes, but see below"),
                    (_, true) => verdict("yes", true),
                    (_, false) => verdict("no", false),
                },
            ]
        }),
    );
    let services = render(
        ["SERVICE", "ADDRESSES", "POOL", "LAYER 2 OWNER", "BGP FROM"],
        report.services.iter().map(|s| {
            let addresses =
                if s.addresses.is_empty() { "<pending>".to_owned() } else { s.addresses.join(", ") };
            [
                plain(&s.service),
                verdict(addresses, !s.addresses.is_empty()),
                plain(s.pool.as_deref().unwrap_or_default()),
                plain(s.owner.as_deref().unwrap_or_default()),
                plain(s.bgp_nodes.join(", ")),
            ]
        }),
    );
    let nodes = render(
        ["NODE", "AGENT", "LAYER 2", "BGP"],
        report.nodes.iter().map(|n| {
            let agent = match n.lease_age_s {
                Some(age) => verdict(format!("seen {} ago", ago(age)), n.agent.lives()),
                None => verdict("none", false),
            };
            [plain(&n.node), agent, plain(n.layer2_addresses), plain(n.bgp_services)]
        }),
    );
    let problems = match report.problems.as_slice() {
        [] => "No problems.\n".to_owned(),
        some => some.iter().map(|p| format!("! {p}\n")).collect(),
    };
    let notices: String = report.notices.iter().map(|notice| format!("i {notice}\n")).collect();
    [pools, services, nodes, problems].join("\n") + &notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{World, announced, pending};

    #[test]
    fn an_announced_service_shows_pool_owner_and_use() {
        let report = report(&announced().cluster());
        assert_eq!((report.pools[0].assigned, report.services[0].pool.as_deref()), (1, Some("front")));
        assert_eq!(report.services[0].owner.as_deref(), Some("n1"));
        assert!(table(&report).contains("192.0.2.1"));
    }

    #[test]
    fn who_does_not_live_is_said_with_what_hangs_on_it() {
        let l2 = vec![serde_json::json!({})];
        let well = World { owner: Some("n1"), l2, ..World::default() };
        assert_eq!(report(&well.cluster()).problems, Vec::<String>::new());
        let said = report(&World { controller_s: 600, agents_s: 7200, ..well }.cluster()).problems;
        assert!(said[0].starts_with("no controller lives (the last one was heard of 10m ago)"), "{said:?}");
        assert!(
            said[1].starts_with(
                "node n1 has no live agent (the last one was heard of 2h ago), and what it said"
            )
        );
        assert!(said[2].starts_with(
            "node n2 has no live agent (the last one was heard of 2h ago): `kubectl get pods -n"
        ));
    }

    #[test]
    fn a_service_that_nobody_announces_is_a_problem_with_its_cause() {
        let said = report(&World::default().cluster()).problems;
        let expected = "Service shop/web: no node announces it: there is no L2Advertisement";
        assert!(said.len() == 1 && said[0].starts_with(expected), "{said:?}");
    }

    #[test]
    fn what_is_odd_and_where_all_is_from_is_noted() {
        let world = World { speaker: Some("n1"), bgp: vec![serde_json::json!({})], ..World::default() };
        let cluster = world.cluster().remarked("front", "192.0.2.1 is n1's").of_configmap();
        let report = report(&cluster);
        assert_eq!(report.notices.len(), 3, "{:?}", report.notices);
        let text = table(&report);
        for expected in [
            "yes, but see below",
            "AddressesUsable: 192.0.2.1 is n1's",
            "ConfigMap metallb-system/config",
            "not whether the sessions are up",
        ] {
            assert!(text.contains(expected), "{expected:?} missing from:\n{text}");
        }
    }

    #[test]
    fn fields_for_programs_keep_their_names() {
        let json = serde_json::to_value(report(&announced().cluster())).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for (row, fields) in [
            (&json, &["pools", "services", "nodes", "problems", "notices"][..]),
            (&json["pools"][0], &["name", "addresses", "auto_assign", "assigned", "valid"]),
            (&json["services"][0], &["service", "addresses", "pool", "owner", "bgp_nodes"]),
            (&json["nodes"][0], &["node", "lease_age_s", "layer2_addresses", "bgp_services"]),
        ] {
            assert!(fields.iter().all(|field| keys(row).iter().any(|key| key == field)), "{row}");
        }
    }

    #[test]
    fn pending_services_and_nodes_without_an_agent_are_problems() {
        let report = report(&pending().cluster());
        assert!(
            report.problems.iter().any(|p| p.contains("explain service shop/web")),
            "{:?}",
            report.problems
        );
        assert!(report.problems.iter().any(|p| p.starts_with("node n1 has no live agent")));
    }
}
