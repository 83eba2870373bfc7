//! `kubectl clarion explain service`: from the address to the wire, with reasons.

use clarion_config::Pool;
use clarion_controller::service::ServiceView;
use clarion_core::{AnnounceReason, ServiceKey};
use k8s_openapi::api::core::v1::Service;
use serde::Serialize;

use crate::causes::{Cause, advertisements, causes};
use crate::cluster::{Cluster, Life, LoadBalancer, load_balancer};
use crate::dryrun::{DryRun, dry_run};
use kube::ResourceExt;

/// What the command prints, in the order a packet would ask.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    service: String,
    /// Whether the cluster has it; else everything is what would be.
    exists: bool,
    /// What the configuration is read from, if not from objects.
    source: Option<String>,
    addresses: Vec<AddressRow>,
    external_traffic_policy: String,
    /// Serving endpoints by node.
    endpoints: Vec<(String, usize)>,
    advertisements: Vec<AdvertisementRow>,
    layer2_owner: Option<String>,
    /// Seconds for which the owner's agent has said nothing, if that is long.
    layer2_owner_silent_s: Option<i64>,
    /// Nodes and the peers each means to announce to; that it is so does not say that the
    /// sessions are up.
    bgp: Vec<(String, Vec<String>)>,
    /// Why it is not announced by a protocol that is meant to.
    causes: Vec<Cause>,
    /// The newest Warning: reason and message.
    warning: Option<(String, String)>,
    /// Seconds since it was said last.
    warning_age_s: Option<i64>,
    /// What it would get now, if it has no address.
    dry_run: Option<DryRun>,
    /// The one thing to do next; `None` when all is as it should be.
    advice: Option<String>,
}

#[derive(Debug, Serialize)]
struct AddressRow {
    address: String,
    pool: Option<String>,
    /// What is odd about the pool's addresses, as its condition AddressesUsable says.
    remark: Option<String>,
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
    Some(report_of(cluster, &cluster.views(), cluster.service(key)?, true))
}

/// Reports on Services that are to be, one after the other as if each had been applied.
pub(crate) fn of_new(cluster: &Cluster, services: &[Service]) -> Vec<Report> {
    let mut views = cluster.views();
    let mut reports = Vec::with_capacity(services.len());
    for service in services {
        let report = report_of(cluster, &views, service, false);
        if let (Some(mut view), Some(dry_run)) = (cluster.view(service), &report.dry_run) {
            view.shown.addresses = clarion_core::VipSet::from_addresses(dry_run.addresses.iter().copied());
            views.retain(|other| other.key != view.key);
            views.push(view);
        }
        reports.push(report);
    }
    reports
}

/// Of a Service, given all of them as the controller sees them. `exists`: the cluster has it.
fn report_of(cluster: &Cluster, views: &[ServiceView], service: &Service, exists: bool) -> Report {
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
    let owner = cluster.layer2_owner(key);
    let warning = exists.then(|| cluster.last_warning(key)).flatten();
    let endpoints: Vec<_> = cluster.serving_endpoints(key).into_iter().collect();
    let mut report = Report {
        service: key.to_string(),
        exists,
        source: cluster.source.clone(),
        addresses: balancer
            .addresses
            .iter()
            .map(|a| AddressRow {
                address: a.to_string(),
                pool: cluster.pool_of(*a).map(|p| p.name.to_string()),
                remark: cluster
                    .pool_of(*a)
                    .and_then(|pool| cluster.remark(pool.name.as_str()))
                    .map(str::to_owned),
            })
            .collect(),
        external_traffic_policy: balancer.traffic_policy.clone(),
        advertisements: pool.map(|p| rows(cluster, p, &balancer)).unwrap_or_default(),
        layer2_owner_silent_s: owner.as_deref().and_then(|node| match cluster.agent(node) {
            Life::Silent(age) => Some(age),
            _ => None,
        }),
        layer2_owner: owner,
        bgp: cluster.bgp_announcers(key).collect(),
        causes: pool
            .filter(|_| !endpoints.is_empty())
            .map(|pool| causes(cluster, &balancer, pool))
            .unwrap_or_default(),
        endpoints,
        warning_age_s: warning.as_ref().and_then(|warning| warning.age_s),
        warning: warning.map(|warning| (warning.reason, warning.message)),
        dry_run: cluster
            .view(service)
            .filter(|_| balancer.addresses.is_empty())
            .map(|view| dry_run(cluster, views, &view)),
        advice: None,
    };
    report.advice = report.advise(pool, cluster);
    if report.advice.is_none() {
        // Whatever it was about, it is over.
        (report.warning, report.warning_age_s) = (None, None);
    }
    report
}

fn rows(cluster: &Cluster, pool: &Pool, service: &LoadBalancer) -> Vec<AdvertisementRow> {
    let row = |a: crate::causes::Advertisement<'_>| {
        let because = a.mismatch(pool, service);
        let verdict = match because {
            Some(_) => AnnounceReason::NoMatchingAdvertisement,
            None => AnnounceReason::Announced,
        };
        AdvertisementRow { kind: a.kind, name: a.name.to_owned(), verdict, because }
    };
    advertisements(cluster).map(row).collect()
}

