//! The lists as they stand, and how they follow what changes.
//!
//! Told of a few groups, it looks at those; told of other nodes, at all. What must move moves
//! in [`Placement::plan`] at once; what only should waits for its turn
//! ([`Placement::deadline`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clarion_core::{NodeName, OwnerList};

use crate::class::{Class, Nodes};
use crate::spread::Spread;
use crate::{Candidates, Group, NodeFacts, Now, Rebalance, Settings, fnv, mix};

/// What [`Placement::plan`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    /// Addresses whose list is another now. Those that are gone are the caller's to know.
    pub changed: BTreeSet<IpAddr>,
    /// Of those, how many have another owner, because theirs may not own any longer.
    pub displaced: usize,
    /// How many have another owner so that it is even.
    pub rebalanced: usize,
}

/// The machine.
#[derive(Debug)]
pub struct Placement {
    settings: Settings,
    nodes: Nodes,
    /// By the address of the allocation, which the class itself keeps alive.
    classes: HashMap<usize, Arc<Class>>,
    /// By lowest address.
    slots: BTreeMap<IpAddr, Slot>,
    slot_of: BTreeMap<IpAddr, IpAddr>,
    /// Lists of addresses that are in no group (yet).
    loose: BTreeMap<IpAddr, Loose>,
    spread: Spread,
    dirty: BTreeSet<IpAddr>,
    /// Whether a group is gone: what is left may be uneven, though none of it is dirty.
    thinner: bool,
    /// Whether it has changed who may own, so that successors are to be made even everywhere.
    all: bool,
    facts: BTreeMap<NodeName, NodeFacts>,
    next_move: Option<Duration>,
}

#[derive(Debug)]
struct Slot {
    members: Vec<Member>,
    class: Arc<Class>,
    list: Vec<usize>,
    seed: u64,
}

/// What is remembered of an address that is in no group.
#[derive(Debug)]
struct Loose {
    member: Member,
    list: Vec<usize>,
    /// Who might own it before; unknown right after the start.
    class: Option<Arc<Class>>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    address: IpAddr,
    epoch: u64,
    /// Who owned it last, be it that nobody may now.
    owner: Option<usize>,
    /// Whether the caller has its list.
    told: bool,
}

impl Placement {
    /// Begins with the lists that were planned before, which stay as they are wherever
    /// they may. Names that are no nodes any more are left out.
    #[must_use]
    pub fn new(
        settings: Settings,
        facts: &BTreeMap<NodeName, NodeFacts>,
        former: impl IntoIterator<Item = (IpAddr, OwnerList)>,
    ) -> Self {
        let nodes = Nodes::new(facts);
        let loose = former.into_iter().map(|(address, list)| {
            let owner = list.owner().and_then(|name| nodes.number(name));
            let known: Vec<_> = list.owners.iter().filter_map(|name| nodes.number(name)).collect();
            let told = known.len() == list.owners.len();
            let member = Member { address, epoch: list.epoch, owner, told };
            (address, Loose { member, list: known, class: None })
        });
        Self {
            settings,
            loose: loose.collect(),
            spread: Spread::new(nodes.len(), settings.longest),
            nodes,
            classes: HashMap::new(),
            slots: BTreeMap::new(),
            slot_of: BTreeMap::new(),
            dirty: BTreeSet::new(),
            thinner: false,
            all: false,
            facts: facts.clone(),
            next_move: None,
        }
    }

    /// Takes another set of nodes, or other facts about them.
    pub fn set_nodes(&mut self, facts: &BTreeMap<NodeName, NodeFacts>) {
        if *facts == self.facts {
            return;
        }
        self.facts.clone_from(facts);
        let nodes = Nodes::new(facts);
        let translate = |node: &usize| nodes.number(&self.nodes.names[*node]);
        for slot in self.slots.values_mut() {
            let list: Vec<usize> = slot.list.iter().filter_map(translate).collect();
            let whole = list.len() == slot.list.len();
            slot.list = list;
            for member in &mut slot.members {
                member.told &= whole;
                member.owner = member.owner.as_ref().and_then(translate);
            }
        }
        self.loose.clear();
        self.nodes = nodes;
        self.spread = Spread::new(self.nodes.len(), self.settings.longest);
        self.slots.values().for_each(|slot| self.spread.add(&slot.list));
        // The classes know nodes by their former numbers.
        let classes = std::mem::take(&mut self.classes);
        for (key, class) in classes {
            self.classes.insert(key, Arc::new(Class::new(&class.candidates, &self.nodes)));
        }
        for slot in self.slots.values_mut() {
            if let Some(class) = self.classes.get(&key(&slot.class.candidates)) {
                slot.class = Arc::clone(class);
            }
        }
        self.dirty.extend(self.slots.keys().copied());
        self.all = true;
    }

