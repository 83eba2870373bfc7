//! `kubectl clarion explain service`: from the address to the wire, with reasons.

use clarion_config::{Pool, PoolSelection};
use clarion_controller::service::ServiceView;
use clarion_core::{AnnounceReason, Labels, ServiceKey};
use k8s_openapi::api::core::v1::Service;
use serde::Serialize;

use crate::cluster::{Cluster, LoadBalancer, load_balancer};
use crate::dryrun::{DryRun, dry_run};
use kube::ResourceExt;

/// What the command prints, in the order a packet would ask.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    service: String,
    addresses: Vec<AddressRow>,
    external_traffic_policy: String,
    /// Serving endpoints by node.
    endpoints: Vec<(String, usize)>,
    advertisements: Vec<AdvertisementRow>,
    layer2_owner: Option<String>,
    /// Nodes and the peers each announces to.
    bgp: Vec<(String, Vec<String>)>,
    /// The newest Warning: reason and message.
    warning: Option<(String, String)>,
    /// What it would get now, if it has no address.
    dry_run: Option<DryRun>,
    /// The one thing to do next; `None` when all is as it should be.
    advice: Option<String>,
}

#[derive(Debug, Serialize)]
struct AddressRow {
    address: String,
    pool: Option<String>,
}

#[derive(Debug, Serialize)]
struct AdvertisementRow {
    kind: &'static str,
    name: String,
    verdict: AnnounceReason,
    /// Which of its selectors did not select, if one did not.
    because: Option<&'static str>,
}

/// Makes the report; `None` when there is no such Service.
pub(crate) fn report(cluster: &Cluster, key: &ServiceKey) -> Option<Report> {
    Some(report_of(cluster, &cluster.views(), cluster.service(key)?))
}

/// Reports on Services that are to be, one after the other as if each had been applied.
pub(crate) fn of_new(cluster: &Cluster, services: &[Service]) -> Vec<Report> {
    let mut views = cluster.views();
    let mut reports = Vec::with_capacity(services.len());
    for service in services {
        let report = report_of(cluster, &views, service);
        if let (Some(mut view), Some(dry_run)) = (cluster.view(service), &report.dry_run) {
            view.shown.addresses = clarion_core::VipSet::from_addresses(dry_run.addresses.iter().copied());
            views.retain(|other| other.key != view.key);
            views.push(view);
        }
        reports.push(report);
    }
    reports
}

/// Of a Service, given all of them as the controller sees them.
fn report_of(cluster: &Cluster, views: &[ServiceView], service: &Service) -> Report {
    let key = &ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any());
    let Some(balancer) = load_balancer(service) else {
        let kind = service.spec.as_ref().and_then(|s| s.type_.clone()).unwrap_or_default();
        let advice = format!("type is {kind}: only Services of type LoadBalancer get an address");
        return Report::not_ours(key, advice);
    };
    if !cluster.is_ours(&balancer) {
        let class = balancer.class.as_deref().map_or("none".to_owned(), |c| format!("{c:?}"));
        let advice = format!("its loadBalancerClass is {class}: another controller's, or say --lb-class");
        return Report::not_ours(key, advice);
    }
    let pool = balancer.addresses.first().and_then(|a| cluster.pool_of(*a));
    let mut report = Report {
        service: key.to_string(),
        addresses: balancer
            .addresses
            .iter()
            .map(|a| AddressRow {
                address: a.to_string(),
                pool: cluster.pool_of(*a).map(|p| p.name.to_string()),
            })
            .collect(),
        external_traffic_policy: balancer.traffic_policy.clone(),
        endpoints: cluster.serving_endpoints(key).into_iter().collect(),
        advertisements: pool.map(|p| advertisements(cluster, p, &balancer)).unwrap_or_default(),
        layer2_owner: cluster.layer2_owner(key),
        bgp: cluster.bgp_announcers(key).collect(),
        warning: cluster.last_warning(key),
        dry_run: cluster
            .view(service)
            .filter(|_| balancer.addresses.is_empty())
            .map(|view| dry_run(cluster, views, &view)),
        advice: None,
    };
    report.advice = report.advise(pool, cluster);
    if report.advice.is_none() {
        // Whatever it was about, it is over.
        report.warning = None;
    }
    report
}

fn advertisements(cluster: &Cluster, pool: &Pool, service: &LoadBalancer) -> Vec<AdvertisementRow> {
    let row = |kind, name: &str, pools: &PoolSelection, selectors: &[clarion_core::LabelSelector]| {
        let because = mismatch(pools, selectors, pool, &service.labels);
        let verdict = match because {
            Some(_) => AnnounceReason::NoMatchingAdvertisement,
            None => AnnounceReason::Announced,
        };
        AdvertisementRow { kind, name: name.to_owned(), verdict, because }
    };
    let l2 =
        cluster.config.l2.values().map(|a| row("L2Advertisement", &a.name, &a.pools, &a.service_selectors));
    let bgp =
        cluster.config.bgp.values().map(|a| row("BGPAdvertisement", &a.name, &a.pools, &a.service_selectors));
    l2.chain(bgp).collect()
}

fn mismatch(
    pools: &PoolSelection,
    selectors: &[clarion_core::LabelSelector],
    pool: &Pool,
    labels: &Labels,
) -> Option<&'static str> {
    if !pools.matches(pool) {
        return Some("ipAddressPools and ipAddressPoolSelectors leave this pool out");
    }
    (!clarion_core::LabelSelector::any_matches(selectors, labels))
        .then_some("serviceSelectors leave this Service out")
}