impl Report {
    /// For Services that nothing is done for.
    fn not_ours(key: &ServiceKey, advice: String) -> Self {
        Self {
            service: key.to_string(),
            exists: true,
            source: None,
            addresses: Vec::new(),
            external_traffic_policy: String::new(),
            endpoints: Vec::new(),
            advertisements: Vec::new(),
            layer2_owner: None,
            layer2_owner_silent_s: None,
            bgp: Vec::new(),
            causes: Vec::new(),
            warning: None,
            warning_age_s: None,
            dry_run: None,
            advice: Some(advice),
        }
    }

    /// Whether there is something to be done before the Service is, or would be, reachable.
    pub(crate) fn wants_attention(&self) -> bool {
        match &self.dry_run {
            Some(dry_run) if !self.exists => !dry_run.is_good(),
            _ => self.advice.is_some(),
        }
    }

    /// The first thing that is missing on the way from the address to the pod.
    fn advise(&self, pool: Option<&Pool>, cluster: &Cluster) -> Option<String> {
        if self.addresses.is_empty() {
            return Some(self.advise_pending(cluster));
        }
        if pool.is_none() {
            return Some("no pool holds the address any more: it will be replaced".to_owned());
        }
        if self.endpoints.is_empty() {
            let (namespace, name) = self.service.split_once('/').unwrap_or_default();
            return Some(format!(
                "no endpoint serves, so nothing is announced: `kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}` shows which there are"
            ));
        }
        if let Some(cause) = self.causes.first() {
            return Some(format!("{}: {}", cause.what, cause.remedy));
        }
        let (node, silent) = (self.layer2_owner.as_deref()?, self.layer2_owner_silent_s?);
        Some(format!(
            "{node} said last that it announces it, and its agent has said nothing for {}: {}",
            ago(silent),
            cluster.pods_command("agent")
        ))
    }

    /// Without an address: what the planner says now counts, not what was said of an older
    /// configuration.
    fn advise_pending(&self, cluster: &Cluster) -> String {
        let Some(dry_run) = &self.dry_run else { return "no address yet".to_owned() };
        if let Some(refusal) = dry_run.refusal.as_ref().filter(|_| dry_run.pool.is_none()) {
            let none = if self.exists { "no address" } else { "it would get no address" };
            return format!("{none}: {refusal}: {}", remedy(refusal, cluster));
        }
        if !self.exists {
            return dry_run.advice();
        }
        let who = match cluster.controller() {
            Life::Absent | Life::Silent(_) => {
                format!("no controller lives to give it: {}", cluster.pods_command("controller"))
            }
            Life::Lives(_) => {
                format!("should it not have it in a moment: {}", cluster.logs_command("controller"))
            }
            Life::Unknown => cluster.pods_command("controller"),
        };
        format!("no address yet; {}; {who}", dry_run.advice())
    }
}

