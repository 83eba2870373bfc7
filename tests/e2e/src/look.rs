//! Questions about the state of a lab: addresses of Services, who answers, what
//! the kernel counted, what HTTP says.

use crate::objects::{Service, WORKLOAD_NAMESPACE, bgp, l2_advertisement, pool, workload};
use anyhow::{Context, Result, ensure};
use clarion_lab::addressing::client;
use clarion_lab::http::{Request, Response};
use clarion_lab::prober::{Answer, Prober};
use clarion_lab::tools::manifests;
use clarion_lab::{Lab, Netns};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long the lab may take for what it normally does in milliseconds. Two
/// cores are shared with a control plane; a tight deadline would test those.
pub const SOON: Duration = Duration::from_secs(20);
/// How long a thing must not happen to count as not happening.
pub const QUIET: Duration = Duration::from_millis(300);

/// The agents' and the controllers' plain HTTP port for metrics.
pub const METRICS_PORT: u16 = 7472;

/// Their port for `/healthz`, `/readyz` and the agents' `/state`, on the loopback.
pub const PROBES_PORT: u16 = 17472;

/// Applies pool, both advertisements and the workload, and waits until its pods
/// are ready.
///
/// # Errors
/// When the API server refuses one or the pods do not get ready.
pub fn apply_base(lab: &Lab) -> Result<()> {
    lab.apply(&[pool(), l2_advertisement(), bgp(), workload()].join("---\n"))?;
    wait_deployment(lab, "web", 3)
}

/// Waits until a Deployment of the workload's namespace has `replicas` ready pods.
///
/// # Errors
/// After the deadline.
pub fn wait_deployment(lab: &Lab, name: &str, replicas: u64) -> Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{WORKLOAD_NAMESPACE}/deployments/{name}");
    lab.wait_until(&format!("{replicas} ready pods of {name}"), SOON, || {
        let deployment = lab.get(&path)?;
        Ok(deployment.filter(|d| d["status"]["readyReplicas"].as_u64() == Some(replicas)).map(drop))
    })
}

/// The path of a Service of the workload's namespace.
pub fn service_path(name: &str) -> String {
    format!("/api/v1/namespaces/{WORKLOAD_NAMESPACE}/services/{name}")
}

/// The addresses in a Service's status.
pub fn ingress(service: &Value) -> Vec<IpAddr> {
    let all = service["status"]["loadBalancer"]["ingress"].as_array();
    all.into_iter().flatten().filter_map(|i| i["ip"].as_str()?.parse().ok()).collect()
}

/// The addresses that a Service has now; none when it does not exist.
///
/// # Errors
/// When the API server does not answer.
pub fn addresses(lab: &Lab, name: &str) -> Result<Vec<IpAddr>> {
    Ok(lab.get(&service_path(name))?.map(|service| ingress(&service)).unwrap_or_default())
}

/// A Service that exists as long as this value: deleting it at the end leaves
/// the lab as the next test expects it.
#[derive(Debug)]
pub struct Held<'a> {
    lab: &'a Lab,
    yaml: String,
    name: String,
}