impl Report {
    /// For Services that nothing is done for.
    fn not_ours(key: &ServiceKey, advice: String) -> Self {
        Self {
            service: key.to_string(),
            addresses: Vec::new(),
            external_traffic_policy: String::new(),
            endpoints: Vec::new(),
            advertisements: Vec::new(),
            layer2_owner: None,
            bgp: Vec::new(),
            warning: None,
            dry_run: None,
            advice: Some(advice),
        }
    }

    /// The first thing that is missing on the way from the address to the pod.
    fn advise(&self, pool: Option<&Pool>, cluster: &Cluster) -> Option<String> {
        if self.addresses.is_empty() {
            return Some(match (&self.warning, &self.dry_run) {
                // What it says of an older configuration may be over.
                (Some((reason, message)), Some(dry_run)) if dry_run.pool.is_none() => {
                    format!("no address: {reason}: {message}: {}", remedy(message, cluster))
                }
                (_, Some(dry_run)) => {
                    format!(
                        "no address yet; {}: `kubectl get deployment -A -l app.kubernetes.io/component=controller` shows whether anybody decides",
                        dry_run.advice()
                    )
                }
                (_, None) => "no address yet".to_owned(),
            });
        }
        if pool.is_none() {
            return Some("no pool holds the address any more: it will be replaced".to_owned());
        }
        if self.endpoints.is_empty() {
            return Some(format!(
                "no endpoint serves, so nothing is announced: `kubectl get endpointslices -l kubernetes.io/service-name={}`",
                self.service.split_once('/').map_or("", |(_, name)| name)
            ));
        }
        if self.advertisements.iter().all(|a| a.because.is_some()) {
            return Some(
                "no advertisement selects it: create an L2Advertisement or a BGPAdvertisement for the pool"
                    .to_owned(),
            );
        }
        if self.layer2_owner.is_none() && self.bgp.is_empty() {
            return Some(
                "advertised, but no node announces it: `kubectl clarion status` shows which agents live"
                    .to_owned(),
            );
        }
        None
    }
}

/// What helps against a refusal, told by MetalLB's words for it (contract §2.3, §2.5).
fn remedy(message: &str, cluster: &Cluster) -> String {
    let pools = || cluster.config.pools.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if cluster.config.pools.is_empty() {
        "create an IPAddressPool".to_owned()
    } else if message.contains("unknown pool") {
        format!("ask for one of these pools: {}", pools())
    } else if message.contains("is not allowed in config") {
        format!("ask for an address of these pools: {}", pools())
    } else if message.contains("already in use") || message.contains("also in use") {
        "ask for another address, or share this one (annotation metallb.io/allow-shared-ip on both Services)"
            .to_owned()
    } else if message.contains("no available IPs") {
        "add addresses to a pool, or delete a Service that no longer needs its own".to_owned()
    } else {
        "`kubectl describe service` shows what led to it".to_owned()
    }
}

/// The report for people.
pub(crate) fn text(report: &Report) -> String {
    let mut lines = vec![format!("Service {}", report.service)];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<16}{text}"));
    for row in &report.addresses {
        line("address", format!("{} from pool {}", row.address, row.pool.as_deref().unwrap_or("<none>")));
    }
    let endpoints: Vec<_> = report.endpoints.iter().map(|(node, n)| format!("{node} ({n})")).collect();
    line("endpoints", if endpoints.is_empty() { "none serve".to_owned() } else { endpoints.join(", ") });
    line("traffic policy", report.external_traffic_policy.clone());
    for row in &report.advertisements {
        let verdict = row.because.unwrap_or("selects it");
        line("advertised by", format!("{} {}: {verdict}", row.kind, row.name));
    }
    line("layer 2 owner", report.layer2_owner.clone().unwrap_or_else(|| "none".to_owned()));
    for (node, peers) in &report.bgp {
        line("BGP from", format!("{node}, for BGPPeers {}", peers.join(", ")));
    }
    for (label, said) in report.dry_run.iter().flat_map(DryRun::lines) {
        line(label, said);
    }
    if let Some((reason, message)) = &report.warning {
        line("last warning", format!("{reason}: {message}"));
    }
    line("what to do", report.advice.clone().unwrap_or_else(|| "nothing: it is announced".to_owned()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{Story, advertised, announced, pending};

    fn advice(story: Story) -> String {
        let key = ServiceKey::new("shop", "web");
        report(&story.cluster(), &key).unwrap().advice.unwrap_or_default()
    }

    #[test]
    fn the_first_missing_step_is_what_to_do() {
        assert_eq!(advice(announced()), "");
        assert!(advice(pending()).contains("it would get 192.0.2.0 from pool front"));
        assert!(advice(advertised()).contains("no endpoint serves"));
        assert!(advice(Story { selects: false, ..announced() }).contains("no advertisement selects it"));
        assert!(advice(Story { owner: false, ..announced() }).contains("no node announces it"));
    }

    #[test]
    fn text_names_pool_owner_and_verdict() {
        let cluster = announced().cluster();
        let text = text(&report(&cluster, &ServiceKey::new("shop", "web")).unwrap());
        for expected in ["192.0.2.1 from pool front", "L2Advertisement all: selects it", "layer 2 owner   n1"]
        {
            assert!(text.contains(expected), "{expected:?} missing from:\n{text}");
        }
    }

    #[test]
    fn an_unknown_service_is_none() {
        assert!(report(&announced().cluster(), &ServiceKey::new("shop", "nothing")).is_none());
    }
}
