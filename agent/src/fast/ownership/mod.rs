//! Drives the ownership machine (`clarion_l2::machine`): its clock, its sockets, the
//! maps behind it, and what it is told by the slow half.
//!
//! | module | what |
//! |---|---|
//! | `maps` | the kernel's maps as the machine sees them |
//! | `net` | datagrams between agents, probes |
//! | `segment` | questions to the segment |
//! | `keys` | the cluster's keys, and how one follows another |
//! | `owners` | who owns what, and why, for the rest of the agent |
//! | `told` | what is worth a line of the log or a counter |
//!
//! The driver decides nothing. Of what the machine says, what concerns nodes is sent
//! here; what concerns interfaces is left to the half ([`Driver::take_outputs`]).

mod keys;
mod maps;
mod net;
mod owners;
mod segment;
mod told;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clarion_core::NodeName;
use clarion_dataplane::{Dataplane, Votes};
use clarion_fence::{NodeId, seal};
use clarion_l2::machine::{Ability, Input, Machine, Output, Timing, node_id};
use clarion_netlink::{Interface, Snapshot};
use nix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

pub(crate) use self::owners::{Decision, Decisions, Held, OwnerReason, Standing};
pub(crate) use self::segment::Neighbours;
pub(crate) use self::told::Told;

use self::keys::KeyRing;
use self::maps::{Book, Maps};
use self::net::{Heard, Net};
use self::segment::Segment;
use super::scope::{Scope, differing};
use crate::desired::owners::{Fellow, Owners};

/// The kind of a YES (`clarion_fence::Wire`): for the machine, not for the kernel.
const YES: u8 = 4;
/// Things of each kind that are taken in before the machine runs again.
const BATCH: usize = 1024;

/// How the driver is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) port: u16,
    pub(super) timing: Timing,
}

/// The machine and all that it speaks by.
#[derive(Debug)]
pub(super) struct Driver {
    name: NodeName,
    me: NodeId,
    machine: Machine,
    pub(super) book: Book,
    keys: KeyRing,
    net: Net,
    segment: Segment,
    votes: AsyncFd<Votes>,
    owners: Arc<Owners>,
    /// What the machine was last told; what a predecessor told the maps may be otherwise.
    ability: Option<Ability>,
    /// More may wait than was taken in.
    more: bool,
    outputs: Vec<Output>,
    told: Told,
}

/// Nanoseconds of the boot clock, which the program reads, too, and which goes on
/// while the machine is suspended.
pub(super) fn boot_clock() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The incarnation of a boot: greater than the last boot's, as wall clocks go. One that was set
/// back is noticed by the peers, who remember the greater one.
fn incarnation() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since_1970.as_secs().max(1)
}

impl Driver {
    /// Takes up what the maps hold, and opens the sockets.
    ///
    /// # Errors
    /// A socket was refused, or a map cannot be read.
    pub(super) fn start(
        name: &NodeName,
        settings: &Settings,
        dataplane: &mut Dataplane,
    ) -> anyhow::Result<Self> {
        let net = Net::open(settings.port).with_context(|| {
            format!(
                "cannot listen on UDP port {}: end the program that does (MetalLB's speaker, maybe), or choose \
                 another port for all agents with --ml-bindport",
                settings.port
            )
        })?;
        let segment = Segment::open().context(
            "cannot open packet sockets for questions to the segment: the agent needs CAP_NET_RAW",
        )?;
        let observed = dataplane.observe().context("cannot read the kernel program's maps")?;
        let mut book = Book::default();
        book.adopt(&observed.addresses);
        let fence = dataplane.fence_mut();
        let keys = KeyRing::new(fence.keys().context("cannot read the keys of the kernel program")?);
        fence.listen(settings.port).context("cannot tell the kernel program its port")?;
        let votes = fence.take_votes().context("the votes of the kernel program have a reader already")?;
        let me = node_id(name);
        let now = boot_clock();
        let mut maps = Maps { dataplane, book: &mut book };
        let machine = Machine::start(me, incarnation(), settings.timing, keys.keys(), now, &mut maps);
        Ok(Self {
            name: name.clone(),
            me,
            machine,
            book,
            keys,
            net,
            segment,
            // SAFETY: the ring keeps its one descriptor for as long as it lives.
            votes: unsafe { AsyncFd::register(votes) }.context("cannot wait for votes")?,
            owners: Arc::default(),
            ability: None,
            more: false,
            outputs: Vec::new(),
            told: Told::default(),
        })
    }

