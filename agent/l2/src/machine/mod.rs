//! The agent's half of ownership: a machine without IO.
//!
//! Inputs are a datagram, a plan, an answer of the segment, a change of this
//! node's ability to serve; outputs are datagrams, probes, questions to the
//! segment, and notes for the log. Maps are reached through [`Kernel`]. After
//! [`Machine::handle`], and whenever [`Machine::next_deadline`] has come, the
//! driver calls [`Machine::poll`].
//!
//! | module | question |
//! |---|---|
//! | `fence` | may I answer? probes, resignation, the last node standing, voters |
//! | `executor` | has a peer lost its addresses, and am I the one to say so? |
//! | `jobs` | who gets an address, and did it take it? hand-over |
//! | `home` | does it go back to whom the plan names first? |
//! | `orphan` | has it lost its owner without anybody to say so? |
//! | `taker` | may I take it? |
//! | `claims` | who hears what I own, and who is right? |
//! | `record`, `plan`, `message`, `replay`, `kernel`, `timing` | the nouns |
//!
//! The protocol, what it promises in which fault and what not:
//! `docs/design/ownership.md`.

mod claims;
mod event;
mod executor;
mod fence;
mod home;
mod jobs;
mod kernel;
mod message;
mod orphan;
mod plan;
mod record;
mod replay;
mod taker;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_fence::{ABLE, Keys, Message, NEVER, NodeId, Own, Peer, VOTERS, Wire};

pub use self::event::{Event, Why};
pub use self::kernel::{Entry, Kernel};
pub use self::message::{Body, DecodeError, Header, Item, MAX_ITEMS, decode, encode};
pub use self::plan::{Placement, Plan, node_id};
pub use self::record::Record;
pub use self::timing::{MS, Timing};

use self::claims::Claims;
use self::executor::Hunt;
use self::fence::Fence;
use self::home::Home;
use self::jobs::Job;
use self::orphan::Orphans;
use self::record::Records;
use self::replay::Replays;
use self::taker::Take;
use self::timing::RESOLVE_STALL;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A datagram of another agent came.
    Datagram(Vec<u8>),
    /// A YES of another kernel came.
    Yes(Wire),
    /// The controller's plan, or a part of it, changed.
    Plan(Arc<Plan>),
    /// Somebody answered for an address that we asked the segment for.
    Answered(IpAddr),
    /// The gateway or a neighbour answered us: the segment lives.
    Segment,
    /// Whether this node can serve addresses.
    Able(Ability),
    /// Hand these addresses over, to this node if it can take them.
    Release(Vec<IpAddr>, Option<NodeId>),
    /// The cluster's keys changed.
    Keys(Keys),
}

/// Whether this node can serve addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// It can.
    Able,
    /// It is about to go: everything is handed over, nothing unanswered.
    Draining,
    /// The segment is gone (carrier, interface): everything is given up at once.
    CutOff,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal this probe or ASK under the current key and send it to the node's kernel.
    Signal(Message),
    /// Send this datagram to the node's agent.
    Send(NodeId, Vec<u8>),
    /// Ask the segment who has this address (ARP or NS, not as its owner).
    Resolve(IpAddr),
    /// Ask the gateway, or another neighbour, for a sign of life.
    ProveSegment,
    /// Send gratuitous frames for this address: it has just been taken.
    Announce(IpAddr),
    /// Something worth a line of the log.
    Note(Event),
}

