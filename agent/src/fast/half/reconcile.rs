//! Bringing the host in step with what it should hold: the kernel's maps and
//! links, the segment's caches, the multicast groups.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clarion_daemon::chain;
use clarion_dataplane::{Action, Attachment, Plan};
use clarion_l2::frames::solicited_node_group;
use clarion_netlink::{GroupChange, Groups, SkipReason, Snapshot};

use super::super::changes::changes;
use super::super::ownership::Standing;
use super::super::plan::{Announcement, Host, Memberships, Vips, Wanted, adopted, stranded, wanted};
use super::super::scope::Scope;
use super::{Half, RETRY};
use crate::desired::Desired;

/// What this host holds by the last plans, beside the maps and what it publishes.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Interfaces of the last look at all of them; whatever is below is on these.
    interfaces: BTreeSet<u32>,
    announcements: BTreeMap<(u32, IpAddr), Announcement>,
    groups: Memberships,
}

impl Half {
    /// Computes what this host should hold of these addresses, and applies the difference.
    pub(super) async fn reconcile(&mut self, desired: &Desired, scope: Scope, now: Duration) {
        let snapshot = self.snapshot.load_full();
        let host = Host {
            snapshot: &snapshot,
            interfaces: &self.interfaces,
            exclusion: &self.exclusion,
            neighbours: &self.ownership.neighbours(),
            addresses: &desired.node_addresses,
            whole: matches!(self.status.standing, Standing::Whole | Standing::Alone),
        };
        let (all, addresses) = match scope {
            Scope::Of(addresses) if self.observed.is_some() => (false, addresses),
            _ => (true, desired.l2.keys().chain(self.status.vips.keys()).copied().collect()),
        };
        let decisions = self.ownership.decisions(addresses.iter().filter(|a| desired.l2.contains_key(a)));
        let mut wanted = wanted(&self.me.node, desired, &decisions, &host);
        let mut failures = Vec::new();
        let part = (!all).then_some(&addresses);
        if let Err(error) = self.apply(&mut wanted, part, &mut failures) {
            failures.push(format!("{error:#}"));
            wanted.announcements.clear();
        }
        if all {
            self.held.interfaces.append(&mut wanted.dataplane.interfaces);
        }
        self.reschedule(wanted.announcements, &addresses, now);
        // The first round leaves before groups are joined: being found comes first.
        self.announce(now);
        self.join_groups(&snapshot, wanted.groups, part, &mut failures).await;
        self.note_failures(failures, all, now);
        self.note_vips(wanted.vips, &addresses, desired);
        if all {
            self.held.interfaces.retain(|index| snapshot.links.contains_key(index));
        }
        self.status.applied = true;
        self.judge_ability();
    }

    /// What failed is tried again, all of it.
    fn note_failures(&mut self, failures: Vec<String>, all: bool, now: Duration) {
        if !failures.is_empty() {
            self.retry_at = Some(now + RETRY);
            if failures.iter().any(|failure| !self.status.failures.contains(failure)) {
                tracing::warn!(?failures, "the host is not in step with the desired state, trying again");
            }
        }
        if all || !failures.is_empty() {
            self.status.failures = failures;
        }
    }

    /// Publishes what becomes of these addresses, and says what is new about them.
    fn note_vips(&mut self, new: Vips, addresses: &BTreeSet<IpAddr>, desired: &Desired) {
        let before = |address: &IpAddr| Some((*address, Arc::clone(self.status.vips.get(address)?)));
        let old: Vips = addresses.iter().filter_map(before).collect();
        for (address, vip) in &new {
            let known = old.get(address).and_then(|old| old.held_by.as_ref());
            if let (Some(interface), None) = (&vip.held_by, known) {
                tracing::warn!(
                    %address, interface,
                    "this host holds an announced address itself: remove it from the interface, or take it out of the pool"
                );
            }
        }
        // Last: the segment knows already.
        for change in changes(&self.me.node, &old, &new, desired) {
            change.log();
        }
        self.ownership.release(stranded(&old, &new), &mut self.dataplane);
        if new == old {
            return;
        }
        let vips = Arc::make_mut(&mut self.status.vips);
        for address in old.keys().filter(|address| !new.contains_key(address)) {
            vips.remove(address);
            self.gratuitous.remove(address);
        }
        vips.extend(new);
    }