impl<'a> Held<'a> {
    /// Applies a Service.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply(lab: &'a Lab, service: &Service) -> Result<Self> {
        Self::any(lab, service.name(), service.yaml())
    }

    /// Applies any YAML, to be deleted at the end.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn any(lab: &'a Lab, name: &str, yaml: String) -> Result<Self> {
        let held = Self { lab, name: name.to_owned(), yaml };
        lab.apply(&held.yaml)?;
        Ok(held)
    }

    /// Waits for `count` addresses.
    ///
    /// # Errors
    /// After the deadline.
    pub fn addresses(&self, count: usize) -> Result<Vec<IpAddr>> {
        self.lab.wait_until(&format!("{count} address(es) of Service {}", self.name), SOON, || {
            Ok(Some(addresses(self.lab, &self.name)?).filter(|all| all.len() == count))
        })
    }

    /// Waits for its one address.
    ///
    /// # Errors
    /// After the deadline.
    pub fn address(&self) -> Result<IpAddr> {
        self.addresses(1)?.first().copied().context("no address")
    }

    /// Waits for an event with this reason and returns its message.
    ///
    /// # Errors
    /// After the deadline.
    pub fn event(&self, reason: &str) -> Result<String> {
        self.lab.wait_until(&format!("event {reason} of Service {}", self.name), SOON, || {
            let events = self.lab.events(WORKLOAD_NAMESPACE, "Service", &self.name)?;
            Ok(events.into_iter().rev().find(|(r, _)| r == reason).map(|(_, message)| message))
        })
    }

    /// Deletes it now.
    ///
    /// # Errors
    /// With kubectl's words.
    pub fn delete(self) -> Result<()> {
        self.lab.delete(&self.yaml).map(drop)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.lab.delete(&self.yaml) {
            eprintln!("deleting {}: {error:#}", self.name);
        }
    }
}

/// A prober on the LAN's client.
///
/// # Errors
/// When the lab has no client.
pub fn prober(lab: &Lab) -> Result<Prober> {
    Prober::new(lab.client(1)?, client(1))
}

/// Waits until somebody answers for an address on the LAN.
///
/// # Errors
/// After the deadline.
pub fn answered(lab: &Lab, prober: &Prober, address: IpAddr) -> Result<Answer> {
    lab.wait_until(&format!("an answer for {address}"), SOON, || {
        prober.ask(address, Duration::from_millis(20))
    })
}

/// Waits until nobody answers for an address on the LAN.
///
/// # Errors
/// After the deadline.
pub fn silent(lab: &Lab, prober: &Prober, address: IpAddr) -> Result<()> {
    lab.wait_until(&format!("silence for {address}"), SOON, || {
        Ok(prober.ask(address, QUIET)?.is_none().then_some(()))
    })
}

/// The name of the node that answers, after checking that the frame came from
/// the very MAC that it names.
///
/// # Errors
/// When the MAC is none of a node's `eth0`.
pub fn owner(lab: &Lab, answer: &Answer) -> Result<String> {
    ensure!(
        answer.mac == answer.from,
        "the answer names {:02x?} but came from {:02x?}",
        answer.mac,
        answer.from
    );
    let node =
        lab.node_by_mac(answer.mac).with_context(|| format!("{:02x?} is no node's eth0", answer.mac))?;
    Ok(node.machine().name().to_owned())
}

/// The sum of an agent's samples that carry `outcome="NAME"`, by its metrics port.
///
/// # Errors
/// When the agent does not answer, or has no such counter.
pub fn outcome(lab: &Lab, node: &str, name: &str) -> Result<u64> {
    let text = metrics(lab, node)?;
    let label = format!("=\"{name}\"");
    let mut samples = text.lines().filter(|l| !l.starts_with('#') && l.contains(&label)).peekable();
    ensure!(samples.peek().is_some(), "node {node}: no metric has a label {label}");
    samples
        .map(|line| {
            line.rsplit(' ').next().and_then(|v| v.parse::<u64>().ok()).with_context(|| line.to_owned())
        })
        .sum()
}

/// The agent's metrics on a node, as text.
///
/// # Errors
/// When it does not answer with 200.
pub fn metrics(lab: &Lab, node: &str) -> Result<String> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT));
    let answer = Request::get("/metrics").send_in(lab.node(node)?.machine().netns(), to, SOON)?;
    ensure!(answer.status == 200, "{node}: /metrics: {}", answer.status);
    Ok(answer.text())
}

/// What an agent says of itself (`/state`).
///
/// # Errors
/// When it does not answer with 200.
pub fn state(lab: &Lab, node: &str) -> Result<Value> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, PROBES_PORT));
    let answer = Request::get("/state").send_in(lab.node(node)?.machine().netns(), to, SOON)?;
    ensure!(answer.status == 200, "{node}: /state: {}", answer.status);
    Ok(serde_json::from_str(&answer.text())?)
}

