//! The wires: delay, loss, doubling, and links that are cut one way or both.

use std::net::IpAddr;

use clarion_fence::Wire;

use super::MS;
use super::rng::Rng;

/// What travels.
#[derive(Clone)]
pub(crate) enum Packet {
    /// To the kernel.
    Signal(Wire),
    /// To the agent.
    Datagram(Vec<u8>),
    /// ARP or NS, to the kernel.
    WhoHas(IpAddr),
    /// Its answer, to the agent that asked.
    IsAt(IpAddr),
    /// ARP to and from the gateway.
    Ping,
    Pong,
}

/// Which nodes hear which; the gateway is the last.
pub(crate) struct Links {
    size: usize,
    open: Vec<bool>,
}

impl Links {
    pub(crate) fn new(nodes: usize) -> Self {
        let size = nodes + 1;
        Self { size, open: vec![true; size * size] }
    }

    pub(crate) fn open(&self, from: usize, to: usize) -> bool {
        self.open[from * self.size + to]
    }

    pub(crate) fn both(&self, a: usize, b: usize) -> bool {
        self.open(a, b) && self.open(b, a)
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, open: bool) {
        self.open[from * self.size + to] = open;
    }

    pub(crate) fn heal(&mut self) {
        self.open.fill(true);
    }
}

/// How bad the network is.
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) loss: f64,
    /// Half a percent of all packets are up to 50 ms late.
    pub(crate) tail: bool,
    pub(crate) doubled: f64,
}

impl Quality {
    /// When the copies of one packet arrive.
    pub(crate) fn delays(&self, rng: &mut Rng) -> [Option<u64>; 2] {
        let mut copies = [None; 2];
        let count = if rng.chance(self.doubled) { 2 } else { 1 };
        for copy in copies.iter_mut().take(count) {
            if !rng.chance(self.loss) {
                let late = if self.tail && rng.chance(0.005) { rng.range(0, 50 * MS) } else { 0 };
                *copy = Some(60_000 + rng.exp(150_000.0) as u64 + late);
            }
        }
        copies
    }
}
