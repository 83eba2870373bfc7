//! Planning without IO: the world in, objects to write out. It lives for as long as this
//! process leads, and begins with the plans that are stored.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use clarion_api::{
    LABEL_PLAN, OwnerPlan, OwnerPlanSpec, PLAN_ADDRESSES, PLAN_MEMBERS, PlannedAddress, PlannedMember,
};
use clarion_config::{Plans, planned_address};
use clarion_core::NodeName;
use clarion_placement::{Now, Placement, Planned, Rebalance, Settings, voters};
use kube::ResourceExt;

use super::Stored;
use super::shards::{Action, Shards, Wrote};
use crate::placement::World;
use clarion_daemon::watch::Edit;

/// The objects of one kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Lists of owners.
    Addresses,
    /// Voters.
    Members,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Addresses => PLAN_ADDRESSES,
            Self::Members => PLAN_MEMBERS,
        }
    }

    /// What an object of this name is.
    fn read(name: &str) -> Option<(Self, u32)> {
        let (word, number) = name.rsplit_once('-')?;
        let part = [Self::Addresses, Self::Members].into_iter().find(|part| part.word() == word)?;
        Some((part, number.parse().ok()?))
    }
}

/// A write to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which object.
    pub part: Part,
    /// Its number.
    pub number: u32,
    /// What is to be done.
    pub action: Action,
    /// What it shall be; for a deletion only its name counts.
    pub object: OwnerPlan,
}

/// What is planned and where it is stored.
#[derive(Debug)]
pub struct Planning {
    placement: Placement,
    voters: BTreeMap<NodeName, Vec<NodeName>>,
    addresses: Shards<IpAddr>,
    members: Shards<NodeName>,
    /// Whether owners stay wherever they are (`--l2-rebalance never`).
    stay: bool,
    /// Until the first plan: stored addresses that may not be in layer 2 any more.
    unconfirmed: Vec<IpAddr>,
}

impl Planning {
    /// Begins with what is stored.
    #[must_use]
    pub fn start(settings: Settings, world: &mut World, stored: &[OwnerPlan]) -> Self {
        world.begin();
        let mut plans = Plans::default();
        stored.iter().for_each(|object| plans.add(object));
        let mut planning = Self {
            unconfirmed: plans.addresses.keys().copied().collect(),
            placement: Placement::new(settings, &world.members(), plans.addresses.clone()),
            voters: plans.members,
            addresses: Shards::default(),
            members: Shards::default(),
            stay: settings.rebalance == Rebalance::Never,
        };
        for object in stored {
            let version = Stored::of(&object.metadata);
            match Part::read(&object.name_any()) {
                Some((Part::Addresses, number)) => {
                    let entries = object.spec.addresses.iter().filter_map(planned_address);
                    // Of an address in two objects the higher epoch counts; the other's goes.
                    let entries = entries.filter(|(a, list)| plans.addresses.get(a) == Some(list));
                    planning.addresses.restore(number, version, entries.map(|(address, _)| address));
                    if object.spec.addresses.len() != planning.addresses.keys(number).count() {
                        planning.addresses.rewrite(number);
                    }
                }
                Some((Part::Members, number)) => {
                    let nodes = object.spec.members.iter().map(|member| NodeName::new(member.node.as_str()));
                    planning.members.restore(number, version, nodes);
                    if object.spec.stay != planning.stay {
                        planning.members.rewrite(number);
                    }
                }
                None => tracing::warn!(
                    name = object.name_any(),
                    "an OwnerPlan that is not ours: delete it, or take its label {LABEL_PLAN} away"
                ),
            }
        }
        planning
    }

    /// Plans for what has changed.
    pub fn plan(&mut self, world: &mut World, now: Now) -> Planned {
        let work = world.take();
        let members = work.nodes.is_some() || !self.unconfirmed.is_empty();
        if let Some(nodes) = &work.nodes {
            self.placement.set_nodes(nodes);
        }
        self.placement.replace(work.gone.iter().copied(), work.groups);
        let planned = self.placement.plan(now);
        planned.changed.iter().for_each(|address| self.addresses.put(address));
        for address in work.gone.iter().chain(&std::mem::take(&mut self.unconfirmed)) {
            if self.placement.candidates(*address).is_none() {
                self.addresses.remove(address);
            }
        }
        // Before the first address comes: its owner answers nothing without leases.
        let any = world.has_layer2() || self.placement.addresses().next().is_some();
        if members || any == self.voters.is_empty() {
            self.plan_members(world, any);
        }
        planned
    }

