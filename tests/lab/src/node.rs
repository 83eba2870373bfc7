//! A cluster node: a machine on the LAN with lab-kubelet and kube-proxy.

use crate::addressing::{CLUSTER_CIDRS, CONTROL_PLANE, Station, management, node, pod_cidrs, router};
use crate::control_plane::ControlPlane;
use crate::machine::Machine;
use crate::netns::Netns;
use crate::process::{Process, ProcessId};
use crate::reaper::Reaper;
use crate::spec::{ProxyMode, Spec};
use crate::switch::Switch;
use crate::tools::{clarion_program, lab_program};
use anyhow::{Context, Result};
use std::path::Path;

/// The image that `manifests/` name; lab-kubelet runs the release binaries for it.
const IMAGE: &str = "clarion:dev";
/// The node's end of the management wire. Its name is one that MetalLB's list of
/// excluded interfaces excludes, so agents serve `eth0` alone.
const MANAGEMENT_IF: &str = "vethmgmt";

/// One node.
#[derive(Debug)]
pub struct Node {
    index: usize,
    machine: Machine,
    proxy: Option<ProxyMode>,
    native_xdp: bool,
    processes: Vec<Process>,
}

impl Node {
    /// A node that is not wired yet; `index` counts from 1.
    pub fn new(index: usize, machine: Machine, spec: &Spec) -> Self {
        Self {
            index,
            machine,
            proxy: spec.proxy_of(index),
            native_xdp: spec.native_xdp,
            processes: Vec::new(),
        }
    }

    /// Its addresses and MAC on the LAN.
    pub fn station(&self) -> Station {
        node(self.index)
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// kubelet and kube-proxy, as far as the node is on.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Plugs the node into the LAN and the management network (the control plane's
    /// namespace) and boots it.
    ///
    /// # Errors
    /// When a link is refused or the machine does not boot.
    pub fn boot(
        &mut self,
        switch: &Switch,
        management: Option<&Netns>,
        routers: usize,
        reaper: &Reaper,
    ) -> Result<()> {
        switch.plug(self.machine.name(), self.machine.netns(), &self.station(), self.native_xdp)?;
        if routers > 0 {
            let gateway = router(1);
            let lines = format!("route add default via {}\nroute add ::/0 via {}", gateway.v4, gateway.v6);
            self.machine.netns().ip(&lines)?;
        }
        if let Some(centre) = management {
            self.join_management(centre)?;
        }
        self.machine.boot(reaper)
    }

    /// Starts lab-kubelet and kube-proxy.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub fn start(&mut self, control_plane: &ControlPlane, proxy_config: &Path) -> Result<()> {
        let station = self.station();
        let (pods4, pods6) = pod_cidrs(self.index);
        let (controller, agent) = (clarion_program("clarion-controller"), clarion_program("clarion-agent"));
        let mut args = vec![
            format!("--kubeconfig={}", control_plane.admin_kubeconfig().display()),
            format!("--node-name={}", self.machine.name()),
            format!("--node-ip={},{}", station.v4, station.v6),
            format!("--pod-cidr={pods4},{pods6}"),
            "--bridge=cni0".into(),
            format!("--root-dir={}", self.machine.dir().join("kubelet").display()),
            "--heartbeat=1s".into(),
        ];
        // A lab without Clarion is a lab too; a missing binary shows where it is wanted.
        if let (Ok(controller), Ok(agent)) = (controller, agent) {
            args.push(format!("--image={IMAGE}={},{}", controller.display(), agent.display()));
        }
        self.spawn("lab-kubelet", &args)?;
        let Some(mode) = self.proxy else { return Ok(()) };
        self.spawn(
            "kube-proxy",
            &[
                format!("--kubeconfig={}", proxy_config.display()),
                format!("--hostname-override={}", self.machine.name()),
                format!("--proxy-mode={}", mode.flag()),
                format!("--cluster-cidr={CLUSTER_CIDRS}"),
                // Namespaces may not write the host's conntrack sysctls.
                "--conntrack-max-per-core=0".into(),
                "--conntrack-min=0".into(),
                "--conntrack-tcp-timeout-established=0".into(),
                "--conntrack-tcp-timeout-close-wait=0".into(),
                "--iptables-min-sync-period=100ms".into(),
                format!("--healthz-bind-address={}:10256", management(self.index)),
                "--metrics-bind-address=127.0.0.1:10249".into(),
            ],
        )
    }

