//! The objects that tests and demo apply with kubectl, as a user would write them.

use clarion_lab::addressing::{CLUSTER_ASN, ROUTER_ASN, router};

/// The namespace of the workload and its Services.
pub const WORKLOAD_NAMESPACE: &str = "web";
/// The pool that Services get addresses from unless they say otherwise.
pub const POOL: &str = "lan";

/// Whether an address belongs to the pool `lan`: part of the nodes' LAN, so
/// that layer 2 reaches it, and announced by BGP as well.
pub fn in_pool(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(v4) => matches!(v4.octets(), [192, 168, 100, 200..=229]),
        std::net::IpAddr::V6(v6) => {
            let [a, b, 0, 0, 0, 0, 0, last] = v6.segments() else { return false };
            (a, b) == (0xfd00, 0x100) && (0x200..=0x2ff).contains(&last)
        }
    }
}

/// One pool with both families.
pub fn pool() -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {POOL}, namespace: metallb-system}}\n\
         spec:\n  addresses:\n  - 192.168.100.200-192.168.100.229\n  - fd00:100::200-fd00:100::2ff\n"
    )
}

/// Layer 2 for every pool.
pub fn l2_advertisement() -> String {
    "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n\
     metadata: {name: lan, namespace: metallb-system}\nspec: {}\n"
        .to_owned()
}

/// BGP for every pool, to the lab's router: a session of each family.
pub fn bgp() -> String {
    let station = router(1);
    let peer = |name: &str, address: String| {
        format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
             spec: {{myASN: {CLUSTER_ASN}, peerASN: {ROUTER_ASN}, peerAddress: \"{address}\"}}\n---\n"
        )
    };
    peer("router-v4", station.v4.to_string())
        + &peer("router-v6", station.v6.to_string())
        + "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\n\
           metadata: {name: all, namespace: metallb-system}\nspec: {}\n"
}

/// A web server of three pods that say who they are, one on each node.
pub fn workload() -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {WORKLOAD_NAMESPACE}}}\n---\n{}",
        deployment("web", 3)
    )
}

/// A web server `name` with label `app: NAME` and a readiness probe each second.
pub fn deployment(name: &str, replicas: u32) -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {WORKLOAD_NAMESPACE}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {{matchLabels: {{app: {name}}}}}}}
      containers:
      - name: http
        image: lab/http
        ports: [{{containerPort: 8080}}]
        env:
        - {{name: NODE_NAME, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1, failureThreshold: 1}}
"#
    )
}

/// A Service of type LoadBalancer for the pods `app: APP`, to be narrowed by the
/// methods.
#[derive(Clone, Debug)]
pub struct Service {
    name: String,
    app: String,
    families: &'static str,
    annotations: Vec<(String, String)>,
    extra: String,
}

impl Service {
    /// An IPv4 Service for the pods of [`workload`].
    pub fn new(name: &str) -> Self {
        let families = "ipFamilyPolicy: SingleStack\n  ipFamilies: [IPv4]";
        Self {
            name: name.to_owned(),
            app: "web".to_owned(),
            families,
            annotations: Vec::new(),
            extra: String::new(),
        }
    }

    /// IPv6 only.
    #[must_use]
    pub fn v6(mut self) -> Self {
        self.families = "ipFamilyPolicy: SingleStack\n  ipFamilies: [IPv6]";
        self
    }

    /// An address of each family.
    #[must_use]
    pub fn dual(mut self) -> Self {
        self.families = "ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv4, IPv6]";
        self
    }

    /// For other pods than the workload's.
    #[must_use]
    pub fn app(mut self, app: &str) -> Self {
        app.clone_into(&mut self.app);
        self
    }

    /// With an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With another field of `spec`.
    #[must_use]
    pub fn field(mut self, key: &str, value: &str) -> Self {
        self.extra += &format!("  {key}: {value}\n");
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As YAML.
    pub fn yaml(&self) -> String {
        let annotations: Vec<String> =
            self.annotations.iter().map(|(k, v)| format!("{k}: \"{v}\"")).collect();
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  namespace: {WORKLOAD_NAMESPACE}\n  \
             annotations: {{{}}}\nspec:\n  type: LoadBalancer\n  {}\n  selector: {{app: {}}}\n  \
             ports: [{{port: 80, targetPort: 8080}}]\n{}",
            self.name,
            annotations.join(", "),
            self.families,
            self.app,
            self.extra
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_what_its_check_says() {
        for (text, inside) in [
            ("192.168.100.200", true),
            ("192.168.100.230", false),
            ("192.168.101.200", false),
            ("fd00:100::200", true),
            ("fd00:100::300", false),
        ] {
            assert_eq!(in_pool(text.parse().expect("parses")), inside, "{text}");
        }
    }
}
