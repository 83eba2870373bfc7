//! Bringing the host in step with what it should hold: the kernel's maps and
//! links, the segment's caches, the multicast groups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clarion_daemon::chain;
use clarion_dataplane::{Action, Plan};
use clarion_netlink::{GroupChange, Groups, SkipReason, Snapshot};

use super::super::changes::changes;
use super::super::ownership::Standing;
use super::super::plan::{Host, Wanted, adopted, stranded, wanted};
use super::{Half, RETRY};
use crate::desired::Desired;

impl Half {
    /// Computes what this host should hold and applies the difference.
    pub(super) async fn reconcile(&mut self, desired: &Desired, now: Duration) {
        let snapshot = self.snapshot.load_full();
        let host = Host {
            snapshot: &snapshot,
            interfaces: &self.interfaces,
            exclusion: &self.exclusion,
            neighbours: &self.ownership.neighbours(),
            addresses: &desired.node_addresses,
            whole: matches!(self.status.standing, Standing::Whole | Standing::Alone),
        };
        let decisions = self.ownership.decisions(desired.l2.keys());
        let mut wanted = wanted(&self.me.node, desired, &decisions, &host);
        let mut failures = Vec::new();
        let resting = resting(&snapshot, &self.skipped);
        if let Err(error) = self.apply(&mut wanted, &resting, &mut failures) {
            failures.push(format!("{error:#}"));
            wanted.announcements.clear();
        }
        self.reschedule(&wanted, now);
        // The first round leaves before groups are joined: being found comes first.
        self.announce(now);
        self.join_groups(&snapshot, &wanted, &mut failures).await;
        if !failures.is_empty() {
            self.retry_at = Some(now + RETRY);
            if failures != self.status.failures {
                tracing::warn!(?failures, "the host is not in step with the desired state, trying again");
            }
        }
        for (address, vip) in &wanted.vips {
            let known = self.status.vips.get(address).and_then(|old| old.held_by.as_ref());
            if let (Some(interface), None) = (&vip.held_by, known) {
                tracing::warn!(
                    %address, interface,
                    "this host holds an announced address itself: remove it from the interface, or take it out of the pool"
                );
            }
        }
        // Last: the segment knows already.
        for change in changes(&self.me.node, &self.status.vips, &wanted.vips, desired) {
            change.log();
        }
        self.ownership.release(stranded(&self.status.vips, &wanted.vips), &mut self.dataplane);
        self.status.failures = failures;
        self.status.applied = true;
        self.judge_ability();
        self.gratuitous.retain(|address, _| wanted.vips.contains_key(address));
        self.status.vips = Arc::new(std::mem::take(&mut wanted.vips));
        self.wanted = wanted;
    }

    /// Brings the kernel's maps and links in step. What failed is not announced.
    fn apply(
        &mut self,
        wanted: &mut Wanted,
        resting: &BTreeSet<u32>,
        failures: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let observed = match self.observed.take() {
            Some(observed) => observed,
            None => self.dataplane.observe().context("cannot read the kernel program's maps")?,
        };
        // An interface without carrier keeps its program: some NICs reset their link
        // when a program comes or goes, and would never come to rest.
        wanted.dataplane.interfaces.extend(observed.interfaces.keys().filter(|i| resting.contains(i)));
        let plan = Plan::new(&observed, &wanted.dataplane);
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
            observed.addresses.retain(|key, _| !plan.remove.contains(key));
            observed.filter_fits = true;
            observed.unpinned.clear();
            self.observed = Some(observed);
        }
        if links_changed {
            self.status.attachments = self.dataplane.attachments().context("cannot read the attachments")?;
        }
        Ok(())
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

    fn reschedule(&mut self, wanted: &Wanted, now: Duration) {
        for key in self.wanted.announcements.keys() {
            if !wanted.announcements.contains_key(key) {
                self.schedule.lose(key);
            }
        }
        for (key, how) in &wanted.announcements {
            if self.wanted.announcements.get(key) != Some(how) {
                self.schedule.gain(*key, now);
            }
        }
        self.wanted.announcements.clone_from(&wanted.announcements);
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
            let Some(how) = self.wanted.announcements.get(&key) else { continue };
            let (ifindex, address) = key;
            match self.sender.round(ifindex, address, *how) {
                Ok(frames) => *self.gratuitous.entry(address).or_default() += frames,
                // The round is repeated; an interface that is gone shows in the next scan.
                Err(error) => tracing::debug!(%address, ifindex, %error, "a gratuitous frame was not sent"),
            }
        }
    }

    async fn join_groups(&mut self, snapshot: &Snapshot, wanted: &Wanted, failures: &mut Vec<String>) {
        let plan = Groups::plan(snapshot, &wanted.groups);
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
