//! `kubectl clarion status`: pools, Services, nodes and problems on one screen.

use std::collections::BTreeSet;

use clarion_core::AddressRange;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::output::{plain, table as render, verdict};

/// What the command prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pools: Vec<PoolRow>,
    services: Vec<ServiceRow>,
    nodes: Vec<NodeRow>,
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
}

#[derive(Debug, Serialize)]
struct ServiceRow {
    service: String,
    addresses: Vec<String>,
    pool: Option<String>,
    /// The node that answers on layer 2.
    owner: Option<String>,
    /// Nodes that announce it by BGP.
    bgp_nodes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    node: String,
    /// Seconds since the agent's Lease was renewed; `None` if there is no Lease.
    lease_age_s: Option<i64>,
    layer2_addresses: usize,
    bgp_services: usize,
}

impl ServiceRow {
    /// What is missing, and the command that says why.
    fn problem(&self) -> Option<String> {
        let missing = if self.addresses.is_empty() {
            "no address"
        } else if self.owner.is_none() && self.bgp_nodes.is_empty() {
            "an address that no node announces"
        } else {
            return None;
        };
        let name = &self.service;
        Some(format!("Service {name} has {missing}: `kubectl clarion explain service {name}` says why"))
    }
}

/// A Lease older than this is worth a look (agents renew it every 5 s).
const LEASE_FRESH_S: i64 = 15;

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
        .nodes()
        .map(|node| NodeRow {
            lease_age_s: cluster.lease_age_s(&node),
            layer2_addresses: services.iter().filter(|s| s.owner.as_deref() == Some(&node)).count(),
            bgp_services: services.iter().filter(|s| s.bgp_nodes.contains(&node)).count(),
            node,
        })
        .collect::<Vec<_>>();
    let problems = cluster
        .problems
        .iter()
        .map(ToString::to_string)
        .chain(cluster.complaints())
        .chain(services.iter().filter_map(ServiceRow::problem))
        .chain(nodes.iter().filter(|n| n.lease_age_s.is_none_or(|age| age > LEASE_FRESH_S)).map(|n| {
            format!("node {} has no live agent: `kubectl get pods -A -l app.kubernetes.io/component=agent -o wide`", n.node)
        }))
        .collect();
    Report { pools, services, nodes, problems, notices: cluster.notices.clone() }
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
                verdict(if p.valid { "yes" } else { "no" }, p.valid),
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
                Some(age) => verdict(format!("seen {age} s ago"), age <= LEASE_FRESH_S),
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
    use crate::cluster::tests::{announced, pending};

    #[test]
    fn an_announced_service_shows_pool_owner_and_use() {
        let report = report(&announced().cluster());
        assert_eq!((report.pools[0].assigned, report.services[0].pool.as_deref()), (1, Some("front")));
        assert_eq!(report.services[0].owner.as_deref(), Some("n1"));
        assert!(table(&report).contains("192.0.2.1"));
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
