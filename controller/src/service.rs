//! A Service, reduced to what decides its addresses.
//!
//! The watch keeps this and drops the rest of the object (managedFields above all),
//! so that memory grows with what the controller has to know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_alloc::{Claim, Families, Port, Protocol, Wish};
use clarion_api::annotations::ServiceAnnotation;
use clarion_core::{Family, Labels, ServiceKey, VipSet};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

/// A Service that the controller has something to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.uid`: a Service of the same name that is made anew is another one.
    pub uid: String,
    /// `metadata.resourceVersion`, the condition on which status is written.
    pub resource_version: String,
    /// Seconds since 1970: of two that hold one address and may not, the older keeps it.
    pub created_s: i64,
    /// `metadata.labels`, for serviceSelectors.
    pub labels: Arc<Labels>,
    /// What it wants.
    pub role: Role,
    /// `externalTrafficPolicy: Local`: only nodes with serving endpoints take its traffic.
    pub local: bool,
    /// What its status says.
    pub shown: Shown,
    /// Annotations with the deprecated prefix that it has, but for the one that we remove.
    pub deprecated: Vec<&'static str>,
}

/// Whether the Service gets addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It is a load balancer of our class.
    Balancer {
        /// Which families; or why that cannot be told.
        families: Result<Families, FamilyProblem>,
        /// What its owner asked for.
        wish: Wish,
        /// On what terms it shares.
        claim: Arc<Claim>,
    },
    /// It was one; what we wrote into it has to go.
    Former,
}

/// What is written in the Service now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// The addresses of `status.loadBalancer.ingress`; `None` if those there are no Service's
    /// of ours.
    pub addresses: Option<VipSet>,
    /// Those that are none, as written: not addresses, or two of a family. Else empty.
    pub strange: Vec<String>,
    /// Whether there is something beside addresses, like a host name.
    pub more: bool,
    /// Annotation `metallb.io/ip-allocated-from-pool`.
    pub pool: Option<String>,
    /// The same under the deprecated prefix, which has to go (issue #2642 of MetalLB).
    pub deprecated_pool: bool,
}

/// Why the families of a Service cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FamilyProblem {
    /// `clusterIPs` has none yet.
    NoClusterIps,
    /// `clusterIPs` has something that is no address, like `None`, or two of a family.
    Unreadable {
        /// `clusterIPs`, or `clusterIP` where that is all there is.
        texts: Vec<String>,
        /// `clusterIP`.
        first: String,
    },
    /// RequireDualStack, but fewer than two of them.
    NotEnough(Vec<String>),
}

impl ServiceView {
    /// Reads a Service. `None` if there is nothing to do with it: it is no load
    /// balancer, or one of another class (contract §2.2), and bears no trace of ours.
    #[must_use]
    pub fn read(service: &Service, class: Option<&str>) -> Option<Self> {
        let (meta, spec) = (&service.metadata, service.spec.as_ref()?);
        let empty = BTreeMap::new();
        let annotations = meta.annotations.as_ref().unwrap_or(&empty);
        let shown = Shown::read(service, annotations);
        let balancer = spec.type_.as_deref() == Some("LoadBalancer");
        if balancer && spec.load_balancer_class.as_deref() != class {
            return None;
        }
        if !balancer && shown.pool.is_none() && !shown.deprecated_pool {
            return None;
        }
        let read = |annotation: ServiceAnnotation| annotation.read(annotations);
        let text = |annotation| read(annotation).map_or("", |found| found.value);
        let role = if balancer {
            Role::Balancer {
                families: families(spec),
                wish: Wish::read(
                    spec.load_balancer_ip.as_deref().unwrap_or_default(),
                    text(ServiceAnnotation::LoadBalancerIps),
                    text(ServiceAnnotation::AddressPool),
                ),
                claim: Arc::new(claim(spec, text(ServiceAnnotation::AllowSharedIp))),
            }
        } else {
            Role::Former
        };
        let asked = [
            ServiceAnnotation::AddressPool,
            ServiceAnnotation::LoadBalancerIps,
            ServiceAnnotation::AllowSharedIp,
        ];
        Some(Self {
            key: ServiceKey::new(meta.namespace.clone()?, meta.name.clone()?),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            created_s: meta.creation_timestamp.as_ref().map_or(i64::MAX, |t| t.0.as_second()),
            labels: Arc::new(meta.labels.clone().unwrap_or_default()),
            role,
            local: spec.external_traffic_policy.as_deref() == Some("Local"),
            shown,
            // Whether or not the other prefix wins: it is there and has to go.
            deprecated: asked
                .into_iter()
                .map(ServiceAnnotation::deprecated_key)
                .filter(|key| annotations.contains_key(*key))
                .collect(),
        })
    }
}

