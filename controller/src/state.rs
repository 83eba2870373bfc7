//! The controller's state machine, without IO: changes and results of writes go in,
//! plans come out. `now` is an argument, so tests need neither clock nor API server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use clarion_config::{Outcome, Problem};
use clarion_core::ServiceKey;

use crate::contest::Contests;
use crate::handover::Handover;
use crate::index::{Change, Index};
use crate::planner::{Planner, ServicePlan, StatusWrite};
use crate::retries::Retries;
use crate::service::ServiceView;
use crate::words::Saying;

/// How a write went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The API server has it; the Service as it is now, if it still concerns us.
    Done(Option<Arc<ServiceView>>),
    /// Somebody else changed the Service meanwhile, or it is gone: plan anew from what the watch tells.
    Stale,
    /// The API server will not have it: try again later, ever more rarely.
    Refused,
    /// Anything else: try again later.
    Failed,
}

/// The controller between its events.
#[derive(Debug, Default)]
pub struct State {
    namespace: String,
    index: Index,
    parsed: Outcome,
    /// Why the configuration is not known, although all kinds have been seen.
    unknown: Option<Problem>,
    /// Whether all kinds have been seen in full; once so, always so.
    synced: bool,
    leading: bool,
    /// There while we lead and all watches are synced.
    planner: Option<Planner>,
    /// Services to plan for, in the order in which they changed.
    queue: VecDeque<ServiceKey>,
    queued: BTreeSet<ServiceKey>,
    /// Writes under way.
    busy: BTreeMap<ServiceKey, Busy>,
    retries: Retries,
    handover: Handover,
    contests: Contests,
    changed: bool,
}

#[derive(Debug)]
struct Busy {
    /// Whether the Service has to be planned for again afterwards.
    again: bool,
    /// The write, and what is told once it is done.
    plan: (StatusWrite, Vec<Saying>),
}

impl State {
    /// Knows nothing yet. `namespace` is the one of the configuration.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// What the watches have told.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The configuration in force and its problems.
    #[must_use]
    pub fn parsed(&self) -> &Outcome {
        &self.parsed
    }

    /// Why the configuration is not known ([`Index::unknown`]). Until it is, nothing is
    /// decided anew.
    #[must_use]
    pub fn unknown(&self) -> Option<&Problem> {
        self.unknown.as_ref()
    }

    /// The planner, while there is one.
    #[must_use]
    pub fn planner(&self) -> Option<&Planner> {
        self.planner.as_ref()
    }

