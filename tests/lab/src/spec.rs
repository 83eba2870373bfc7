//! What a lab shall be made of.

use crate::addressing::{MAX_CLIENTS, MAX_NODES, MAX_ROUTERS};
use anyhow::{Result, ensure};
use std::time::Duration;

/// How kube-proxy programs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// `--proxy-mode=nftables`.
    Nftables,
    /// `--proxy-mode=iptables`.
    Iptables,
}

impl ProxyMode {
    /// The value of kube-proxy's flag.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

/// The parts of a lab. Every machine is a network namespace on one switch.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Cluster nodes `n1`, `n2`, …
    pub nodes: usize,
    /// Clients `c1`, `c2`, … on the nodes' LAN.
    pub clients: usize,
    /// FRR routers `r1`, …, each with a client `far1`, … behind it.
    pub routers: usize,
    /// kube-proxy's mode per node, repeated when there are more nodes than
    /// entries; empty = no kube-proxy.
    pub proxy: Vec<ProxyMode>,
    /// etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and a
    /// kubelet per node.
    pub control_plane: bool,
    /// Apply `manifests/base` and wait until controller and agents are ready.
    pub clarion: bool,
    /// How long a node may miss its heartbeats before Kubernetes gives it up.
    /// Clusters use 40 s or more; tests of the node controller want less.
    pub node_grace: Duration,
    /// Start each node's switch port with an XDP program that passes all. Native
    /// XDP_TX on a veth arrives only at a peer that receives by NAPI.
    pub native_xdp: bool,
}

impl Spec {
    /// The usual lab: three nodes (two with nftables, one with iptables), one
    /// client, one router with a client behind it, the control plane and Clarion.
    pub fn cluster() -> Self {
        Self {
            nodes: 3,
            clients: 1,
            routers: 1,
            proxy: vec![ProxyMode::Nftables, ProxyMode::Iptables],
            control_plane: true,
            clarion: true,
            node_grace: Duration::from_secs(40),
            native_xdp: true,
        }
    }

    /// Namespaces and wires only: for packet tests that need no API server.
    pub fn wires(nodes: usize, clients: usize) -> Self {
        Self {
            nodes,
            clients,
            routers: 0,
            proxy: Vec::new(),
            control_plane: false,
            clarion: false,
            ..Self::cluster()
        }
    }

    /// Checks that the fixed addresses suffice and the parts fit together.
    ///
    /// # Errors
    /// Names the field that is too large or the part that is missing.
    pub fn check(&self) -> Result<()> {
        ensure!(self.nodes <= MAX_NODES, "nodes: {} is more than {MAX_NODES}", self.nodes);
        ensure!(self.clients <= MAX_CLIENTS, "clients: {} is more than {MAX_CLIENTS}", self.clients);
        ensure!(self.routers <= MAX_ROUTERS, "routers: {} is more than {MAX_ROUTERS}", self.routers);
        ensure!(self.control_plane || !self.clarion, "clarion: needs control_plane");
        ensure!(self.control_plane || self.proxy.is_empty(), "proxy: kube-proxy needs control_plane");
        Ok(())
    }

    /// kube-proxy's mode on node `index` (from 1).
    pub fn proxy_of(&self, index: usize) -> Option<ProxyMode> {
        let modes = &self.proxy;
        (!modes.is_empty()).then(|| modes[(index - 1) % modes.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clarion_without_a_control_plane_is_refused() {
        let spec = Spec { clarion: true, ..Spec::wires(1, 1) };
        assert!(spec.check().is_err());
        assert!(Spec::wires(2, 1).check().is_ok());
        assert!(Spec::cluster().check().is_ok());
    }

    #[test]
    fn modes_repeat_over_the_nodes() {
        let spec = Spec::cluster();
        assert_eq!(spec.proxy_of(1), Some(ProxyMode::Nftables));
        assert_eq!(spec.proxy_of(2), Some(ProxyMode::Iptables));
        assert_eq!(spec.proxy_of(3), Some(ProxyMode::Nftables));
        assert_eq!(Spec::wires(1, 0).proxy_of(1), None);
    }
}