    /// Waits until something may have come. Cancelling it loses nothing.
    pub(super) async fn ready(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.net.readable() => ready,
            ready = self.segment.readable() => ready,
            guard = self.votes.readable_mut() => {
                guard?.clear_ready();
                Ok(())
            }
        }
    }

    /// Takes in what came.
    pub(super) fn receive(&mut self, own: &[Interface], dataplane: &mut Dataplane) {
        self.more = false;
        let mut votes = Vec::new();
        while let Some(vote) = self.votes.get_mut().next_vote() {
            votes.push(vote);
            if votes.len() >= BATCH {
                self.more = true;
                break;
            }
        }
        votes.into_iter().for_each(|vote| self.handle(Input::Yes(vote), dataplane));
        for taken in 1.. {
            match self.net.next() {
                None => break,
                Some(Heard::Datagram(bytes)) => self.handle(Input::Datagram(bytes), dataplane),
                Some(Heard::Signal(wire, from)) => {
                    // It came by an interface without the program.
                    if wire.0[0][3] == YES {
                        self.handle(Input::Yes(wire), dataplane);
                    } else if let Ok(Some(answer)) = dataplane.fence().relay(&wire) {
                        self.net.send_to(from, bytemuck::bytes_of(&answer));
                    }
                }
            }
            if taken >= BATCH {
                self.more = true;
                break;
            }
        }
        let mut lives = false;
        for _ in 0..BATCH {
            let Some((station, address)) = self.segment.next() else { break };
            if own.iter().all(|interface| interface.mac != station) {
                lives = true;
                self.handle(Input::Answered(address), dataplane);
            }
        }
        if lives {
            self.handle(Input::Segment, dataplane);
        }
    }

    fn handle(&mut self, input: Input, dataplane: &mut Dataplane) {
        let mut maps = Maps { dataplane, book: &mut self.book };
        self.machine.handle(boot_clock(), input, &mut maps, &mut self.outputs);
    }

    /// What the API server says of plans, nodes and keys, and which addresses it concerns.
    pub(super) fn set_owners(&mut self, owners: Arc<Owners>, dataplane: &mut Dataplane) -> Scope {
        if let Some(key) = owners.key {
            self.keys.learn(key, boot_clock());
        }
        let mut scope = if owners.fellows == self.owners.fellows { Scope::default() } else { Scope::All };
        if let Some(plan) = &owners.plan {
            match &self.owners.plan {
                Some(former) => scope.add(differing(&former.places, &plan.places)),
                None => scope = Scope::All,
            }
            // One whose version it has is none to the machine.
            self.handle(Input::Plan(Arc::clone(plan)), dataplane);
        }
        self.owners = owners;
        scope
    }

    /// Whether this node can serve addresses.
    pub(super) fn set_ability(&mut self, ability: Ability, dataplane: &mut Dataplane) {
        if self.ability.replace(ability) != Some(ability) {
            tracing::info!(?ability, "this node's ability to serve layer 2 addresses");
            self.handle(Input::Able(ability), dataplane);
        }
    }

    /// These addresses have lost their last interface here: others may have one.
    pub(super) fn release(&mut self, addresses: Vec<IpAddr>, dataplane: &mut Dataplane) {
        if !addresses.is_empty() && self.ability == Some(Ability::Able) {
            self.handle(Input::Release(addresses, None), dataplane);
        }
    }

    /// Does what is due. What is for nodes is sent, but for datagrams, which may be claims
    /// of what the maps do not hold yet.
    pub(super) fn step(&mut self, dataplane: &mut Dataplane) {
        let now = boot_clock();
        if let Some(keys) = self.keys.due(now) {
            if let Err(error) = dataplane.fence_mut().set_keys(&keys) {
                tracing::error!(
                    error = clarion_daemon::chain(&error),
                    "cannot give the kernel program its keys"
                );
            }
            self.handle(Input::Keys(keys), dataplane);
        }
        if self.machine.next_deadline() <= now {
            let mut maps = Maps { dataplane, book: &mut self.book };
            self.machine.poll(now, &mut maps, &mut self.outputs);
        }
        let signals = std::mem::take(&mut self.outputs);
        for output in signals {
            match output {
                Output::Signal(message) => {
                    if let Some(to) = self.address(message.to) {
                        self.net.send(to, bytemuck::bytes_of(&seal(&message, &self.keys.keys().current)));
                    }
                }
                Output::Note(event) => self.told.event(event, &self.owners.fellows),
                other => self.outputs.push(other),
            }
        }
    }

    /// Sends datagrams, now that the maps hold what they claim, and leaves the rest.
    pub(super) fn take_outputs(&mut self) -> Vec<Output> {
        let mut rest = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Send(to, bytes) => {
                    if let Some(to) = self.address(to) {
                        self.net.send(to, &bytes);
                    }
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// The addresses of which anything about owners has changed since the last call. Most
    /// datagrams repeat what is known.
    pub(super) fn take_news(&mut self) -> BTreeSet<IpAddr> {
        let mut news = self.machine.take_changed();
        news.append(&mut self.book.take_touched());
        news
    }

    /// Asks who has an address.
    pub(super) fn resolve(&self, interface: &Interface, address: IpAddr) {
        self.segment.resolve(interface, address);
    }

    /// Asks whether anybody lives on the segments of these interfaces.
    pub(super) fn prove(&self, interfaces: &[Interface], snapshot: &Snapshot) {
        self.segment.prove(interfaces, snapshot);
    }

    /// Nothing is sent without a key, and nothing would be believed.
    fn address(&self, node: NodeId) -> Option<IpAddr> {
        let known = self.keys.keys().current.id != 0;
        self.owners.fellows.get(&node).and_then(|fellow| fellow.address).filter(|_| known)
    }

    /// How long nothing needs to be done.
    pub(super) fn pause(&self) -> std::time::Duration {
        let deadline = self.keys.deadline().unwrap_or(u64::MAX).min(self.machine.next_deadline());
        let pause = if self.more { 0 } else { deadline.saturating_sub(boot_clock()) };
        std::time::Duration::from_nanos(pause)
    }

    /// The stations around, as far as anything of ours is being handed to one of them.
    pub(super) fn neighbours(&self) -> Neighbours {
        let handing_over = self.machine.held().any(|(_, entry)| entry.station != self.me);
        if handing_over { Neighbours::read() } else { Neighbours::default() }
    }
}

/// A fellow's name, for the log.
fn name_of(fellows: &std::collections::BTreeMap<NodeId, Fellow>, node: NodeId) -> String {
    fellows.get(&node).map_or_else(|| format!("node {:x}", node.0), |fellow| fellow.name.to_string())
}