    /// Replaces groups. `gone` are addresses that are in none any more; every address of
    /// a group of which any address is named here must be named again, or it is gone too.
    pub fn replace(&mut self, gone: impl IntoIterator<Item = IpAddr>, groups: Vec<Group>) {
        for address in gone {
            self.dissolve(address);
            self.loose.remove(&address);
        }
        for group in &groups {
            group.addresses.iter().for_each(|address| self.dissolve(*address));
        }
        let mut same = None;
        for group in groups {
            self.form(group, &mut same);
        }
        if self.classes.len() > 2 * self.slots.len() + 64 {
            self.classes.retain(|_, class| Arc::strong_count(class) > 1);
        }
    }

    fn dissolve(&mut self, address: IpAddr) {
        let Some(slot) = self.slot_of.get(&address).and_then(|first| self.slots.remove(first)) else {
            return;
        };
        self.spread.remove(&slot.list);
        self.thinner = true;
        if let Some(first) = slot.members.first() {
            self.dirty.remove(&first.address);
        }
        for member in slot.members {
            self.slot_of.remove(&member.address);
            let loose = Loose { member, list: slot.list.clone(), class: Some(Arc::clone(&slot.class)) };
            self.loose.insert(member.address, loose);
        }
    }

    /// `same` remembers the last two candidates that turned out to be equal: often all
    /// groups come anew with the same ones.
    fn form(&mut self, group: Group, same: &mut Option<(usize, usize)>) {
        let addresses: BTreeSet<IpAddr> = group.addresses.into_iter().collect();
        let Some(first) = addresses.first().copied() else { return };
        let mut list = Vec::new();
        let mut members = Vec::with_capacity(addresses.len());
        for address in addresses {
            let fresh = Member { address, epoch: 0, owner: None, told: false };
            let fresh = Loose { member: fresh, list: Vec::new(), class: None };
            let Loose { member, list: owners, class } = self.loose.remove(&address).unwrap_or(fresh);
            if list.is_empty() {
                list = owners;
            }
            if let Some(class) = class {
                let pair = (key(&class.candidates), key(&group.candidates));
                let known = pair.0 == pair.1 || *same == Some(pair);
                if !self.all && !known {
                    self.all = class.candidates.scores != group.candidates.scores;
                    *same = (!self.all).then_some(pair);
                }
            }
            members.push(member);
            self.slot_of.insert(address, first);
        }
        let class = self
            .classes
            .entry(key(&group.candidates))
            .or_insert_with(|| Arc::new(Class::new(&group.candidates, &self.nodes)));
        self.spread.add(&list);
        let slot = Slot { members, class: Arc::clone(class), list, seed: seed(first) };
        self.slots.insert(first, slot);
        self.dirty.insert(first);
    }

    /// Plans for everything that was told since the last call, and rebalances if it is time.
    /// Planning again at the same time changes nothing.
    pub fn plan(&mut self, now: Now) -> Planned {
        let mut planned = Planned::default();
        // Whoever was not named since the start is not announced any more.
        self.loose.clear();
        let dirty = std::mem::take(&mut self.dirty);
        let news = std::mem::take(&mut self.thinner) || !dirty.is_empty();
        let mut fresh = Vec::new();
        for first in dirty {
            match self.slots.get(&first) {
                Some(slot) if slot.list.is_empty() => fresh.push((slot.class.best().len(), first)),
                _ => self.settle(first, now, &mut planned),
            }
        }
        // Who has the least choice chooses first, or finds its few nodes full.
        fresh.sort_unstable();
        for (_, first) in fresh {
            self.settle(first, now, &mut planned);
        }
        if std::mem::take(&mut self.all) {
            self.even_successors(now, &mut planned);
        }
        self.rebalance(news, now, &mut planned);
        planned
    }