/// The machine of one node.
#[derive(Debug)]
pub struct Machine {
    me: NodeId,
    timing: Timing,
    keys: Keys,
    plan: Arc<Plan>,
    /// Who votes about us, and whom we vote about: the peers that are probed.
    pairs: BTreeSet<NodeId>,
    watched: Vec<NodeId>,
    /// Nodes that may get an address soon, probed meanwhile.
    candidates: BTreeSet<NodeId>,
    own: Own,
    fence: Fence,
    records: Records,
    held: BTreeMap<IpAddr, Entry>,
    hunts: BTreeMap<NodeId, Hunt>,
    jobs: BTreeMap<IpAddr, Job>,
    jobs_at: u64,
    takes: BTreeMap<IpAddr, Take>,
    /// Addresses that the plan gives to us, or that we hold and it gives to another.
    moves: BTreeSet<IpAddr>,
    /// The last of them that was looked at, while there are more than one look takes.
    moved: Option<IpAddr>,
    moves_at: u64,
    home: Home,
    orphans: Orphans,
    claims: Claims,
    replays: Replays,
    /// When the last datagram to each node was sent.
    sent: BTreeMap<NodeId, u64>,
    dropped: BTreeMap<Why, u64>,
    polled: u64,
    deadline: u64,
}

/// What the steps of one call share.
struct Turn<'a> {
    now: u64,
    kernel: &'a mut dyn Kernel,
    out: &'a mut Vec<Output>,
}

impl Turn<'_> {
    fn note(&mut self, event: Event) {
        self.out.push(Output::Note(event));
    }
}

impl Machine {
    /// Starts: what the maps hold is adopted and claimed. `inc` is this boot's
    /// incarnation (greater than at the boot before); the maps' own word wins,
    /// since it counts resignations too.
    pub fn start(
        me: NodeId,
        inc: u64,
        timing: Timing,
        keys: Keys,
        now: u64,
        kernel: &mut dyn Kernel,
    ) -> Self {
        let fresh = Own {
            id: me,
            inc,
            heartbeat: now,
            voters: [NodeId::NOBODY; VOTERS],
            needs: NEVER,
            flags: ABLE,
            times: timing.kernel(),
        };
        let pinned = kernel.own().filter(|own| own.id == me);
        let own = pinned.map_or(fresh, |own| Own { heartbeat: now, times: timing.kernel(), ..own });
        kernel.set_own(own);
        let mut machine = Self {
            me,
            timing,
            keys,
            plan: Arc::default(),
            pairs: kernel.peers().into_iter().collect(),
            watched: Vec::new(),
            candidates: BTreeSet::new(),
            own,
            fence: Fence::default(),
            records: Records::default(),
            held: BTreeMap::new(),
            hunts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            jobs_at: 0,
            takes: BTreeMap::new(),
            moves: BTreeSet::new(),
            moved: None,
            moves_at: 0,
            home: Home::default(),
            orphans: Orphans::default(),
            claims: Claims::default(),
            replays: Replays::default(),
            sent: BTreeMap::new(),
            dropped: BTreeMap::new(),
            polled: now,
            deadline: now,
        };
        machine.adopt(kernel);
        machine.claims.contact(now);
        machine
    }