    /// Voters matter to owners: where layer 2 announces nothing there are none.
    fn plan_members(&mut self, world: &World, any: bool) {
        let members = if any { world.members() } else { BTreeMap::new() };
        let voters = voters::plan(&members, &self.voters);
        for (node, set) in &voters {
            if self.voters.get(node) != Some(set) || !self.members.holds(node) {
                self.members.put(node);
            }
        }
        for node in self.voters.keys().filter(|node| !voters.contains_key(*node)) {
            self.members.remove(node);
        }
        self.voters = voters;
    }

    /// When to plan again though nothing happens, on the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Option<std::time::Duration> {
        self.placement.deadline()
    }

    /// When to ask for [`Self::next`] again though nothing happens.
    #[must_use]
    pub fn retry(&self) -> Option<Instant> {
        self.addresses.deadline().into_iter().chain(self.members.deadline()).min()
    }

    /// The next write. It is under way until [`Self::wrote`].
    pub fn next(&mut self, now: Instant) -> Option<Write> {
        // Who is to own comes before who watches over it.
        if let Some((number, action)) = self.addresses.next(now) {
            let addresses = self.addresses.keys(number).map(|address| self.entry(*address)).collect();
            let spec = OwnerPlanSpec { addresses, ..OwnerPlanSpec::default() };
            return Some(write(Part::Addresses, number, action, spec));
        }
        let (number, action) = self.members.next(now)?;
        let member = |node: &NodeName| PlannedMember {
            node: node.to_string(),
            voters: self.voters.get(node).into_iter().flatten().map(ToString::to_string).collect(),
        };
        let members = self.members.keys(number).map(member).collect();
        let spec = OwnerPlanSpec { addresses: Vec::new(), members, stay: self.stay };
        Some(write(Part::Members, number, action, spec))
    }

    /// A write has ended.
    pub fn wrote(&mut self, part: Part, number: u32, result: Wrote, now: Instant) {
        match part {
            Part::Addresses => self.addresses.wrote(number, result, now),
            Part::Members => self.members.wrote(number, result, now),
        }
    }

    /// The watch has told what is stored.
    pub fn observe(&mut self, edit: Edit<String, Stored>) {
        let (name, stored) = match edit {
            Edit::Apply(name, stored) => (name, Some(stored)),
            Edit::Delete(name) => (name, None),
            Edit::Reset(all) => {
                let of = |wanted: Part| -> BTreeMap<u32, Stored> {
                    let mine = all.iter().filter_map(|(name, stored)| Some((Part::read(name)?, stored)));
                    mine.filter(|((part, _), _)| *part == wanted).map(|((_, n), s)| (n, s.clone())).collect()
                };
                self.addresses.observe_all(&of(Part::Addresses));
                self.members.observe_all(&of(Part::Members));
                return;
            }
        };
        match Part::read(&name) {
            Some((Part::Addresses, number)) => self.addresses.observe(number, stored),
            Some((Part::Members, number)) => self.members.observe(number, stored),
            None => {}
        }
    }

    /// How many addresses are planned, and how many of them nobody may own.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.placement.addresses().count(), self.placement.unowned())
    }

    fn entry(&self, address: IpAddr) -> PlannedAddress {
        let list = self.placement.list(address).unwrap_or_default();
        let reason = list.owners.is_empty().then(|| self.reason(address));
        PlannedAddress {
            address: address.to_string(),
            epoch: i64::try_from(list.epoch).unwrap_or(i64::MAX),
            owners: list.owners.iter().map(ToString::to_string).collect(),
            reason,
        }
    }

    /// Why nobody may own it, in the words of the agents' logs.
    fn reason(&self, address: IpAddr) -> String {
        let refused = self.placement.candidates(address).map(|candidates| &candidates.refused);
        let each = refused.into_iter().flatten().map(|(reason, count)| match count {
            1 => format!("{reason}: 1 node"),
            count => format!("{reason}: {count} nodes"),
        });
        let reasons: Vec<_> = each.collect();
        if reasons.is_empty() { "there is no node".to_owned() } else { reasons.join(", ") }
    }
}

fn write(part: Part, number: u32, action: Action, spec: OwnerPlanSpec) -> Write {
    let mut object = OwnerPlan::new(&format!("{}-{number}", part.word()), spec);
    object.metadata.labels = Some([(LABEL_PLAN.to_owned(), part.word().to_owned())].into());
    if let Action::Replace(stored) = &action {
        object.metadata.resource_version = Some(stored.version.clone());
    }
    Write { part, number, action, object }
}
