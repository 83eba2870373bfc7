//! The cluster that the groups measure in, and Services in it.
//!
//! The API is spoken to by HTTP from inside the control plane's namespace: what
//! is timed is the cluster, not kubectl's start. Ours and the rival go the same way.

use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clarion_e2e::look;
use clarion_e2e::objects::WORKLOAD_NAMESPACE;
use clarion_lab::http::{Body, Request};
use clarion_lab::prober::Prober;
use clarion_lab::{Lab, Spec};
use serde_json::{Value, json};

/// Until something that takes milliseconds counts as lost.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A class that nobody serves: Services for the rival to fill in.
pub const FOREIGN_CLASS: &str = "bench.example/foreign";

/// Starts the usual lab (3 nodes, a client, a router) with pool, both
/// advertisements and three web servers.
///
/// # Errors
/// With the part that did not start.
pub fn start() -> Result<Lab> {
    eprintln!("starting the lab");
    let lab = Lab::start_observed(Spec::cluster(), &mut |step, took| {
        eprintln!("  {:>6} ms  {step}", took.as_millis());
    })?;
    look::apply_base(&lab)?;
    Ok(lab)
}

/// The path of the workload's Services.
#[must_use]
pub fn services() -> String {
    format!("/api/v1/namespaces/{WORKLOAD_NAMESPACE}/services")
}

/// An IPv4 Service for the web servers, of a class if one is given.
#[must_use]
pub fn service(name: &str, class: Option<&str>) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "type": "LoadBalancer",
            "selector": { "app": "web" },
            "ports": [{ "port": 80, "targetPort": 8080 }],
        },
    });
    if let Some(class) = class {
        service["spec"]["loadBalancerClass"] = json!(class);
    }
    service
}

/// An open watch on one Service.
#[derive(Debug)]
pub struct Watch {
    lines: std::io::Lines<BufReader<Body>>,
}

impl Watch {
    /// Opens it and returns once the API server has answered, so that what
    /// follows is timed without the watch's own start.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn open(lab: &Lab, name: &str) -> Result<Self> {
        let path = format!("{}?watch=true&fieldSelector=metadata.name%3D{name}", services());
        let netns = lab.control_plane()?.machine().netns();
        let (status, _, body) = Request::get(&path).open(netns, lab.api_address(), DEADLINE)?;
        ensure!(status == 200, "watch of Service {name}: {status}");
        Ok(Self { lines: BufReader::new(body).lines() })
    }

    /// Reads events until the Service has an address.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn address(&mut self) -> Result<IpAddr> {
        for line in self.lines.by_ref() {
            let event: Value = serde_json::from_str(&line.context("no address in time")?)?;
            if let Some(address) = look::ingress(&event["object"]).first() {
                return Ok(*address);
            }
        }
        bail!("the watch ended before the Service had an address")
    }
}

/// Creates a Service and returns its first address with the time from before the
/// request until a watch showed it, and the instant before the request.
///
/// # Errors
/// When the API server refuses or no address comes in time.
pub fn create(lab: &Lab, name: &str) -> Result<(IpAddr, Duration, Instant)> {
    let body = service(name, None);
    let mut watch = Watch::open(lab, name)?;
    let begin = Instant::now();
    lab.send("POST", &services(), &body)?;
    let address = watch.address()?;
    Ok((address, begin.elapsed(), begin))
}

/// Deletes a Service and waits until nobody answers for its address any more, so
/// that the next one may get the same.
///
/// # Errors
/// When it is not gone in time.
pub fn delete(lab: &Lab, prober: &Prober, name: &str, address: IpAddr) -> Result<()> {
    lab.send("DELETE", &look::service_path(name), &json!({}))?;
    look::silent(lab, prober, address)
}

/// Milliseconds.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