    /// Whether this process leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leading
    }

    /// Whether [`Self::take_changed`] would be true.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether anything that the reports show may have changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Takes a change that a watch saw.
    pub fn handle(&mut self, change: Change) {
        let touched = self.index.apply(change);
        let syncing = !self.synced;
        if touched.config {
            self.unknown = self.index.config.unknown();
        }
        self.synced = self.synced || (self.unknown.is_none() && self.index.unsynced().is_empty());
        // What is gone leaves counters of pools behind.
        self.changed |= touched.config || touched.nodes || syncing || !touched.gone.is_empty();
        if touched.config && self.index.config.synced() {
            self.reparse();
        }
        if touched.namespaces
            && let Some(planner) = &mut self.planner
        {
            planner.namespaces_changed();
            if crate::pools::need_namespaces(&self.parsed.config) {
                self.enqueue_all();
            }
        }
        for key in touched.gone {
            self.retries.remove(&key);
            self.contests.forget(&key);
            if let Some(planner) = &mut self.planner {
                planner.forget(&key);
            }
            self.moved(&key);
        }
        for key in touched.services {
            self.retries.release(&key);
            self.moved(&key);
            self.enqueue(key);
        }
        self.begin();
        self.enqueue_freed();
    }

    /// We lead from now on, or do not any longer. Whoever ends leading ends the
    /// writes under way too: their results must not be handed in any more.
    pub fn lead(&mut self, leading: bool) {
        self.leading = leading;
        self.planner = None;
        self.queue.clear();
        self.queued.clear();
        self.busy.clear();
        self.retries.clear();
        self.handover = Handover::default();
        self.contests = Contests::default();
        self.begin();
    }

    /// The next thing to do. A plan with a write is under way until [`Self::written`].
    pub fn next(&mut self, now: Instant) -> Option<(ServiceKey, ServicePlan)> {
        while let Some(key) = self.retries.take_due(now) {
            self.enqueue(key);
        }
        self.changed |= self.contests.expire(now);
        while let (Some(planner), Some(key)) = (&mut self.planner, self.queue.pop_front()) {
            self.queued.remove(&key);
            if self.retries.waits(&key) {
                continue;
            }
            let Some(service) = self.index.services.get(&key) else { continue };
            let mut plan = planner.plan(service, &self.index.namespace_labels(key.namespace()));
            self.changed = true;
            if let Some(write) = &mut plan.write {
                self.handover.leaves(service, write);
                let services = &self.index.services;
                let shows = |former: &ServiceKey, address| {
                    let shown = services.get(former).and_then(|former| former.shown.addresses);
                    shown.is_some_and(|shown| shown.contains(address))
                };
                if self.handover.hold_back(write, shows) {
                    // Told with the write that has all of it.
                    planner.unsaid(&key, std::mem::take(&mut plan.sayings));
                    if write.addresses == service.shown.addresses.unwrap_or_default() {
                        plan.write = None;
                    }
                }
            }
            if let Some(until) = plan.write.as_ref().and_then(|write| self.contests.hold(write, now)) {
                planner.unsaid(&key, std::mem::take(&mut plan.sayings));
                self.retries.hold(&key, until);
                plan.write = None;
            }
            if let Some(write) = &plan.write {
                let plan = (write.clone(), plan.sayings.clone());
                self.busy.insert(key.clone(), Busy { again: false, plan });
            }
            // After it: who loses an address waits for one too, and a second write of the
            // Service beside this one would win half of the time, with nothing to tell.
            self.enqueue_freed();
            if plan != ServicePlan::default() {
                return Some((key, plan));
            }
        }
        None
    }

    /// A write has ended.
    pub fn written(&mut self, key: &ServiceKey, result: Written, now: Instant) {
        let Some(Busy { mut again, plan: (write, sayings) }) = self.busy.remove(key) else { return };
        let version = &write.resource_version;
        if let (Some(planner), Written::Stale | Written::Refused | Written::Failed) =
            (&mut self.planner, &result)
        {
            planner.unsaid(key, sayings);
        }
        let seen = self.index.services.get(key).map(|service| service.resource_version.as_str());
        match result {
            Written::Done(service) => {
                self.retries.remove(key);
                self.contests.wrote(&write, now);
                // The watch will tell the same. Until then nothing is planned from
                // what we know to be old; unless the watch has told of something newer.
                if let (Some(service), true) = (service, seen == Some(version.as_str())) {
                    self.index.services.insert(key.clone(), service);
                }
                self.moved(key);
            }
            Written::Stale if seen != Some(version.as_str()) => again = true,
            Written::Stale | Written::Failed => {
                self.retries.failed(key, now);
                again = false;
            }
            Written::Refused => {
                self.retries.refused(key, now);
                again = false;
            }
        }
        if again {
            self.enqueue(key.clone());
        }
    }

    /// The API server takes writes again: nothing that it refused need wait any longer.
    pub fn retry_all(&mut self) {
        self.retries.release_all().into_iter().for_each(|key| self.enqueue(key));
    }

    /// A Service may show other addresses now: whoever waits for one of them is looked at again.
    fn moved(&mut self, key: &ServiceKey) {
        let shown = self.index.services.get(key).and_then(|service| service.shown.addresses);
        for next in self.handover.moved(key, shown) {
            self.enqueue(next);
        }
    }

    /// When to call [`Self::next`] again even if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.retries.deadline().into_iter().chain(self.contests.deadline()).min()
    }

    /// Services of which somebody else has begun to take back each write, since the last call.
    pub fn take_contested(&mut self) -> Vec<ServiceKey> {
        self.contests.take_begun()
    }

    /// Who that is.
    pub fn contested_by(&mut self, key: &ServiceKey, manager: Option<String>) {
        self.contests.name(key, manager);
        self.changed = true;
    }

    /// All Services of which that is so, with the other one's name where it is known.
    pub fn contested(&self) -> impl Iterator<Item = (&ServiceKey, Option<&str>)> {
        self.contests.standing()
    }

    fn reparse(&mut self) {
        if let Some(problem) = &self.unknown {
            self.parsed.problems = vec![problem.clone()];
            return;
        }
        // Who does not lead must not know better than the leader, also once it leads.
        let parse = if self.leading { clarion_config::parse } else { clarion_config::follow };
        let parsed = parse(&self.index.config.objects(&self.namespace), &self.parsed.config);
        let before = std::mem::replace(&mut self.parsed, parsed).config;
        let now = &self.parsed.config;
        let same =
            (&before.pools, &before.set_aside, &before.unread) == (&now.pools, &now.set_aside, &now.unread);
        if let Some(planner) = &mut self.planner
            && !same
        {
            planner.configure(&self.parsed);
            self.enqueue_all();
        }
    }

    /// Starts planning as soon as we lead and know everything.
    fn begin(&mut self) {
        if self.planner.is_some() || !self.leading || !self.synced {
            return;
        }
        self.planner = Some(Planner::start(&self.parsed, self.index.services.values().map(AsRef::as_ref)));
        self.changed = true;
        self.enqueue_all();
    }

    fn enqueue(&mut self, key: ServiceKey) {
        if let Some(busy) = self.busy.get_mut(&key) {
            busy.again = true;
        } else if self.planner.is_some() && self.queued.insert(key.clone()) {
            self.queue.push_back(key);
        }
    }

    fn enqueue_all(&mut self) {
        for key in self.index.services.keys().cloned().collect::<Vec<_>>() {
            self.enqueue(key);
        }
    }

    fn enqueue_freed(&mut self) {
        for key in self.planner.as_mut().map(Planner::take_freed).unwrap_or_default() {
            self.enqueue(key);
        }
    }
}
