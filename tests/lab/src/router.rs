//! A router: FRR's zebra and bgpd on a machine between the LAN and a network
//! with one client, which reaches Services by routes only.
//!
//! Neighbours are not listed: every speaker of the LAN with the cluster's AS
//! number is accepted, as on a rack switch that is configured once. The router
//! never dials; the nodes do.

use crate::addressing::{CLUSTER_ASN, ROUTER_ASN, far, router};
use crate::machine::Machine;
use crate::netns::Netns;
use crate::process::Process;
use crate::tools::frr_daemon;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

const START: Duration = Duration::from_secs(15);

/// One router with the client behind it.
#[derive(Debug)]
pub struct Router {
    index: usize,
    machine: Machine,
    far: Netns,
    processes: Vec<Process>,
}

impl Router {
    /// Wires the far client up; the router is plugged into the LAN already.
    ///
    /// # Errors
    /// When a link or address is refused.
    pub fn create(index: usize, machine: Machine, far_client: Netns) -> Result<Self> {
        let (gateway, client) = (far(index, 1), far(index, 2));
        machine.netns().ip(&format!(
            "link add far0 type veth peer name eth0 netns {}\n\
             addr add {}/24 dev far0\naddr add {}/64 dev far0 nodad\nlink set far0 up",
            far_client.name(),
            gateway.v4,
            gateway.v6
        ))?;
        far_client.ip(&format!(
            "addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\nlink set eth0 up\n\
             route add default via {}\nroute add ::/0 via {}",
            client.v4, client.v6, gateway.v4, gateway.v6
        ))?;
        machine.netns().sysctl(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
            // Flows of one client shall spread: hash ports too (layer 4).
            ("net.ipv4.fib_multipath_hash_policy", "1"),
            ("net.ipv6.fib_multipath_hash_policy", "1"),
        ])?;
        Ok(Self { index, machine, far: far_client, processes: Vec::new() })
    }

    /// Starts zebra and bgpd and waits until they answer.
    ///
    /// # Errors
    /// When FRR is not installed, or does not start; the text holds its log.
    pub fn start(&mut self, reaper: &crate::reaper::Reaper) -> Result<()> {
        self.machine.boot(reaper)?;
        self.machine.output("install", &["-d", "-o", "frr", "-g", "frr", "-m", "755", "/run/frr"])?;
        for (daemon, text) in [("zebra", self.zebra_config()), ("bgpd", self.bgp_config())] {
            let file = self.machine.dir().join(format!("{daemon}.conf"));
            std::fs::write(&file, text)?;
            let args = [
                format!("--config_file={}", file.display()),
                format!("--pid_file=/run/frr/{daemon}.pid"),
                "--log=stdout".into(),
            ];
            let process = self.machine.spawn(daemon, &frr_daemon(daemon)?, &args, &[])?;
            self.processes.push(process);
            self.await_vty(daemon)?;
        }
        Ok(())
    }

    /// The router's machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The client behind the router.
    pub fn far_client(&self) -> &Netns {
        &self.far
    }

    /// The two daemons.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Runs one vtysh command and returns what it printed.
    ///
    /// # Errors
    /// When vtysh fails.
    pub fn vtysh(&self, command: &str) -> Result<String> {
        self.machine.output("vtysh", &["-c", command])
    }

    /// The gateways by which the router's *kernel* forwards to an address; empty
    /// when it has no route of BGP's for exactly this address.
    ///
    /// # Errors
    /// When the routes cannot be read.
    pub fn next_hops(&self, to: IpAddr) -> Result<BTreeSet<IpAddr>> {
        let family = if to.is_ipv4() { "-4" } else { "-6" };
        let to = to.to_string();
        let text = self
            .machine
            .netns()
            .output("ip", &["-j", family, "route", "show", "exact", &to, "proto", "bgp"])?;
        let routes: Value = serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text })?;
        let mut gateways = BTreeSet::new();
        for route in routes.as_array().into_iter().flatten() {
            let hops = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route.clone()]);
            for hop in hops {
                // A next hop of the other family stands under "via" (RFC 8950).
                let gateway = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
                if let Some(gateway) = gateway {
                    gateways.insert(gateway.parse().with_context(|| format!("gateway {gateway}"))?);
                }
            }
        }
        Ok(gateways)
    }

    /// BGP neighbours whose session is established.
    ///
    /// # Errors
    /// When FRR's answer cannot be read.
    pub fn established(&self) -> Result<BTreeSet<IpAddr>> {
        let text = self.vtysh("show bgp neighbors json")?;
        let all: Value = serde_json::from_str(&text).context("show bgp neighbors json")?;
        let up = all.as_object().into_iter().flatten().filter(|(_, n)| n["bgpState"] == "Established");
        up.map(|(address, _)| address.parse().with_context(|| address.clone())).collect()
    }

    fn await_vty(&self, daemon: &str) -> Result<()> {
        let ready = crate::wait::poll(START, || {
            if let Some(dead) = self.processes.iter().find(|p| !p.alive()) {
                bail!("{} died:\n{}", dead.name(), crate::process::tail(dead.log(), 15));
            }
            Ok(self.machine.output("vtysh", &["-d", daemon, "-c", "show version"]).ok().map(drop))
        })?;
        ready.with_context(|| format!("{daemon} on {} does not answer", self.machine.name()))
    }

    fn zebra_config(&self) -> String {
        format!("hostname {}\n!\n", self.machine.name())
    }

    fn bgp_config(&self) -> String {
        let (station, name) = (router(self.index), self.machine.name());
        format!(
            "hostname {name}\n\
             router bgp {ROUTER_ASN}\n \
             bgp router-id {id}\n \
             no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n \
             no bgp network import-check\n \
             timers bgp 3 9\n \
             neighbor cluster peer-group\n \
             neighbor cluster remote-as {CLUSTER_ASN}\n \
             neighbor cluster passive\n \
             bgp listen limit 500\n \
             bgp listen range 192.168.100.0/24 peer-group cluster\n \
             bgp listen range fd00:100::/64 peer-group cluster\n \
             address-family ipv4 unicast\n  neighbor cluster activate\n  maximum-paths 64\n exit-address-family\n \
             address-family ipv6 unicast\n  neighbor cluster activate\n  maximum-paths 64\n exit-address-family\n\
             exit\n",
            id = station.v4
        )
    }
}
