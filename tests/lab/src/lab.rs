//! The lab itself: starting all of it, its parts, and faults as methods.

use crate::addressing::{API_PROXY_PORT, client, router};
use crate::control_plane::ControlPlane;
use crate::machine::Machine;
use crate::netns::Netns;
use crate::node::Node;
use crate::process::Process;
use crate::reaper::{Reaper, sweep};
use crate::router::Router;
use crate::spec::Spec;
use crate::switch::{Cut, Switch};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where pods of the product live.
pub const NAMESPACE: &str = "metallb-system";

/// A running lab. Dropping it takes everything down; so does the end of this
/// process, however it ends.
#[derive(Debug)]
pub struct Lab {
    pub(crate) spec: Spec,
    pub(crate) switch: Switch,
    pub(crate) control_plane: Option<ControlPlane>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Netns>,
    pub(crate) routers: Vec<Router>,
    proxy_config: PathBuf,
    // Last, so that processes are reaped one by one first and this finds little to do.
    reaper: Arc<Reaper>,
}

/// What [`Lab::start_observed`] tells while it works: the step that ended, and
/// how long it took.
pub type Observer<'a> = &'a mut dyn FnMut(&str, Duration);

impl Lab {
    /// Starts a lab and returns when every part of it works.
    ///
    /// # Errors
    /// With the part that did not start and the end of its log. What was started
    /// until then is taken down.
    pub fn start(spec: Spec) -> Result<Self> {
        Self::start_observed(spec, &mut |_, _| {})
    }

    /// As [`Lab::start`], telling each step.
    ///
    /// # Errors
    /// See [`Lab::start`].
    pub fn start_observed(spec: Spec, observer: Observer<'_>) -> Result<Self> {
        spec.check()?;
        sweep()?;
        let reaper = Arc::new(Reaper::start()?);
        crate::signals::register(&reaper);
        let mut step = Steps { observer, begin: Instant::now() };
        let mut lab = Self::wire(spec, reaper)?;
        step.done("network: switch, nodes, clients, routers");
        if let Some(control_plane) = &mut lab.control_plane {
            control_plane.start(&lab.spec)?;
            step.done("control plane: etcd, kube-apiserver, controller-manager, scheduler");
            lab.proxy_config = control_plane.pki().client("proxy", "/CN=system:kube-proxy")?;
            for node in &mut lab.nodes {
                node.start(control_plane, &lab.proxy_config)?;
            }
            lab.wait_nodes_ready(Duration::from_secs(30))?;
            step.done("nodes: kubelet and kube-proxy, all Ready");
        }
        lab.write_shell()?;
        if lab.spec.clarion {
            lab.install_clarion()?;
            step.done("Clarion: kubectl apply -k manifests/base, all pods ready");
        }
        Ok(lab)
    }

    /// Namespaces, wires, routers: everything that needs no API server.
    fn wire(spec: Spec, reaper: Arc<Reaper>) -> Result<Self> {
        let (id, dir) = (reaper.id().to_owned(), reaper.dir().to_owned());
        let switch = Switch::create(&id)?;
        let mut control_plane = None;
        if spec.control_plane {
            control_plane = Some(ControlPlane::create(Machine::create(&id, "cp", &dir)?, &reaper)?);
        }
        let centre = control_plane.as_ref().map(|cp| cp.machine().netns().clone());
        let mut nodes = Vec::new();
        for index in 1..=spec.nodes {
            let machine = Machine::create(&id, &format!("n{index}"), &dir)?;
            let mut node = Node::new(index, machine, &spec);
            node.boot(&switch, centre.as_ref(), spec.routers, &reaper)?;
            nodes.push(node);
        }
        let mut clients = Vec::new();
        for index in 1..=spec.clients {
            let netns = Netns::create(&format!("{id}-c{index}"))?;
            switch.plug(&format!("c{index}"), &netns, &client(index), false)?;
            if spec.routers > 0 {
                let gateway = router(1);
                netns.ip(&format!(
                    "route add default via {}\nroute add ::/0 via {}",
                    gateway.v4, gateway.v6
                ))?;
            }
            clients.push(netns);
        }
        let mut routers = Vec::new();
        for index in 1..=spec.routers {
            let machine = Machine::create(&id, &format!("r{index}"), &dir)?;
            switch.plug(machine.name(), machine.netns(), &router(index), false)?;
            let far_client = Netns::create(&format!("{id}-far{index}"))?;
            let mut one = Router::create(index, machine, far_client)?;
            one.start(&reaper)?;
            routers.push(one);
        }
        Ok(Self {
            spec,
            switch,
            control_plane,
            nodes,
            clients,
            routers,
            proxy_config: PathBuf::new(),
            reaper,
        })
    }

    /// The lab's id, with which the names of its namespaces begin.
    pub fn id(&self) -> &str {
        self.reaper.id()
    }

    /// The lab's directory: logs, kubeconfig, the wrapper `kubectl`.
    pub fn dir(&self) -> &Path {
        self.reaper.dir()
    }

    /// What it was made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The LAN's switch.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The control plane.
    ///
    /// # Errors
    /// When the lab was made without.
    pub fn control_plane(&self) -> Result<&ControlPlane> {
        self.control_plane.as_ref().context("this lab has no control plane (Spec::control_plane)")
    }