    /// Brings the kernel's maps and links in step, or the maps with a part of the addresses. What
    /// failed is not announced.
    fn apply(
        &mut self,
        wanted: &mut Wanted,
        part: Option<&BTreeSet<IpAddr>>,
        failures: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let observed = match self.observed.take() {
            Some(observed) => observed,
            None => {
                let observed = self.dataplane.observe().context("cannot read the kernel program's maps")?;
                self.set_attachments(observed.interfaces.clone());
                observed
            }
        };
        let plan = if let Some(addresses) = part {
            Plan::of(&observed, addresses, &wanted.dataplane.addresses)
        } else {
            // An interface without carrier keeps its program: some NICs reset their link
            // when a program comes or goes, and would never come to rest.
            let resting = resting(&self.snapshot.load(), &self.skipped);
            let kept = observed.interfaces.keys().filter(|index| resting.contains(index));
            wanted.dataplane.interfaces.extend(kept);
            Plan::new(&observed, &wanted.dataplane)
        };
        if plan.is_empty() {
            self.observed = Some(observed);
            return Ok(());
        }
        let report = self.dataplane.apply(&plan);
        for (action, error) in report.failures() {
            failures.push(format!("{action}: {}", chain(error)));
            wanted.announcements.retain(|(ifindex, address), _| match action {
                Action::Set(key, _) => (key.ifindex, key.address) != (*ifindex, *address),
                Action::Attach(failed, _) => failed != ifindex,
                _ => true,
            });
        }
        let links_changed = !(plan.attach.is_empty() && plan.detach.is_empty() && plan.forget.is_empty());
        if report.is_ok() && !links_changed {
            let mut observed = observed;
            observed.addresses.extend(plan.set);
            for key in &plan.remove {
                observed.addresses.remove(key);
            }
            observed.filter_fits = true;
            observed.unpinned.clear();
            self.observed = Some(observed);
        }
        if links_changed {
            let attachments = self.dataplane.attachments().context("cannot read the attachments")?;
            self.set_attachments(attachments);
        }
        Ok(())
    }

    /// Takes in where the program runs, and says what is new about it.
    pub(super) fn set_attachments(&mut self, attachments: BTreeMap<u32, Attachment>) {
        let snapshot = self.snapshot.load();
        for (ifindex, Attachment { mode, reason, .. }) in &attachments {
            let known = self.status.attachments.get(ifindex);
            if known.is_none_or(|known| (known.mode, known.reason) != (*mode, *reason)) {
                let interface = snapshot.links.get(ifindex).map_or("?", |link| link.name.as_str());
                tracing::info!(interface, %mode, %reason, "the kernel program runs on an interface");
            }
        }
        self.status.attachments = attachments;
    }

    /// Brings the maps in step with what this node owns while nothing is known of Services: an
    /// agent that restarted without an API server must give up what others claim.
    pub(super) fn settle_adopted(&mut self, now: Duration) {
        let result = self.dataplane.observe().map(|observed| {
            let book = &self.ownership.book;
            let held = |address| book.get(address).map(|entry| (entry.epoch, entry.inc));
            let desired = adopted(&observed, held);
            self.dataplane.apply(&Plan::new(&observed, &desired)).is_ok()
        });
        if !result.is_ok_and(|applied| applied) {
            tracing::warn!(
                "the kernel program's maps are not in step with what this node owns, trying again"
            );
            self.retry_at = Some(now + RETRY);
        }
    }

