//! The cluster that the groups measure in, and Services in it.
//!
//! The API is spoken to by the client library that the product uses, over
//! connections that stay open: what is timed is the cluster, not a handshake or
//! kubectl's start. The rival goes the same way, or the comparison would flatter.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clarion_e2e::look;
use clarion_e2e::objects::WORKLOAD_NAMESPACE;
use clarion_lab::prober::Prober;
use clarion_lab::{Lab, Netns, Spec};
use futures::TryStreamExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::client::ConfigExt as _;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

/// Until something that takes milliseconds counts as lost.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A class that nobody serves: Services for the rival to fill in.
pub(crate) const FOREIGN_CLASS: &str = "bench.example/foreign";

/// The address that the rival writes (RFC 5737); nobody answers for it.
pub(crate) const FOREIGN_ADDRESS: &str = "192.0.2.1";

/// A lab with the workload running, and a client of its API.
pub struct Cluster {
    /// The lab.
    pub lab: Lab,
    // Sockets are made in the thread that drives the runtime, and that thread
    // has to be in this namespace.
    netns: Netns,
    runtime: Runtime,
    client: Client,
    services: Api<Service>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("lab", &self.lab.id()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Starts the usual lab (3 nodes, a client, a router) with pool, both
    /// advertisements and three web servers.
    ///
    /// # Errors
    /// With the part that did not start.
    pub fn start() -> Result<Self> {
        Self::start_with(Spec::cluster(), look::apply_base)
    }

    /// Starts a lab and puts into it what `prepare` does.
    ///
    /// # Errors
    /// With the part that did not start.
    pub fn start_with(spec: Spec, prepare: impl FnOnce(&Lab) -> Result<()>) -> Result<Self> {
        eprintln!("starting the lab");
        let lab = Lab::start_observed(spec, &mut |step, took| {
            eprintln!("  {:>6} ms  {step}", took.as_millis());
        })?;
        prepare(&lab)?;
        let control_plane = lab.control_plane()?;
        let netns = control_plane.machine().netns().clone();
        let kubeconfig = Kubeconfig::read_from(control_plane.admin_kubeconfig())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connect = async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            without_nagle(config)
        };
        let client = netns.run(|| runtime.block_on(connect))??;
        let services = Api::namespaced(client.clone(), WORKLOAD_NAMESPACE);
        Ok(Self { lab, netns, runtime, client, services })
    }

    /// A client of the API, to be used in [`Cluster::block`] only.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for work with the client.
    ///
    /// # Errors
    /// Those of the work.
    pub fn block<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.netns.run(|| self.runtime.block_on(work))?
    }

    /// Creates a Service for the web servers and returns its address, the time from
    /// before the request until a watch showed it, and the instant before the request.
    ///
    /// # Errors
    /// When the API server refuses or no address comes in time.
    pub fn create(&self, name: &str) -> Result<(IpAddr, Duration, Instant)> {
        self.timed(name, async {
            self.services.create(&PostParams::default(), &service(name, None)).await?;
            Ok(())
        })
    }

    /// What a client needs that knows the answer beforehand: it creates a Service of
    /// a class that nobody serves, writes the status itself, and sees it in a watch.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn bare_client(&self, name: &str) -> Result<Duration> {
        let (_, took, _) = self.timed(name, async {
            let post = PostParams::default();
            let mut created = self.services.create(&post, &service(name, Some(FOREIGN_CLASS))).await?;
            let ingress = LoadBalancerIngress { ip: Some(FOREIGN_ADDRESS.to_owned()), ..Default::default() };
            created.status = Some(ServiceStatus {
                load_balancer: Some(LoadBalancerStatus { ingress: Some(vec![ingress]) }),
                ..Default::default()
            });
            self.services.replace_status(name, &post, &created).await?;
            Ok(())
        })?;
        self.lab.send("DELETE", &look::service_path(name), &json!({}))?;
        Ok(took)
    }

    /// Deletes a Service and waits until nobody answers for its address any more,
    /// so that the next one may get the same.
    ///
    /// # Errors
    /// When it is not gone in time.
    pub fn delete(&self, prober: &Prober, name: &str, address: IpAddr) -> Result<()> {
        self.lab.send("DELETE", &look::service_path(name), &json!({}))?;
        look::silent(&self.lab, prober, address)
    }

    /// Opens a watch on a Service, does `work`, and waits for the watch to show an
    /// address. The watch is answered before the clock starts.
    fn timed(
        &self,
        name: &str,
        work: impl Future<Output = Result<()>> + Send,
    ) -> Result<(IpAddr, Duration, Instant)> {
        let wanted = WatchParams::default().fields(&format!("metadata.name={name}"));
        let all = async {
            let mut events = Box::pin(self.services.watch(&wanted, "0").await?);
            let begin = Instant::now();
            work.await?;
            while let Some(event) = events.try_next().await? {
                let (WatchEvent::Added(service) | WatchEvent::Modified(service)) = event else { continue };
                if let Some(address) = address(&service) {
                    return Ok((address, begin.elapsed(), begin));
                }
            }
            bail!("the watch ended before Service {name} had an address")
        };
        self.block(async {
            tokio::time::timeout(DEADLINE, all)
                .await
                .map_err(|_| anyhow!("Service {name} has no address after {} s", DEADLINE.as_secs()))?
        })
    }
}

/// A client whose small requests are not held back until the last one's
/// acknowledgement, which the peer may delay by 40 ms: that would hide both of
/// what is compared.
fn without_nagle(config: Config) -> Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let https = config.rustls_https_connector_with_connector(connector)?;
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(tower::BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
    Ok(Client::new(service, config.default_namespace))
}

/// The first address in a Service's status.
pub(crate) fn address(service: &Service) -> Option<IpAddr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.as_ref()?.parse().ok()
}

fn service(name: &str, class: Option<&str>) -> Service {
    Service {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        spec: Some(ServiceSpec {
            type_: Some("LoadBalancer".to_owned()),
            load_balancer_class: class.map(str::to_owned),
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            ports: Some(vec![ServicePort {
                port: 80,
                target_port: Some(IntOrString::Int(8080)),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Milliseconds.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
