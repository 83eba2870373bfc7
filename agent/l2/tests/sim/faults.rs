//! What goes wrong: one thing at a time, or everything at once.

use clarion_l2::machine::{Ability, Input};

use super::MS;
use super::net::Quality;
use super::world::{Config, Event, World};

/// One thing that happens to one or two nodes. `usize` is a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    PowerOff(usize),
    Boot(usize),
    /// All links of a node, the gateway's too.
    Cut(usize),
    Mend(usize),
    /// Nothing reaches it; nothing leaves it.
    Deaf(usize),
    Mute(usize),
    LinkCut(usize, usize),
    OneWayCut(usize, usize),
    LinkMend(usize, usize),
    /// Nodes below the number on one side, and the gateway if so said.
    Split(usize, bool),
    HealAll,
    AgentStop(usize),
    AgentGo(usize),
    AgentKill(usize),
    AgentStart(usize),
    Freeze(usize),
    /// The boot clock ran meanwhile, or it stood still.
    Thaw(usize, bool),
    ApiAway(usize),
    ApiBack(usize),
    Reorder(usize),
    /// An address that was not planned before, to a node.
    Create(usize, usize),
    /// An address to a node, from its owner.
    Move(usize, usize),
    /// The same, as if it had no owner.
    Place(usize, usize),
    Voters,
    Drain(usize),
    CarrierLost(usize),
}

impl World {
    pub(crate) fn at(&mut self, at: u64, fault: Fault) {
        self.schedule(at, Event::Fault(fault));
    }

    fn all_links(&mut self, node: usize, out: bool, inwards: bool, open: bool) {
        for other in (0..=self.config.nodes).filter(|other| *other != node) {
            if out {
                self.links.set(node, other, open);
            }
            if inwards {
                self.links.set(other, node, open);
            }
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        self.line(format!("** {fault:?}"));
        match fault {
            Fault::PowerOff(n) => self.power_off(n),
            Fault::Boot(n) if !self.nodes[n].power => self.boot(n),
            Fault::Boot(_) => {}
            Fault::Cut(n) => self.all_links(n, true, true, false),
            Fault::Mend(n) => self.all_links(n, true, true, true),
            Fault::Deaf(n) => self.all_links(n, false, true, false),
            Fault::Mute(n) => self.all_links(n, true, false, false),
            Fault::LinkCut(a, b) => self.link(a, b, true, false),
            Fault::OneWayCut(a, b) => self.link(a, b, false, false),
            Fault::LinkMend(a, b) => self.link(a, b, true, true),
            Fault::Split(below, gateway) => self.split(below, gateway),
            Fault::HealAll => self.heal_all(),
            Fault::AgentStop(n) => self.nodes[n].agent_paused = true,
            Fault::AgentGo(n) => self.agent_go(n),
            Fault::AgentKill(n) => {
                self.nodes[n].agent = None;
                self.nodes[n].socket.clear();
            }
            Fault::AgentStart(n) if self.nodes[n].agent.is_none() => self.start_agent(n),
            Fault::AgentStart(_) => {}
            Fault::Freeze(n) => self.nodes[n].frozen = self.nodes[n].frozen.or(Some(self.now)),
            Fault::Thaw(n, clock_ran) => self.thaw(n, clock_ran),
            Fault::ApiAway(n) => self.nodes[n].api = false,
            Fault::ApiBack(n) => {
                self.nodes[n].api = true;
                self.deliver_plan(n);
            }
            Fault::Reorder(address) => {
                self.reorder(address);
                self.publish();
            }
            Fault::Create(address, node) => {
                self.create(address, node);
                self.publish();
            }
            Fault::Move(address, node) => {
                self.place(address, node, 1, true);
                self.publish();
            }
            Fault::Place(address, node) => {
                self.place(address, node, 1, false);
                self.publish();
            }
            Fault::Voters => {
                self.replan_voters();
                self.publish();
            }
            Fault::Drain(n) => self.input(n, Input::Able(Ability::Draining)),
            Fault::CarrierLost(n) => self.input(n, Input::Able(Ability::CutOff)),
        }
    }

    fn link(&mut self, a: usize, b: usize, both: bool, open: bool) {
        self.links.set(a, b, open);
        if both {
            self.links.set(b, a, open);
        }
    }

    fn split(&mut self, below: usize, gateway: bool) {
        let end = self.config.nodes;
        let side = |n: usize| if n == end { gateway } else { n < below };
        for a in 0..=end {
            for b in 0..=end {
                if side(a) != side(b) {
                    self.links.set(a, b, false);
                }
            }
        }
    }

    fn agent_go(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].agent_paused) || !self.nodes[node].agent_runs() {
            return;
        }
        // What wakes an agent first, its timer or its socket, is chance.
        if self.rng.chance(0.5) {
            self.poll(node);
        }
        for input in std::mem::take(&mut self.nodes[node].socket) {
            self.input(node, input);
        }
        self.poll(node);
    }

    fn thaw(&mut self, node: usize, clock_ran: bool) {
        let Some(from) = self.nodes[node].frozen.take() else { return };
        if !clock_ran {
            // A snapshot or a migration: what waited in the ring is lost with it.
            let now = self.now;
            self.nodes[node].clock.stood_still(from, now);
            self.nodes[node].ring.clear();
        }
        if !self.nodes[node].power {
            return;
        }
        for (from, packet) in std::mem::take(&mut self.nodes[node].ring) {
            self.arrive(node, from, packet);
        }
        if self.nodes[node].agent_runs() {
            self.agent_inputs(node);
        }
    }

    fn agent_inputs(&mut self, node: usize) {
        for input in std::mem::take(&mut self.nodes[node].socket) {
            self.input(node, input);
        }
        self.poll(node);
    }

    fn heal_all(&mut self) {
        self.links.heal();
        for node in 0..self.nodes.len() {
            self.thaw(node, true);
            if !self.nodes[node].power {
                self.boot(node);
            } else if self.nodes[node].agent.is_none() {
                self.start_agent(node);
            }
            self.agent_go(node);
            self.nodes[node].api = true;
        }
        self.replan_voters();
        self.publish();
    }
}

