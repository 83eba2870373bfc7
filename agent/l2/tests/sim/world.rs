//! The event loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use clarion_fence::{self as fence, Key, Keys};
use clarion_l2::machine::{Input, Machine, Output, Plan, Timing};

use super::MS;
use super::check::Checker;
use super::controller::{Controller, address_index, index_of, node_id};
use super::faults::Fault;
use super::net::{Links, Packet, Quality};
use super::node::{Clock, Maps, Node, SOCKET};
use super::report::Timeline;
use super::rng::Rng;

/// A safeguard taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tamper {
    /// The kernel answers without leases.
    NoFence,
    /// Leases run from when a grant arrives, not from the own stamp.
    LeaseFromArrival,
    /// A voter grants to who hears nothing.
    NoRoundTrip,
    /// Promises end by themselves.
    PromiseEnds,
    /// Promises are made to anybody who asks.
    SharedPromise,
    /// Nobody hears claims.
    NoClaims,
    /// Nobody passes on what another claimed.
    NoForwarding,
    /// Takers hear no answer of the segment.
    NoResolve,
    /// One lease is enough, whatever the majority.
    NoMajority,
    /// Any segment counts as proven, also one that nobody lives on.
    NoProof,
    /// Nobody learns of an agent's heartbeat.
    NoHeartbeat,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) addresses: usize,
    /// `--l2-rebalance never`.
    pub(crate) stay: bool,
    /// Nodes on each address's list, at most.
    pub(crate) list: usize,
    /// Nodes that may own nothing but what a list names them for.
    pub(crate) barred: Vec<usize>,
    /// So many of the addresses, the last ones, are created later ([`Fault::Create`]).
    pub(crate) later: usize,
    pub(crate) quality: Quality,
    pub(crate) timing: Timing,
    pub(crate) slow_watch: bool,
    pub(crate) tamper: Option<Tamper>,
    /// Look for darkness this often.
    pub(crate) sample: u64,
}

impl Config {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            addresses: nodes * 2,
            stay: false,
            list: 8,
            barred: Vec::new(),
            later: 0,
            quality: Quality { loss: 0.0, tail: false, doubled: 0.0 },
            timing: Timing { grace: 5000 * MS, ..Timing::default() },
            slow_watch: false,
            tamper: None,
            sample: MS,
        }
    }

    pub(crate) fn loss(mut self, loss: f64) -> Self {
        self.quality.loss = loss;
        self
    }

    pub(crate) fn consistent(mut self) -> Self {
        self.timing.available = None;
        self
    }
}

pub(crate) enum Event {
    Arrive { to: usize, from: usize, packet: Packet },
    Timer(usize),
    Plan(usize, Arc<Plan>),
    Fault(Fault),
    Sample,
}

