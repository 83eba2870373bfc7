//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler on a
//! machine of their own, and the management network that nodes reach it by.
//!
//! The management network is apart from the LAN, so that a fault of the LAN is
//! not one of the API server too; both kinds of fault exist in life, and tests
//! shall say which they mean.

use crate::addressing::{API_PORT, API_PROXY_PORT, CONTROL_PLANE, SERVICE_CIDRS};
use crate::http::Request;
use crate::machine::Machine;
use crate::pki::Pki;
use crate::process::{Process, tail};
use crate::spec::Spec;
use crate::tools::lab_program;
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;

/// The cluster's brain.
#[derive(Debug)]
pub struct ControlPlane {
    machine: Machine,
    pki: Pki,
    admin: PathBuf,
    processes: Vec<Process>,
}

impl ControlPlane {
    /// Makes keys and the management bridge; starts nothing yet.
    ///
    /// # Errors
    /// When openssl or the namespace fails.
    pub fn create(mut machine: Machine, reaper: &crate::reaper::Reaper) -> Result<Self> {
        machine.netns().ip(&format!(
            "link add mgmt type bridge forward_delay 0 stp_state 0\naddr add {CONTROL_PLANE}/24 dev mgmt\nlink set mgmt up"
        ))?;
        machine.boot(reaper)?;
        let pki = Pki::create(&machine.dir().join("pki"))?;
        let admin = pki.client("admin", "/O=system:masters/CN=admin")?;
        Ok(Self { machine, pki, admin, processes: Vec::new() })
    }

    /// Starts the four and waits until the API serves and the controllers work.
    ///
    /// # Errors
    /// With the log's end of the part that died or was not ready in time.
    pub fn start(&mut self, spec: &Spec) -> Result<()> {
        self.start_etcd()?;
        self.start_apiserver()?;
        self.start_controllers(spec)
    }

    /// The machine that all of it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Keys and certificates, to make further clients.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The administrator's kubeconfig; its server answers in the namespaces of
    /// the control plane and of the nodes.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// A process by name, such as `kube-apiserver`.
    ///
    /// # Errors
    /// When no process of that name was started.
    pub fn process(&self, name: &str) -> Result<&Process> {
        let suffix = format!("/{name}");
        self.processes
            .iter()
            .find(|p| p.name().ends_with(&suffix))
            .with_context(|| format!("no process {name}"))
    }

    /// All processes.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    fn start_etcd(&mut self) -> Result<()> {
        let (client, peer) =
            (format!("http://127.0.0.1:{ETCD_PORT}"), format!("http://127.0.0.1:{ETCD_PEER_PORT}"));
        let data = self.machine.dir().join("etcd");
        self.spawn(
            "etcd",
            &[
                "--name=lab".into(),
                format!("--data-dir={}", data.display()),
                "--log-level=warn".into(),
                // The lab's data is worth nothing after a crash.
                "--unsafe-no-fsync".into(),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=lab={peer}"),
            ],
        )?;
        self.await_http("etcd", ETCD_PORT, "/health", Duration::from_secs(30))
    }

    fn start_apiserver(&mut self) -> Result<()> {
        let key = |file: &str| self.pki.path(file).display().to_string();
        let args = [
            format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"),
            "--bind-address=0.0.0.0".into(),
            format!("--secure-port={API_PORT}"),
            format!("--advertise-address={CONTROL_PLANE}"),
            format!("--tls-cert-file={}", key("apiserver.crt")),
            format!("--tls-private-key-file={}", key("apiserver.key")),
            format!("--client-ca-file={}", key("ca.crt")),
            // Without it kube-controller-manager's log fills with warnings.
            format!("--requestheader-client-ca-file={}", key("ca.crt")),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-key-file={}", key("sa.pub")),
            format!("--service-account-signing-key-file={}", key("sa.key")),
            format!("--service-cluster-ip-range={SERVICE_CIDRS}"),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--allow-privileged=true".into(),
            "--profiling=false".into(),
        ];
        self.spawn("kube-apiserver", &args)?;
        // The proxy speaks TLS for the lab: from here on its plain port is the API.
        let proxy = [
            "proxy".into(),
            format!("--kubeconfig={}", self.admin.display()),
            format!("--port={API_PROXY_PORT}"),
            "--reject-paths=^$".into(),
        ];
        let kubectl = lab_program("kubectl")?;
        let process = self.machine.spawn("kubectl-proxy", &kubectl, &proxy, &[])?;
        self.processes.push(process);
        self.await_http("kube-apiserver", API_PROXY_PORT, "/readyz", Duration::from_secs(90))
    }

    fn start_controllers(&mut self, spec: &Spec) -> Result<()> {
        let kcm = self.pki.client("kcm", "/CN=system:kube-controller-manager")?.display().to_string();
        let key = |file: &str| self.pki.path(file).display().to_string();
        let args = [
            format!("--kubeconfig={kcm}"),
            format!("--authentication-kubeconfig={kcm}"),
            format!("--authorization-kubeconfig={kcm}"),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
            format!("--service-account-private-key-file={}", key("sa.key")),
            format!("--root-ca-file={}", key("ca.crt")),
            format!("--cluster-signing-cert-file={}", key("ca.crt")),
            format!("--cluster-signing-key-file={}", key("ca.key")),
            "--use-service-account-credentials=true".into(),
            // With the defaults its start takes twice as long.
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
            "--node-monitor-period=1s".into(),
            format!("--node-monitor-grace-period={}s", spec.node_grace.as_secs()),
        ];
        self.spawn("kube-controller-manager", &args)?;
        let scheduler = self.pki.client("scheduler", "/CN=system:kube-scheduler")?.display().to_string();
        self.spawn(
            "kube-scheduler",
            &[
                format!("--kubeconfig={scheduler}"),
                format!("--authentication-kubeconfig={scheduler}"),
                format!("--authorization-kubeconfig={scheduler}"),
                "--bind-address=127.0.0.1".into(),
                "--leader-elect=false".into(),
            ],
        )?;
        // The ServiceAccount is the first thing that shows a working controller.
        let path = "/api/v1/namespaces/default/serviceaccounts/default";
        self.await_http("kube-controller-manager", API_PROXY_PORT, path, Duration::from_secs(60))
    }

    fn spawn(&mut self, name: &str, args: &[String]) -> Result<()> {
        let process = self.machine.spawn(name, &lab_program(name)?, args, &[])?;
        self.processes.push(process);
        Ok(())
    }

    /// Waits until a GET on the machine's loopback is answered with 200.
    fn await_http(&self, part: &str, port: u16, path: &str, deadline: Duration) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let ready = crate::wait::poll(deadline, || {
            if let Some(dead) = self.processes.iter().find(|p| !p.alive()) {
                bail!("{} died:\n{}", dead.name(), tail(dead.log(), 15));
            }
            let answer = Request::get(path).send_in(self.machine.netns(), address, Duration::from_secs(5));
            Ok(answer.ok().filter(|a| a.status == 200).map(drop))
        })?;
        ready.with_context(|| {
            let log = self.process(part).map(|p| tail(p.log(), 15)).unwrap_or_default();
            format!("{part} is not ready after {} s:\n{log}", deadline.as_secs())
        })
    }
}