    /// Entries of this incarnation are ours; one that we were handing over is ours again.
    fn adopt(&mut self, kernel: &mut dyn Kernel) {
        for (address, entry) in kernel.entries() {
            if entry.inc != self.own.inc {
                kernel.delete_entry(address);
                continue;
            }
            let entry = Entry { station: self.me, ..entry };
            kernel.set_entry(address, entry);
            self.held.insert(address, entry);
            self.records.raise(address, self.record_of(&entry));
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: u64, input: Input, kernel: &mut dyn Kernel, out: &mut Vec<Output>) {
        let mut turn = Turn { now, kernel, out };
        match input {
            Input::Datagram(bytes) => self.datagram(&bytes, &mut turn),
            Input::Yes(wire) => match clarion_fence::open(&wire, &self.keys) {
                Ok(message) => self.voted(&message, &mut turn),
                Err(rejected) => self.drop(Why::Rejected(rejected)),
            },
            Input::Plan(plan) => self.set_plan(plan, &mut turn),
            Input::Answered(address) => self.answered(address, &mut turn),
            Input::Segment => {
                self.fence.segment_at = now;
                self.wake(now);
            }
            Input::Able(ability) => self.set_able(ability, &mut turn),
            Input::Release(addresses, to) => {
                for address in addresses {
                    self.hand_over(address, to, &turn);
                }
            }
            Input::Keys(keys) => self.keys = keys,
        }
    }

    /// Does what is due.
    pub fn poll(&mut self, now: u64, kernel: &mut dyn Kernel, out: &mut Vec<Output>) {
        let mut turn = Turn { now, kernel, out };
        if now.saturating_sub(self.polled) > self.timing.lease {
            // We stood still; others may have decided meanwhile.
            turn.note(Event::Stalled(now - self.polled));
            self.claims.contact(now);
        }
        if now.saturating_sub(self.polled) > 2 * self.timing.probe {
            self.fence.awake();
        }
        if now.saturating_sub(self.polled) > RESOLVE_STALL && !self.takes.is_empty() {
            self.takes.values_mut().for_each(|take| take.restart(now));
        }
        (self.polled, self.deadline) = (now, u64::MAX);
        self.step_fence(&mut turn);
        self.step_hunts(&mut turn);
        self.step_moves(&mut turn);
        self.step_home(&mut turn);
        self.step_orphans(&mut turn);
        self.step_jobs(&mut turn);
        self.step_takes(&mut turn);
        self.step_claims(&mut turn);
    }

    /// When to poll although nothing was handled.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        self.deadline
    }