struct Queued {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Links,
    pub(crate) controller: Controller,
    pub(crate) published: Arc<Plan>,
    pub(crate) checker: Checker,
    pub(crate) timeline: Timeline,
    pub(crate) keys: Keys,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    pub(crate) datagrams: u64,
    pub(crate) signals: u64,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let controller = Controller::new(&config);
        let none = Key { id: 0, k0: 0, k1: 0 };
        let nodes = (0..config.nodes)
            .map(|i| {
                let ppm = rng.unit() * 400.0 - 200.0;
                Node {
                    id: node_id(i),
                    power: false,
                    frozen: None,
                    agent: None,
                    agent_paused: false,
                    api: true,
                    clock: Clock::new(0, 0, ppm),
                    maps: Maps::default(),
                    ring: Vec::new(),
                    socket: Vec::new(),
                    incs: 0,
                    ppm,
                    timer: u64::MAX,
                    plan: None,
                    boots: 0,
                }
            })
            .collect();
        let mut world = Self {
            now: 0,
            rng,
            nodes,
            links: Links::new(config.nodes),
            published: Arc::new(controller.plan.clone()),
            controller,
            checker: Checker::new(config.addresses),
            timeline: Timeline::default(),
            keys: Keys { current: Key::new(1, [42; 16]), other: none },
            queue: BinaryHeap::new(),
            order: 0,
            datagrams: 0,
            signals: 0,
            config,
        };
        // Nobody's probes keep step with anybody's.
        for node in 0..world.nodes.len() {
            let at = world.rng.range(0, 200 * MS);
            world.schedule(at, Event::Fault(Fault::Boot(node)));
        }
        world.schedule(0, Event::Sample);
        world
    }

    pub(crate) fn line(&mut self, text: String) {
        self.timeline.push(self.now, text);
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at, order: self.order, event }));
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > until {
                break;
            }
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.dispatch(next.event);
            self.check();
        }
        self.now = until;
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Arrive { to, from, packet } => self.arrive(to, from, packet),
            Event::Timer(node) => {
                if self.nodes[node].timer == self.now {
                    self.nodes[node].timer = u64::MAX;
                    if self.nodes[node].agent_runs() {
                        self.poll(node);
                    }
                }
            }
            Event::Plan(node, plan) => {
                if self.nodes[node].power && self.nodes[node].api {
                    self.nodes[node].plan = Some(Arc::clone(&plan));
                    self.input(node, Input::Plan(plan));
                }
            }
            Event::Fault(fault) => self.strike(fault),
            Event::Sample => {
                self.sample();
                self.schedule(self.now + self.config.sample, Event::Sample);
            }
        }
    }

    // Machines.

    pub(crate) fn boot(&mut self, node: usize) {
        let (local, jitter) = (self.rng.range(2000 * MS, 900_000 * MS), self.rng.unit());
        let n = &mut self.nodes[node];
        let ppm = n.ppm + jitter;
        (n.power, n.frozen, n.api) = (true, None, true);
        n.clock = Clock::new(self.now, local, ppm);
        n.boots += 1;
        n.incs = n.incs.max(n.maps.own.map_or(0, |own| own.inc)) + 1;
        let promise_ends = (self.config.tamper == Some(Tamper::PromiseEnds)).then_some(100 * MS);
        let shared_promise = self.config.tamper == Some(Tamper::SharedPromise);
        let one_lease = self.config.tamper == Some(Tamper::NoMajority);
        n.maps = Maps { promise_ends, shared_promise, one_lease, ..Maps::default() };
        self.start_agent(node);
    }

    pub(crate) fn start_agent(&mut self, node: usize) {
        let (timing, keys, now) = (self.config.timing, self.keys, self.now);
        let n = &mut self.nodes[node];
        if !n.power {
            return;
        }
        let local = n.clock.local(now);
        n.maps.forget_promises(local);
        n.agent_paused = false;
        n.socket.clear();
        n.agent = Some(Machine::start(n.id, n.incs, timing, keys, local, &mut n.maps));
        self.settle(node);
        if self.nodes[node].api {
            self.deliver_plan(node);
        }
    }

    pub(crate) fn power_off(&mut self, node: usize) {
        let held: Vec<_> = self.nodes[node].maps.entries.keys().copied().collect();
        for address in held {
            self.checker.touched(address_index(address), node, false);
        }
        let n = &mut self.nodes[node];
        n.incs = n.incs.max(n.maps.own.map_or(0, |own| own.inc));
        n.power = false;
        n.agent = None;
        n.maps = Maps::default();
        n.ring.clear();
        n.socket.clear();
    }

    /// Whether the node's leases suffice now.
    pub(crate) fn whole(&self, node: usize) -> bool {
        let n = &self.nodes[node];
        let local = n.clock.local(self.now);
        n.maps.own.is_some_and(|own| fence::ok(&own, &n.maps.leases.0, local))
    }

    pub(crate) fn answers(&self, node: usize, index: usize) -> bool {
        let n = &self.nodes[node];
        let (Some(own), Some(entry)) = (n.maps.own, n.maps.entries.get(&super::controller::address(index)))
        else {
            return false;
        };
        let local = n.clock.local(self.now);
        if self.config.tamper == Some(Tamper::NoFence) {
            return n.runs() && own.alive(local) && entry.inc == own.inc;
        }
        n.runs() && fence::answers(&own, &n.maps.leases.0, entry.inc, local)
    }

    // Agents.

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now = self.now;
        let n = &mut self.nodes[node];
        if !n.agent_runs() {
            if n.power && n.agent.is_some() && n.socket.len() < SOCKET {
                n.socket.push(input);
            }
            return;
        }
        let mut out = Vec::new();
        let local = n.clock.local(now);
        n.maps.forget_promises(local);
        if let Some(agent) = &mut n.agent {
            agent.handle(local, input, &mut n.maps, &mut out);
            if agent.next_deadline() <= local {
                agent.poll(local, &mut n.maps, &mut out);
            }
        }
        self.apply(node, out);
        self.settle(node);
    }

    pub(crate) fn poll(&mut self, node: usize) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let mut out = Vec::new();
        let local = n.clock.local(now);
        n.maps.forget_promises(local);
        if let Some(agent) = &mut n.agent {
            agent.poll(local, &mut n.maps, &mut out);
        }
        self.apply(node, out);
        self.settle(node);
    }

    /// Tells the checker what changed, and sets the timer.
    pub(crate) fn settle(&mut self, node: usize) {
        let touched = std::mem::take(&mut self.nodes[node].maps.touched);
        for address in touched {
            let holds = self.nodes[node].maps.entries.contains_key(&address);
            self.checker.touched(address_index(address), node, holds);
        }
        let Some(deadline) = self.nodes[node].agent.as_ref().map(Machine::next_deadline) else { return };
        // A scheduler is never exact.
        let late = self.rng.range(1_000, 100_000);
        let n = &mut self.nodes[node];
        let at = n.clock.when(deadline).max(self.now) + late;
        if at < n.timer || n.timer < self.now {
            n.timer = at;
            self.schedule(at, Event::Timer(node));
        }
    }

    fn apply(&mut self, node: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Signal(message) => {
                    self.signals += 1;
                    let to = index_of(message.to);
                    let wire = fence::seal(&message, &self.keys.current);
                    self.transmit(node, to, Packet::Signal(wire));
                }
                Output::Send(to, bytes) => {
                    self.datagrams += 1;
                    self.transmit(node, index_of(to), Packet::Datagram(bytes));
                }
                Output::Resolve(address) => {
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.transmit(node, to, Packet::WhoHas(address));
                    }
                }
                Output::ProveSegment if self.config.tamper == Some(Tamper::NoProof) => {
                    self.schedule(self.now, Event::Arrive { to: node, from: node, packet: Packet::Pong });
                }
                Output::ProveSegment => self.transmit(node, self.config.nodes, Packet::Ping),
                Output::Announce(_) => {}
                Output::Note(event) => {
                    if let clarion_l2::machine::Event::Took(address, _) = event {
                        self.checker.took(address_index(address), node);
                    }
                    self.timeline.event(self.now, node, event);
                }
            }
        }
    }
}