    fn reschedule(
        &mut self,
        wanted: BTreeMap<(u32, IpAddr), Announcement>,
        addresses: &BTreeSet<IpAddr>,
        now: Duration,
    ) {
        let Held { interfaces, announcements, .. } = &mut self.held;
        for key in interfaces.iter().flat_map(|index| addresses.iter().map(|address| (*index, *address))) {
            if !wanted.contains_key(&key) && announcements.remove(&key).is_some() {
                self.schedule.lose(&key);
            }
        }
        for (key, how) in wanted {
            if announcements.insert(key, how) != Some(how) {
                self.schedule.gain(key, now);
            }
        }
    }

    /// Sends the rounds that are due.
    pub(super) fn announce(&mut self, now: Duration) {
        if self.schedule.next_deadline(now).is_none_or(|at| at > now) {
            return;
        }
        // An owner that is fenced does not say that it has anything.
        self.follow_standing();
        if !matches!(self.status.standing, Standing::Whole | Standing::Alone) {
            return;
        }
        while let Some(key) = self.schedule.poll(now) {
            let Some(how) = self.held.announcements.get(&key) else { continue };
            let (ifindex, address) = key;
            match self.sender.round(ifindex, address, *how) {
                Ok(frames) => *self.gratuitous.entry(address).or_default() += frames,
                // The round is repeated; an interface that is gone shows in the next scan.
                Err(error) => tracing::debug!(%address, ifindex, %error, "a gratuitous frame was not sent"),
            }
        }
    }

    /// The memberships that change, of all or of those that these addresses need.
    fn plan_groups(
        &mut self,
        snapshot: &Snapshot,
        wanted: Memberships,
        part: Option<&BTreeSet<IpAddr>>,
    ) -> Vec<GroupChange> {
        let Held { interfaces, groups: held, .. } = &mut self.held;
        let Some(addresses) = part else {
            *held = wanted;
            return Groups::plan(snapshot, &held.iter().map(|(index, group, _)| (*index, *group)).collect());
        };
        let mut touched: BTreeSet<_> = wanted.iter().map(|(index, group, _)| (*index, *group)).collect();
        for address in addresses {
            let IpAddr::V6(address) = *address else { continue };
            let group = solicited_node_group(address);
            for index in interfaces.iter() {
                if held.remove(&(*index, group, address)) {
                    touched.insert((*index, group));
                }
            }
        }
        held.extend(wanted);
        let needed = |(index, group): &(u32, Ipv6Addr)| {
            let first = (*index, *group, Ipv6Addr::UNSPECIFIED);
            held.range(first..).next().is_some_and(|(i, g, _)| (i, g) == (index, group))
        };
        Groups::plan_of(snapshot, touched.iter().map(|key| (*key, needed(key))))
    }

    async fn join_groups(
        &mut self,
        snapshot: &Snapshot,
        wanted: Memberships,
        part: Option<&BTreeSet<IpAddr>>,
        failures: &mut Vec<String>,
    ) {
        let plan = self.plan_groups(snapshot, wanted, part);
        if plan.is_empty() {
            return;
        }
        let mut after = snapshot.clone();
        for change in plan {
            match (self.groups.apply(change).await, change) {
                (Ok(()), GroupChange::Join(index, group)) => {
                    if let Some(link) = after.links.get_mut(&index) {
                        link.groups.insert(group);
                    }
                }
                (Ok(()), GroupChange::Leave(index, group)) => {
                    if let Some(link) = after.links.get_mut(&index) {
                        link.groups.remove(&group);
                    }
                }
                (Err(error), _) => failures.push(chain(&error)),
            }
        }
        self.snapshot.store(Arc::new(after));
    }
}

/// Interfaces that would be used but for their state.
fn resting(snapshot: &Snapshot, skipped: &[(String, SkipReason)]) -> BTreeSet<u32> {
    let down = skipped.iter().filter(|(_, why)| matches!(why, SkipReason::Down | SkipReason::NoCarrier));
    down.filter_map(|(name, _)| snapshot.by_name(name)).map(|link| link.index).collect()
}
