//! The LAN's switch: a bridge in a namespace of its own.
//!
//! It has a namespace without kube-proxy, because `bridge-nf-call-iptables` is
//! on everywhere and would filter the LAN's frames by the node's rules.

use crate::addressing::Station;
use crate::netns::Netns;
use crate::xdp_pass::XdpPass;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// How a wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The machine's interface loses its carrier, as with a pulled cable.
    Carrier,
    /// The switch forwards nothing to or from the port; the machine sees nothing
    /// of it, as with a broken switch further away.
    Silent,
}

/// The switch of one lab.
#[derive(Debug)]
pub struct Switch {
    netns: Netns,
    /// The programs on ports; they end with the switch.
    passes: Mutex<BTreeMap<String, XdpPass>>,
}

impl Switch {
    /// Makes the namespace and the bridge `lan` in it.
    ///
    /// # Errors
    /// When the namespace or the bridge is refused.
    pub fn create(prefix: &str) -> Result<Self> {
        let netns = Netns::create(&format!("{prefix}-sw"))?;
        netns.ip("link add lan type bridge forward_delay 0 stp_state 0\nlink set lan up")?;
        Ok(Self { netns, passes: Mutex::default() })
    }

    /// Its namespace; ports are named after the machines.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Plugs a machine in: its interface `eth0` gets the station's addresses.
    /// `native_xdp` lets frames that the machine's XDP program sends arrive.
    ///
    /// # Errors
    /// When the machine is plugged in already.
    pub fn plug(&self, name: &str, machine: &Netns, station: &Station, native_xdp: bool) -> Result<()> {
        let mac = mac_text(station.mac);
        self.netns.ip(&format!(
            "link add {name} type veth peer name eth0 address {mac} netns {peer}\n\
             link set {name} master lan up",
            peer = machine.name()
        ))?;
        machine.ip(&format!(
            "addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\nlink set eth0 up",
            station.v4, station.v6
        ))?;
        if native_xdp {
            let pass = self.netns.run(|| XdpPass::attach(name))??;
            self.passes.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.insert(name.to_owned(), pass);
        }
        Ok(())
    }

    /// Takes a machine's port away; its `eth0` goes with it.
    ///
    /// # Errors
    /// When it has no port.
    pub fn unplug(&self, name: &str) -> Result<()> {
        if let Ok(mut passes) = self.passes.lock() {
            passes.remove(name);
        }
        self.netns.ip(&format!("link del {name}"))
    }

    /// Cuts a machine's wire.
    ///
    /// # Errors
    /// When it has no port.
    pub fn cut(&self, name: &str, how: Cut) -> Result<()> {
        match how {
            Cut::Carrier => self.netns.ip(&format!("link set {name} down")),
            Cut::Silent => self.port_state(name, "disabled"),
        }
    }

    /// Undoes [`Switch::cut`], whichever it was.
    ///
    /// # Errors
    /// When it has no port.
    pub fn heal(&self, name: &str) -> Result<()> {
        self.netns.ip(&format!("link set {name} up"))?;
        // A port that is not up yet has no state; the kernel needs up to a second to notice its carrier.
        let mut refused = None;
        let healed = crate::wait::poll(Duration::from_secs(5), || {
            refused = self.port_state(name, "forwarding").err();
            Ok(refused.is_none().then_some(()))
        })?;
        match (healed, refused) {
            (None, Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn port_state(&self, name: &str, state: &str) -> Result<()> {
        self.netns.output("bridge", &["link", "set", "dev", name, "state", state]).map(drop).context("bridge")
    }
}

/// `02:00:00:00:01:0b`
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