    /// All nodes, `n1` first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its name.
    ///
    /// # Errors
    /// When the lab has none of that name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|n| n.machine().name() == name)
            .with_context(|| format!("no node {name} in the lab"))
    }

    /// The node whose `eth0` has this MAC.
    pub fn node_by_mac(&self, mac: [u8; 6]) -> Option<&Node> {
        self.nodes.iter().find(|n| n.station().mac == mac)
    }

    /// Client `index` (from 1) on the LAN.
    ///
    /// # Errors
    /// When the lab has fewer.
    pub fn client(&self, index: usize) -> Result<&Netns> {
        self.clients.get(index.wrapping_sub(1)).with_context(|| format!("no client c{index} in the lab"))
    }

    /// Router `index` (from 1).
    ///
    /// # Errors
    /// When the lab has fewer.
    pub fn router(&self, index: usize) -> Result<&Router> {
        self.routers.get(index.wrapping_sub(1)).with_context(|| format!("no router r{index} in the lab"))
    }

    /// All processes that the lab started itself; those of pods are
    /// among [`Machine::inhabitants`].
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let centre = self.control_plane.iter().flat_map(ControlPlane::processes);
        let nodes = self.nodes.iter().flat_map(Node::processes);
        centre.chain(nodes).chain(self.routers.iter().flat_map(Router::processes))
    }

    /// The address of the API's plain text port, inside the control plane's namespace.
    pub fn api_address(&self) -> SocketAddr {
        SocketAddr::from((IpAddr::from(Ipv4Addr::LOCALHOST), API_PROXY_PORT))
    }

    /// Every namespace of the lab.
    pub fn namespaces(&self) -> Vec<&Netns> {
        let mut all = vec![self.switch.netns()];
        all.extend(self.control_plane.iter().map(|cp| cp.machine().netns()));
        all.extend(self.nodes.iter().map(|n| n.machine().netns()));
        all.extend(&self.clients);
        for router in &self.routers {
            all.extend([router.machine().netns(), router.far_client()]);
        }
        all
    }

    /// Takes the lab down now. The same as dropping it, said aloud.
    pub fn stop(self) {}
}

/// Faults.
impl Lab {
    /// Pulls a node's plug: every process on it ends at once, its link goes dead,
    /// nothing is told to anybody. Returns the instant before it.
    ///
    /// # Errors
    /// When there is no such node or it is off.
    pub fn power_off(&mut self, name: &str) -> Result<Instant> {
        let node = node_mut(&mut self.nodes, name)?;
        let begin = Instant::now();
        node.power_off(&self.switch)?;
        Ok(begin)
    }

    /// Switches a node on again, with nothing left of before, as after a boot.
    ///
    /// # Errors
    /// When there is no such node, or it does not start.
    pub fn power_on(&mut self, name: &str) -> Result<()> {
        let (id, dir) = (self.reaper.id(), self.reaper.dir());
        let node = node_mut(&mut self.nodes, name)?;
        node.reset(id, dir)?;
        let centre = self.control_plane.as_ref().map(|cp| cp.machine().netns().clone());
        node.boot(&self.switch, centre.as_ref(), self.spec.routers, &self.reaper)?;
        match &self.control_plane {
            Some(control_plane) => node.start(control_plane, &self.proxy_config),
            None => Ok(()),
        }
    }

    /// Cuts a machine's LAN wire (`n1`, `c1`, `r1`).
    ///
    /// # Errors
    /// When the machine has no port.
    pub fn cut_link(&self, machine: &str, how: Cut) -> Result<Instant> {
        let begin = Instant::now();
        self.switch.cut(machine, how)?;
        Ok(begin)
    }

    /// Mends a machine's LAN wire.
    ///
    /// # Errors
    /// When the machine has no port.
    pub fn heal_link(&self, machine: &str) -> Result<()> {
        self.switch.heal(machine)
    }

    /// Switches a node's `eth0` off and on, as `ip link set` by hand does. The kernel
    /// forgets the IPv6 address and all routes by it, which are put back as a
    /// network manager would.
    ///
    /// # Errors
    /// When there is no such node or a route cannot be put back.
    pub fn flap_link(&self, node: &str) -> Result<Instant> {
        let node = self.node(node)?;
        let begin = Instant::now();
        node.flap()?;
        Ok(begin)
    }

    /// Kills the agent of a node, as a crash would; its kubelet starts it again.
    ///
    /// # Errors
    /// When no agent runs there.
    pub fn kill_agent(&self, node: &str) -> Result<Instant> {
        let agent = self.node(node)?.process("clarion-agent")?;
        let begin = Instant::now();
        agent.signal(nix::sys::signal::Signal::SIGKILL);
        Ok(begin)
    }
}

fn node_mut<'a>(nodes: &'a mut [Node], name: &str) -> Result<&'a mut Node> {
    nodes
        .iter_mut()
        .find(|n| n.machine().name() == name)
        .with_context(|| format!("no node {name} in the lab"))
}

/// Tells the observer how long each step took.
struct Steps<'a> {
    observer: Observer<'a>,
    begin: Instant,
}

impl Steps<'_> {
    fn done(&mut self, what: &str) {
        (self.observer)(what, self.begin.elapsed());
        self.begin = Instant::now();
    }
}