impl Shown {
    fn read(service: &Service, annotations: &BTreeMap<String, String>) -> Self {
        let ingress = service
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref())
            .and_then(|balancer| balancer.ingress.as_deref())
            .unwrap_or_default();
        let texts: Vec<&String> = ingress.iter().filter_map(|entry| entry.ip.as_ref()).collect();
        let parsed: Option<Vec<IpAddr>> = texts.iter().map(|text| text.parse().ok()).collect();
        let addresses = parsed.and_then(VipSet::from_addresses);
        let annotation = ServiceAnnotation::IpAllocatedFromPool;
        Self {
            strange: if addresses.is_none() { texts.into_iter().cloned().collect() } else { Vec::new() },
            addresses,
            more: ingress.iter().any(|entry| entry.ip.is_none() || entry.hostname.is_some()),
            pool: annotations.get(annotation.key()).cloned(),
            deprecated_pool: annotations.contains_key(annotation.deprecated_key()),
        }
    }
}

/// The families of `clusterIPs` and what the policy makes of them (contract §2.6).
fn families(spec: &ServiceSpec) -> Result<Families, FamilyProblem> {
    let single = || spec.cluster_ip.iter().cloned().collect();
    let texts: Vec<String> = spec.cluster_ips.clone().filter(|list| !list.is_empty()).unwrap_or_else(single);
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    let policy = spec.ip_family_policy.as_deref();
    if policy == Some("RequireDualStack") && texts.len() < 2 {
        return Err(FamilyProblem::NotEnough(texts));
    }
    let families: Result<Vec<Family>, _> =
        texts.iter().map(|text| text.parse::<IpAddr>().map(Family::of)).collect();
    match families.as_deref() {
        Ok([]) => Err(FamilyProblem::NoClusterIps),
        Ok([one]) => Ok(Families::One(*one)),
        Ok([first, second]) if first != second => Ok(match policy {
            Some("PreferDualStack") => Families::Prefer { first: *first },
            _ => Families::Both,
        }),
        _ => {
            let first = spec.cluster_ip.clone().or_else(|| texts.first().cloned()).unwrap_or_default();
            Err(FamilyProblem::Unreadable { texts, first })
        }
    }
}