/// A time in the past, as kubectl writes ages.
pub(crate) fn ago(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What helps against a refusal, told by MetalLB's words for it (contract §2.3, §2.5).
fn remedy(message: &str, cluster: &Cluster) -> String {
    let pools = || cluster.config.pools.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if cluster.config.pools.is_empty() {
        "create an IPAddressPool".to_owned()
    } else if message.contains("is set aside") {
        "mend that pool (`kubectl clarion status` has all that is wrong with it), or ask for another one"
            .to_owned()
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
    let new = if report.exists { "" } else { ", as it would be (nothing was changed)" };
    let mut lines = vec![format!("Service {}{new}", report.service)];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<16}{text}"));
    if let Some(source) = &report.source {
        line("configured by", source.clone());
    }
    for row in &report.addresses {
        line("address", format!("{} from pool {}", row.address, row.pool.as_deref().unwrap_or("<none>")));
        for remark in row.remark.iter().flat_map(|remark| remark.lines()) {
            line("pool", format!("{}: {remark}", row.pool.as_deref().unwrap_or_default()));
        }
    }
    line("traffic policy", report.external_traffic_policy.clone());
    if report.exists {
        let endpoints: Vec<_> = report.endpoints.iter().map(|(node, n)| format!("{node} ({n})")).collect();
        line("endpoints", if endpoints.is_empty() { "none serve".to_owned() } else { endpoints.join(", ") });
    }
    for row in &report.advertisements {
        let verdict = row.because.unwrap_or("selects it");
        line("advertised by", format!("{} {}: {verdict}", row.kind, row.name));
    }
    if report.exists {
        announcers(report, &mut line);
    }
    for (label, said) in report.dry_run.iter().flat_map(DryRun::lines) {
        line(label, said);
    }
    if let Some((reason, message)) = &report.warning {
        let age = report.warning_age_s.map_or(String::new(), |age| format!(" ({} ago)", ago(age)));
        line("last warning", format!("{reason}: {message}{age}"));
    }
    let done = if report.exists { "nothing: it is announced" } else { "nothing: apply it" };
    let advice = report.advice.clone().filter(|_| report.wants_attention());
    line("what to do", advice.unwrap_or_else(|| done.to_owned()));
    lines.join("\n")
}

fn announcers(report: &Report, line: &mut impl FnMut(&str, String)) {
    let silent = report.layer2_owner_silent_s.map_or(String::new(), |age| {
        format!(" (says its last word; its agent is silent since {})", ago(age))
    });
    let owner = report.layer2_owner.as_ref().map(|node| format!("{node}{silent}"));
    line("layer 2 owner", owner.unwrap_or_else(|| "none".to_owned()));
    for (node, peers) in &report.bgp {
        line("BGP meant from", format!("{node}, for BGPPeers {}", peers.join(", ")));
    }
    if !report.bgp.is_empty() {
        line("BGP sessions", SESSIONS.to_owned());
    }
    // The first is what there is to do something about.
    for cause in report.causes.iter().skip(1) {
        let protocol = cause.protocol.map_or(String::new(), |protocol| format!("{protocol}: "));
        line("and", format!("{protocol}{}: {}", cause.what, cause.remedy));
    }
}

/// What cannot be had from the API server, and where it is.
const SESSIONS: &str = "whether they are up is not known here: each agent's `metallb_bgp_session_up` (port 7472, /metrics) and its log say it";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{Story, World, advertised, announced, pending};

    fn advice(story: Story) -> String {
        let key = ServiceKey::new("shop", "web");
        report(&story.cluster(), &key).unwrap().advice.unwrap_or_default()
    }

    #[test]
    fn the_first_missing_step_is_what_to_do() {
        assert_eq!(advice(announced()), "");
        assert!(advice(pending()).contains("it would get 192.0.2.0 from pool front"));
        assert!(advice(advertised()).contains("no endpoint serves"));
        assert!(
            advice(Story { selects: false, ..announced() }).contains("names pools that do not exist: back")
        );
        assert!(advice(Story { owner: false, ..announced() }).contains("none says that it does"));
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
    fn what_was_said_before_has_its_age_and_does_not_contradict_what_is_so_now() {
        let cluster = pending().cluster().warned(&[("7", "unknown pool \"old\"")]);
        let report = report(&cluster, &ServiceKey::new("shop", "web")).unwrap();
        let text = text(&report);
        assert!(text.contains("last warning    AllocationFailed: unknown pool \"old\" (90s ago)"), "{text}");
        let advice = report.advice.unwrap();
        assert!(advice.contains("it would get 192.0.2.0") && !advice.contains("old"), "{advice}");
        assert!(advice.contains("no controller lives to give it"), "{advice}");
    }

    #[test]
    fn an_owner_whose_agent_is_silent_is_said_to_be_one() {
        let world =
            World { owner: Some("n1"), agents_s: 600, l2: vec![serde_json::json!({})], ..World::default() };
        let report = report(&world.cluster(), &ServiceKey::new("shop", "web")).unwrap();
        assert_eq!(report.layer2_owner_silent_s, Some(600));
        assert!(report.advice.as_ref().unwrap().contains("has said nothing for 10m"), "{:?}", report.advice);
        assert!(text(&report).contains("n1 (says its last word"));
    }

    #[test]
    fn of_bgp_it_is_said_what_is_meant_and_of_pools_what_is_odd_and_where_all_is_from() {
        let world = World { speaker: Some("n1"), bgp: vec![serde_json::json!({})], ..World::default() };
        let cluster = world.cluster().remarked("front", "192.0.2.1 is node n1's own").of_configmap();
        let text = text(&report(&cluster, &ServiceKey::new("shop", "web")).unwrap());
        for expected in [
            "BGP meant from  n1, for BGPPeers pe0",
            "not known here",
            "pool            front: 192.0.2.1 is node n1's own",
            "configured by   ConfigMap metallb-system/config",
        ] {
            assert!(text.contains(expected), "{expected:?} missing from:\n{text}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_told_as_such_and_asks_for_attention_if_nobody_could_reach_it() {
        let new = |world: &World, annotations: serde_json::Value| {
            let service = serde_json::json!({
                "metadata": {"name": "new", "namespace": "shop", "uid": "n", "annotations": annotations},
                "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}});
            of_new(&world.cluster(), &[serde_json::from_value(service).unwrap()]).remove(0)
        };
        let good = World { l2: vec![serde_json::json!({})], ..World::default() };
        let report = new(&good, serde_json::json!({}));
        let said = text(&report);
        assert!(!report.wants_attention(), "{said}");
        assert!(said.starts_with("Service shop/new, as it would be (nothing was changed)"), "{said}");
        assert!(said.ends_with("nothing: apply it") && !said.contains("endpoints"), "{said}");
        // Nobody would announce it; no pool of that name.
        let report = new(&World::default(), serde_json::json!({}));
        assert!(report.wants_attention() && text(&report).contains("create an L2Advertisement"));
        let report = new(&good, serde_json::json!({"metallb.io/address-pool": "nope"}));
        let said = text(&report);
        assert!(said.contains("what to do      it would get no address: unknown pool \"nope\""), "{said}");
    }

    #[test]
    fn an_unknown_service_is_none() {
        assert!(report(&announced().cluster(), &ServiceKey::new("shop", "nothing")).is_none());
    }
}