/// GET / of a Service's port 80, waiting until it is served.
///
/// # Errors
/// When there is no 200 in time.
pub fn http(lab: &Lab, from: &Netns, address: IpAddr) -> Result<Response> {
    let to = SocketAddr::from((address, 80));
    lab.wait_until(&format!("HTTP 200 from {to} in {}", from.name()), SOON, || {
        let answer = Request::get("/").send_in(from, to, Duration::from_secs(1))?;
        Ok((answer.status == 200).then_some(answer))
    })
}

/// The text of a condition of a configuration object in the product's namespace:
/// `(status, message)`.
///
/// # Errors
/// When the API server does not answer.
pub fn condition(lab: &Lab, plural: &str, name: &str, kind: &str) -> Result<Option<(String, String)>> {
    let path = format!("/apis/metallb.io/v1beta1/namespaces/metallb-system/{plural}/{name}");
    let Some(object) = lab.get(&path)? else { return Ok(None) };
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    Ok(all.iter().find(|c| c["type"] == kind).map(|c| (text(&c["status"]), text(&c["message"]))))
}

/// The cluster as it is where `manifests/admission` is missing, as long as this value lives: what the
/// policies would refuse reaches the parser.
#[derive(Debug)]
pub struct WithoutPolicies<'a>(&'a Lab);

impl<'a> WithoutPolicies<'a> {
    /// Deletes the policies and waits until none is enforced any more.
    ///
    /// # Errors
    /// With kubectl's words, or after the deadline.
    pub fn new(lab: &'a Lab) -> Result<Self> {
        let open = Self(lab);
        lab.kubectl(&["delete", "--ignore-not-found", "-k", &policies()?])?;
        lab.wait_until("no policy enforced", SOON, || Ok(enforced(lab).is_none().then_some(())))?;
        Ok(open)
    }
}

impl Drop for WithoutPolicies<'_> {
    fn drop(&mut self) {
        let lab = self.0;
        let back = policies().and_then(|dir| lab.kubectl(&["apply", "-k", &dir]));
        let back = back.and_then(|_| lab.wait_until("the policies enforced", SOON, || Ok(enforced(lab))));
        if let Err(error) = back {
            eprintln!("restoring the policies: {error:#}");
        }
    }
}

fn policies() -> Result<String> {
    Ok(manifests()?.join("admission").display().to_string())
}

/// What the API server says to a pool that overlaps the base's; `None` if it accepts it. Every policy
/// is enforced from the same moment on.
fn enforced(lab: &Lab) -> Option<String> {
    let probe = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "probe", "namespace": "metallb-system"},
        "spec": {"addresses": ["192.168.100.200/32"]},
    });
    try_create(lab, &probe).err().map(|error| format!("{error:#}"))
}

/// What the API server says to a new configuration object, without making it. Unknown fields are
/// errors, as kubectl has it.
///
/// # Errors
/// With the API server's words when it refuses.
pub fn try_create(lab: &Lab, object: &Value) -> Result<()> {
    let plural = match object["kind"].as_str().unwrap_or_default() {
        "Community" => "communities".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let (version, namespace) = (&object["apiVersion"], &object["metadata"]["namespace"]);
    let path = format!(
        "/apis/{}/namespaces/{}/{plural}?dryRun=All&fieldValidation=Strict",
        version.as_str().unwrap_or_default(),
        namespace.as_str().unwrap_or_default()
    );
    lab.send("POST", &path, object).map(drop)
}

/// Whether a configuration object's condition says that it is in force as written.
///
/// # Errors
/// When the API server does not answer.
pub fn in_force(lab: &Lab, plural: &str, name: &str) -> Result<bool> {
    Ok(condition(lab, plural, name, "Valid")?.is_some_and(|(status, _)| status == "True"))
}