/// Everything at once, then healing.
#[derive(Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) chaos: u64,
    pub(crate) healing: u64,
    /// Boot clocks stand still in pauses of a machine.
    pub(crate) clocks_stop: bool,
}

/// A cluster of the given size with a network as bad as its seed says.
pub(crate) fn rough(seed: u64, nodes: usize) -> Config {
    let loss = [0.0, 0.01, 0.05][(seed % 3) as usize];
    let quality = Quality { loss, tail: (seed / 3).is_multiple_of(3), doubled: 0.01 };
    Config { quality, slow_watch: true, ..Config::new(seed, nodes) }
}

impl World {
    /// Boots, settles, suffers, heals; ends with everything mended.
    pub(crate) fn suffer(&mut self, mix: Mix) {
        let settled = 2500 * MS;
        let end = settled + mix.chaos;
        let mut at = settled;
        while at < end {
            self.plan_fault(at, end, mix);
            at += self.rng.range(50 * MS, 1500 * MS);
        }
        self.at(end, Fault::HealAll);
        self.run_until(end + mix.healing);
    }

    fn plan_fault(&mut self, at: u64, end: u64, mix: Mix) {
        let n = self.config.nodes;
        let (a, b) = (self.rng.below(n), self.rng.below(n));
        let short = at + self.rng.range(10 * MS, 400 * MS);
        let long = at + self.rng.range(100 * MS, 3000 * MS);
        match self.rng.below(15) {
            0 | 1 => {
                self.at(at, Fault::PowerOff(a));
                self.at(long, Fault::Boot(a));
                if self.rng.chance(0.3) && b != a {
                    self.at(at, Fault::PowerOff(b));
                    self.at(long + 100 * MS, Fault::Boot(b));
                }
            }
            2 => self.pair(at, long, Fault::Cut(a), Fault::Mend(a)),
            3 => self.pair(at, long, Fault::Deaf(a), Fault::Mend(a)),
            4 => self.pair(at, long, Fault::Mute(a), Fault::Mend(a)),
            5 if a != b => self.pair(at, long, Fault::LinkCut(a, b), Fault::LinkMend(a, b)),
            6 if a != b => self.pair(at, long, Fault::OneWayCut(a, b), Fault::LinkMend(a, b)),
            7 => {
                let gateway = self.rng.chance(0.5);
                let below = 1 + self.rng.below(n.max(2) - 1);
                self.at(at, Fault::Split(below, gateway));
                for a in 0..=n {
                    for b in 0..a {
                        self.at(long, Fault::LinkMend(a, b));
                    }
                }
            }
            8 => self.pair(at, short, Fault::AgentStop(a), Fault::AgentGo(a)),
            9 => self.pair(at, long, Fault::AgentStop(a), Fault::AgentGo(a)),
            10 => self.pair(at, short, Fault::AgentKill(a), Fault::AgentStart(a)),
            11 => self.pair(at, long, Fault::Freeze(a), Fault::Thaw(a, !mix.clocks_stop)),
            12 => self.pair(at, long, Fault::ApiAway(a), Fault::ApiBack(a)),
            13 => {
                let address = self.rng.below(self.config.addresses);
                let fault =
                    if self.rng.chance(0.5) { Fault::Reorder(address) } else { Fault::Move(address, a) };
                self.at(at, fault);
            }
            _ => self.at(at.min(end), Fault::Voters),
        }
    }

    pub(crate) fn pair(&mut self, at: u64, until: u64, begin: Fault, finish: Fault) {
        self.at(at, begin);
        self.at(until, finish);
    }
}