/// Sharing key, backend key and ports (contract §2.5).
fn claim(spec: &ServiceSpec, sharing: &str) -> Claim {
    let backend = match spec.external_traffic_policy.as_deref() {
        Some("Local") => {
            let selector = spec.selector.iter().flatten();
            selector.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    };
    let ports: BTreeSet<Port> = spec.ports.iter().flatten().filter_map(port).collect();
    Claim { sharing: sharing.to_owned(), backend, ports }
}

fn port(port: &ServicePort) -> Option<Port> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        // The API server admits no others.
        Some(_) => return None,
    };
    Some(Port { protocol, number: u16::try_from(port.port).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: &serde_json::Value) -> Option<ServiceView> {
        let object = json!({"metadata": {"namespace": "ns", "name": "x"}, "spec": spec});
        ServiceView::read(&serde_json::from_value(object).unwrap(), None)
    }

    fn families_of(spec: serde_json::Value) -> Result<Families, FamilyProblem> {
        let mut spec = spec;
        spec["type"] = json!("LoadBalancer");
        match read(&spec).unwrap().role {
            Role::Balancer { families, .. } => families,
            Role::Former => panic!("a balancer"),
        }
    }

    #[test]
    fn families_follow_cluster_ips_and_policy() {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let both = ["10.0.0.1", "fd00::1"];
        // (clusterIPs, policy, meaning)
        let table: [(&[&str], &str, Result<Families, FamilyProblem>); 8] = [
            (&["10.0.0.1"], "SingleStack", Ok(Families::One(Family::V4))),
            (&["fd00::1"], "PreferDualStack", Ok(Families::One(Family::V6))),
            (&both, "RequireDualStack", Ok(Families::Both)),
            (&["fd00::1", "10.0.0.1"], "PreferDualStack", Ok(Families::Prefer { first: Family::V6 })),
            (&["10.0.0.1"], "RequireDualStack", Err(FamilyProblem::NotEnough(texts(&["10.0.0.1"])))),
            (
                &["None"],
                "SingleStack",
                Err(FamilyProblem::Unreadable { texts: texts(&["None"]), first: "None".into() }),
            ),
            (
                &["10.0.0.1", "10.0.0.2"],
                "SingleStack",
                Err(FamilyProblem::Unreadable {
                    texts: texts(&["10.0.0.1", "10.0.0.2"]),
                    first: "10.0.0.1".into(),
                }),
            ),
            (&[], "SingleStack", Err(FamilyProblem::NoClusterIps)),
        ];
        for (cluster_ips, policy, expected) in table {
            let spec = json!({"clusterIPs": cluster_ips, "ipFamilyPolicy": policy});
            assert_eq!(families_of(spec), expected, "{cluster_ips:?} {policy}");
        }
        assert_eq!(families_of(json!({"clusterIP": "10.0.0.1"})), Ok(Families::One(Family::V4)));
    }

    #[test]
    fn only_balancers_of_our_class_concern_us() {
        let spec = |class: Option<&str>| {
            let object = json!({
                "metadata": {"namespace": "ns", "name": "x"},
                "spec": {"type": "LoadBalancer", "loadBalancerClass": class, "clusterIPs": ["10.0.0.1"]},
            });
            serde_json::from_value::<Service>(object).unwrap()
        };
        // (the Service's class, ours, whether it concerns us)
        let table = [
            (None, None, true),
            (Some("other.io/x"), None, false),
            (None, Some("ours.io/x"), false),
            (Some("ours.io/x"), Some("ours.io/x"), true),
        ];
        for (theirs, ours, concerns) in table {
            assert_eq!(ServiceView::read(&spec(theirs), ours).is_some(), concerns, "{theirs:?} {ours:?}");
        }
        assert_eq!(read(&json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.1"]})), None);
    }

    #[test]
    fn what_is_shown_is_read_as_far_as_it_is_addresses() {
        let shown = |ingress: serde_json::Value| {
            let object = json!({
                "metadata": {"namespace": "ns", "name": "x"}, "spec": {"type": "LoadBalancer"},
                "status": {"loadBalancer": {"ingress": ingress}},
            });
            let shown = ServiceView::read(&serde_json::from_value(object).unwrap(), None).unwrap().shown;
            (shown.addresses, shown.more, shown.strange.join(" "))
        };
        let one = VipSet::from_addresses(["192.0.2.1".parse().unwrap()]);
        // (ingress, addresses, whether there is more, what is strange)
        let table = [
            (json!([{"ip": "192.0.2.1", "ipMode": "VIP"}]), one, false, ""),
            (json!(null), Some(VipSet::default()), false, ""),
            (json!([{"hostname": "lb.example"}]), Some(VipSet::default()), true, ""),
            (json!([{"hostname": "lb.example"}, {"ip": "192.0.2.1"}]), one, true, ""),
            (json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]), None, false, "192.0.2.1 192.0.2.2"),
            (json!([{"ip": "nonsense"}]), None, false, "nonsense"),
        ];
        for (ingress, addresses, more, strange) in table {
            assert_eq!(shown(ingress.clone()), (addresses, more, strange.to_owned()), "{ingress}");
        }
    }

    #[test]
    fn local_policy_shares_with_equal_selectors_only() {
        let backend = |policy: &str| {
            let spec = json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"],
                "externalTrafficPolicy": policy, "selector": {"b": "2", "a": "1"}});
            match read(&spec).unwrap().role {
                Role::Balancer { claim, .. } => claim.backend.clone(),
                Role::Former => panic!("a balancer"),
            }
        };
        assert_eq!((backend("Cluster").as_str(), backend("Local").as_str()), ("", "a=1,b=2"));
    }
}