    /// Who owns an address, as far as is known here.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<Record> {
        self.records.get(address)
    }

    /// The addresses of which [`Self::owner`] may return something else since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<IpAddr> {
        self.records.take_changed()
    }

    /// What this node owns.
    pub fn held(&self) -> impl Iterator<Item = (IpAddr, Entry)> + '_ {
        self.held.iter().map(|(address, entry)| (*address, *entry))
    }

    /// Whether the node holds an address, and how.
    #[must_use]
    pub fn entry(&self, address: IpAddr) -> Option<Entry> {
        self.held.get(&address).copied()
    }

    /// The plan in force; of version 0 if none is known yet.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The peers whose round trips succeed.
    #[must_use]
    pub fn in_contact(&self) -> &BTreeSet<NodeId> {
        self.fence.contacts()
    }

    /// Whether the node serves without a majority, as the last one standing.
    #[must_use]
    pub fn alone(&self) -> bool {
        self.fence.alone
    }

    /// Whether the kernel answers for what this node holds.
    #[must_use]
    pub fn whole(&self, now: u64, kernel: &dyn Kernel) -> bool {
        clarion_fence::ok(&self.own, &kernel.leases(), now)
    }

    /// Whether addresses of ours are on their way to another node.
    #[must_use]
    pub fn handing_over(&self) -> bool {
        self.jobs.keys().any(|address| self.held.contains_key(address))
    }

    /// Datagrams dropped, by reason.
    #[must_use]
    pub fn dropped(&self) -> &BTreeMap<Why, u64> {
        &self.dropped
    }

    /// When a watched peer becomes suspect unless it is granted another lease.
    fn suspect_from(&self, node: NodeId, peer: &Peer, turn: &Turn<'_>) -> u64 {
        clarion_fence::suspect_from(&self.own, peer.granted.max(turn.kernel.granted(node)))
    }

    fn wake(&mut self, at: u64) {
        self.deadline = self.deadline.min(at);
    }

    fn record_of(&self, entry: &Entry) -> Record {
        Record { epoch: entry.epoch, node: self.me, inc: entry.inc }
    }

    fn ok(&self, turn: &Turn<'_>) -> bool {
        clarion_fence::ok(&self.own, &turn.kernel.leases(), turn.now)
    }

    fn fresh(&self, node: NodeId, turn: &Turn<'_>) -> Option<Peer> {
        turn.kernel.peer(node).filter(|peer| clarion_fence::fresh(&self.own, peer, turn.now))
    }

    fn send(&mut self, to: NodeId, body: &Body, turn: &mut Turn<'_>) {
        let last = self.sent.entry(to).or_default();
        *last = turn.now.max(last.saturating_add(1));
        let header = Header { from: self.me, to, inc: self.own.inc, sent: *last };
        turn.out.push(Output::Send(to, encode(&header, body, &self.keys)));
    }

    fn datagram(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        match self.admit(bytes, turn) {
            Ok((from, body)) => match body {
                Body::Seek { items } => self.sought(from, &items, turn),
                Body::Silent { items } => self.silent_too(from, &items, turn),
                Body::Assign { handover, items } => {
                    for item in items {
                        self.assigned(item, handover, from, turn);
                    }
                }
                Body::Claim { node, inc, items } => self.claimed(from, node, inc, &items, turn),
            },
            Err(why) => self.drop(why),
        }
    }

    fn drop(&mut self, why: Why) {
        let count = self.dropped.entry(why).or_default();
        *count = count.saturating_add(1);
    }

    fn admit(&mut self, bytes: &[u8], turn: &Turn<'_>) -> Result<(NodeId, Body), Why> {
        let (header, body) = decode(bytes, &self.keys).map_err(Why::Unreadable)?;
        if header.to != self.me || header.from == self.me {
            return Err(Why::Misdirected);
        }
        let peer = turn.kernel.peer(header.from);
        if peer.is_none() && !self.plan.nodes.contains(&header.from) {
            return Err(Why::Stranger);
        }
        if self.replays.admit(header.from, header.inc, header.sent, peer.as_ref()) {
            Ok((header.from, body))
        } else {
            Err(Why::Replayed)
        }
    }

    fn set_plan(&mut self, plan: Arc<Plan>, turn: &mut Turn<'_>) {
        if plan.version <= self.plan.version {
            return;
        }
        self.plan = plan;
        self.watched = self.plan.watched_by(self.me);
        let voters = self.plan.voters_of(self.me).iter();
        // In a small cluster everybody, even who has no vote since it was dead when the
        // plan was made: whoever returns must be noticed.
        let small = (self.plan.nodes.len() <= VOTERS + 1).then_some(&self.plan.nodes);
        let others = small.into_iter().flatten();
        let all = self.watched.iter().chain(voters).chain(others).copied();
        let pairs = all.filter(|node| *node != self.me).collect();
        for gone in self.pairs.difference(&pairs) {
            turn.kernel.unwatch(*gone);
        }
        for new in &pairs {
            turn.kernel.watch(*new, turn.now);
        }
        self.pairs = pairs;
        self.candidates.clear();
        let (plan, me) = (Arc::clone(&self.plan), self.me);
        self.replays.retain(|node| plan.nodes.contains(&node));
        self.hunts.retain(|node, _| plan.voters_of(*node).contains(&me));
        self.drop_unplanned(turn);
        let places = &self.plan.places;
        self.records.planned(|address| places.contains_key(address), turn.now);
        self.plan_moves(turn);
        self.plan_orphans(turn.now);
        self.wake(turn.now);
    }

    /// Addresses that no plan has any more are nobody's.
    fn drop_unplanned(&mut self, turn: &mut Turn<'_>) {
        let known: Vec<_> = self.records.addresses().chain(self.held.keys().copied()).collect();
        for address in known {
            if !self.plan.places.contains_key(&address) {
                self.give_up(address, turn);
                if let Some(record) = self.records.get(address) {
                    // The next plan may have it again, sooner than its owner hears of this one.
                    self.records.early(address, record, turn.now);
                }
                self.records.forget(address);
                self.jobs.remove(&address);
                self.takes.remove(&address);
            }
        }
    }

    /// Deletes an entry.
    fn give_up(&mut self, address: IpAddr, turn: &mut Turn<'_>) {
        if self.held.remove(&address).is_some() {
            turn.kernel.delete_entry(address);
            turn.note(Event::GaveUp(address));
        }
    }
}