    /// When to call [`Self::plan`] again though nothing happens, on the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.next_move
    }

    /// The list of an address as planned last; `None` if it is in no group.
    #[must_use]
    pub fn list(&self, address: IpAddr) -> Option<OwnerList> {
        let slot = self.slots.get(self.slot_of.get(&address)?)?;
        let member = slot.members.iter().find(|member| member.address == address)?;
        let owners = slot.list.iter().map(|node| self.nodes.names[*node].clone()).collect();
        Some(OwnerList { epoch: member.epoch, owners })
    }

    /// Who may own an address, and how many may not and why.
    #[must_use]
    pub fn candidates(&self, address: IpAddr) -> Option<&Candidates> {
        Some(&self.slots.get(self.slot_of.get(&address)?)?.class.candidates)
    }

    /// All addresses that are in a group, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.slot_of.keys().copied()
    }

    /// How many addresses nobody may own.
    #[must_use]
    pub fn unowned(&self) -> usize {
        self.slots.values().filter(|slot| slot.list.is_empty()).map(|slot| slot.members.len()).sum()
    }

    fn settle(&mut self, first: IpAddr, now: Now, planned: &mut Planned) {
        let Some(slot) = self.slots.get_mut(&first) else { return };
        self.spread.remove(&slot.list);
        let owner = self.spread.owner(&slot.class, &slot.list, slot.seed, &self.nodes);
        let list = owner.map_or_else(Vec::new, |owner| {
            self.spread.list(&slot.class, owner, &slot.list, slot.seed, &self.nodes)
        });
        self.spread.add(&list);
        planned.displaced += slot.take(list, now, &mut planned.changed);
    }

    fn even_successors(&mut self, now: Now, planned: &mut Planned) {
        for slot in self.slots.values_mut() {
            if let Some(list) = self.spread.evener(&slot.class, &slot.list, slot.seed, &self.nodes) {
                self.spread.remove(&slot.list);
                self.spread.add(&list);
                slot.take(list, now, &mut planned.changed);
            }
        }
    }

    fn rebalance(&mut self, news: bool, now: Now, planned: &mut Planned) {
        let Rebalance::Gradual { moves, every } = self.settings.rebalance else { return };
        let due = self.next_move.is_some_and(|at| at <= now.monotonic);
        let before = planned.rebalanced;
        if due {
            for _ in 0..moves.max(1) {
                let Some((first, to)) = self.best_move() else { break };
                self.relocate(first, to, now, planned);
            }
            self.next_move = None;
        }
        if self.next_move.is_none() && (news || planned.rebalanced > before) {
            self.next_move = Some(now.monotonic + every);
        }
    }

    /// The one move that helps most: to a preferred node, else from the node that owns
    /// most to one that owns at least two less. Among many to one node alike the fewest
    /// moves follow from always taking the largest difference.
    fn best_move(&self) -> Option<(IpAddr, usize)> {
        let mut least: HashMap<usize, usize> = HashMap::new();
        let mut best: Option<(usize, std::cmp::Reverse<u64>, IpAddr, usize)> = None;
        for (first, slot) in &self.slots {
            let Some(owner) = slot.list.first().copied() else { continue };
            let of_class = || self.spread.least(&slot.class, 0, &self.nodes).unwrap_or(owner);
            let to = *least.entry(Arc::as_ptr(&slot.class).addr()).or_insert_with(of_class);
            let merit = match slot.class.rank(owner) {
                Some(0) => self.spread.owned(owner).saturating_sub(self.spread.owned(to)),
                _ => usize::MAX,
            };
            let tie = std::cmp::Reverse(mix(slot.seed, self.nodes.seeds[to]));
            if merit >= 2 && best.is_none_or(|(m, t, ..)| (m, t) < (merit, tie)) {
                best = Some((merit, tie, *first, to));
            }
        }
        best.map(|(_, _, first, to)| (first, to))
    }

    fn relocate(&mut self, first: IpAddr, to: usize, now: Now, planned: &mut Planned) {
        let Some(slot) = self.slots.get_mut(&first) else { return };
        self.spread.remove(&slot.list);
        let mut list = self.spread.list(&slot.class, to, &slot.list, slot.seed, &self.nodes);
        self.spread.add(&list);
        if let Some(evener) = self.spread.evener(&slot.class, &list, slot.seed, &self.nodes) {
            self.spread.remove(&list);
            self.spread.add(&evener);
            list = evener;
        }
        planned.rebalanced += slot.take(list, now, &mut planned.changed);
    }
}

impl Slot {
    /// Takes a list and says which addresses that changes, and how many have moved from
    /// one node to another.
    fn take(&mut self, list: Vec<usize>, now: Now, changed: &mut BTreeSet<IpAddr>) -> usize {
        let other = list != self.list;
        let owner = list.first().copied();
        let mut moved = 0;
        for member in &mut self.members {
            let anew = owner.is_some() && owner != member.owner;
            if anew {
                moved += usize::from(member.epoch > 0);
                member.epoch = now.unix_ms.max(member.epoch.saturating_add(1));
            }
            if owner.is_some() {
                member.owner = owner;
            }
            if anew || other || !member.told {
                changed.insert(member.address);
            }
            member.told = true;
        }
        self.list = list;
        moved
    }
}

fn key(candidates: &Arc<Candidates>) -> usize {
    Arc::as_ptr(candidates).addr()
}

fn seed(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => fnv(&v4.octets()),
        IpAddr::V6(v6) => fnv(&v6.octets()),
    }
}