    /// Everything on the node ends at once and its wire goes dead, as when the
    /// plug is pulled. Nothing is told to anybody.
    ///
    /// # Errors
    /// When the node is off already.
    pub fn power_off(&mut self, switch: &Switch) -> Result<()> {
        let init = self.machine.init().with_context(|| format!("{} is off", self.machine.name()))?;
        // The kill needs a microsecond to be asked for and the kernel does the rest while the port
        // goes; the other way round processes would see their carrier go before they die.
        init.signal(nix::sys::signal::Signal::SIGKILL);
        switch.unplug(self.machine.name())?;
        self.machine.halt();
        self.processes.clear();
        Ok(())
    }

    /// Forgets what the switched-off machine had in its network namespace, so
    /// that it starts as after a real power cycle.
    ///
    /// # Errors
    /// When the namespace cannot be made anew.
    pub fn reset(&mut self, prefix: &str, lab_dir: &Path) -> Result<()> {
        let name = self.machine.name().to_owned();
        crate::netns::run(std::process::Command::new("ip").args([
            "netns",
            "del",
            self.machine.netns().name(),
        ]))?;
        self.machine = Machine::create(prefix, &name, lab_dir)?;
        Ok(())
    }

    /// Takes `eth0` down and up; what the kernel forgets meanwhile is put back.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn flap(&self) -> Result<()> {
        let netns = self.machine.netns();
        let routes = |family: &str| -> Result<Vec<String>> {
            let text = netns.output("ip", &[family, "route", "show", "dev", "eth0"])?;
            // The kernel's own come back with the addresses.
            Ok(text.lines().filter(|line| !line.contains("proto kernel")).map(str::to_owned).collect())
        };
        let (four, six) = (routes("-4")?, routes("-6")?);
        netns.ip("link set eth0 down\nlink set eth0 up")?;
        netns.ip(&format!("addr replace {}/64 dev eth0 nodad", self.station().v6))?;
        for (family, lines) in [("-4", four), ("-6", six)] {
            for line in lines {
                // Flags of the moment are no part of a route.
                let words = line.split_whitespace().filter(|word| *word != "linkdown");
                let all: Vec<&str> =
                    [family, "route", "replace"].into_iter().chain(words).chain(["dev", "eth0"]).collect();
                netns.output("ip", &all)?;
            }
        }
        Ok(())
    }

    /// A running program of the node, pods' included, by name.
    ///
    /// # Errors
    /// When none or several run.
    pub fn process(&self, name: &str) -> Result<ProcessId> {
        let found = self.machine.processes(name);
        match found.as_slice() {
            [one] => Ok(*one),
            several => anyhow::bail!("{} runs {} processes {name}", self.machine.name(), several.len()),
        }
    }

    fn join_management(&self, centre: &Netns) -> Result<()> {
        let (name, address) = (self.machine.name(), management(self.index));
        // A node that is switched on again finds its old port.
        drop(centre.ip(&format!("link del {name}")));
        centre.ip(&format!(
            "link add {name} type veth peer name {MANAGEMENT_IF} netns {}\nlink set {name} master mgmt up",
            self.machine.netns().name()
        ))?;
        // The API server's Service address goes by the management network, also when the LAN is cut.
        self.machine.netns().ip(&format!(
            "addr add {address}/24 dev {MANAGEMENT_IF}\nlink set {MANAGEMENT_IF} up\nroute add 10.96.0.0/16 via {CONTROL_PLANE}"
        ))?;
        let (pods4, _) = pod_cidrs(self.index);
        centre.ip(&format!(
            "route replace {} via {address}\nroute replace {pods4} via {address}",
            self.station().v4
        ))
    }

    fn spawn(&mut self, name: &str, args: &[String]) -> Result<()> {
        let process = self.machine.spawn(name, &lab_program(name)?, args, &[])?;
        self.processes.push(process);
        Ok(())
    }
}
