//! The paperwork: ServiceL2Status, ServiceBGPStatus, ConfigurationState and
//! events (contract §1.7 to §1.9, §3.1). Written only where something differs, a few
//! at once, so that a node that gains thousands of addresses keeps the API server busy
//! and no more, and never in the way of the fast half.
//!
//! `nodeAssigned` is tied to the creation of the status object: once per change and
//! protocol, and not again when an agent restarts.

mod objects;
mod plan;
mod write;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clarion_core::ServiceKey;
use clarion_daemon::watch::{Edit, Watches};
use clarion_daemon::{Patience, Refusals};
use futures::{StreamExt as _, stream};
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::plan::{Elsewhere, Kind, Objects, Unsaid, Wanted, assignment, due, wanted, writes};
use self::write::{Made, Writer};
use super::SlowStatus;
use super::rest::Cost;
use crate::args::Args;
use crate::desired::Desired;
use crate::fast::{FastStatus, VipState};

/// Requests of a node under way at once. Every node writes at the same time, so few
/// keep an API server busy; it shares itself out among them.
const AT_ONCE: usize = 4;
/// Pause before what follows an assignment is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// The words of the log for the removal of what a former owner said.
const FORMER: &str = "the end of a former owner's ServiceL2Status";
/// The words of the log for what a node says of itself.
const STATE: &str = "ConfigurationState";
/// Writes between two looks at what is wanted.
const BATCH: usize = 64;

/// Writes to the API server: `k8s_client_updates_total` and `…_update_errors_total`.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) updates: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Counts {
    fn count<T, E>(&self, result: &Result<T, E>) {
        let counter = if result.is_ok() { &self.updates } else { &self.errors };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the writer works from.
pub(super) struct Inputs {
    pub(super) client: Client,
    pub(super) watches: Watches,
    pub(super) args: Arc<Args>,
    pub(super) desired: watch::Receiver<Option<Arc<Desired>>>,
    pub(super) fast: watch::Receiver<Arc<FastStatus>>,
    pub(super) slow: watch::Receiver<Arc<SlowStatus>>,
    pub(super) counts: Arc<Counts>,
}

/// Writes for ever; a task of it that ends is a fault.
pub(super) async fn run(mut inputs: Inputs) -> anyhow::Error {
    let (objects_tx, mut incoming) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    objects::follow(&inputs.client, &inputs.watches, &inputs.args, &objects_tx, &mut tasks);
    let mut state = State::default();
    let mut writer = Writer::new(
        inputs.client.clone(),
        Arc::clone(&inputs.args),
        Arc::clone(&inputs.counts),
        state.refusals.clone(),
    );
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            changed = inputs.desired.changed() => if changed.is_err() { break },
            changed = inputs.fast.changed() => if changed.is_err() { break },
            changed = inputs.slow.changed() => if changed.is_err() { break },
            Some(change) = incoming.recv() => state.take_in(change),
            ended = tasks.join_next() => return anyhow::anyhow!("a watch of status objects ended: {ended:?}"),
            () = tokio::time::sleep(wait) => {}
        }
        while let Ok(change) = incoming.try_recv() {
            state.take_in(change);
        }
        let desired = inputs.desired.borrow_and_update().clone();
        state.note_urgency(desired.as_ref());
        wait = state.rested.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if !wait.is_zero() {
            continue;
        }
        let fast = Arc::clone(&inputs.fast.borrow_and_update());
        let slow = Arc::clone(&inputs.slow.borrow_and_update());
        wait = match desired {
            // Before the first reconciliation nothing is owned and everything would be deleted.
            Some(desired) if fast.applied && state.synced() => {
                state.write(&mut writer, &desired, &fast, &slow).await
            }
            _ => Duration::MAX,
        };
    }
    anyhow::anyhow!("nobody tells the status writer anything any more")
}

#[derive(Default)]
struct State {
    objects: Objects,
    listed: BTreeSet<Kind>,
    /// Assignments that no event has told of yet.
    unsaid: Unsaid,
    /// Services of which other nodes may have spoken.
    elsewhere: Elsewhere,
    /// Services whose address has no interface here, as told by an event.
    failed: BTreeSet<(ServiceKey, IpAddr)>,
    /// The ConfigurationState that was written last.
    problems: Option<Vec<String>>,
    /// While addresses keep coming, the API server is left to those who hand them out.
    patience: Patience,
    /// What `patience` was told of.
    noted: Option<Arc<Desired>>,
    /// When the next look at everything may be.
    rested: Option<Instant>,
    /// What the API server refuses, and until when it is spared.
    refusals: Refusals,
}

impl State {
    fn synced(&self) -> bool {
        self.listed.len() == 2
    }

    /// Another desired state is, but for rare changes of the configuration, another address.
    fn note_urgency(&mut self, desired: Option<&Arc<Desired>>) {
        if let Some(desired) = desired
            && !self.noted.as_ref().is_some_and(|noted| Arc::ptr_eq(noted, desired))
        {
            self.noted = Some(Arc::clone(desired));
            self.patience.urgent(Instant::now());
        }
    }

    fn take_in(&mut self, (kind, edit): objects::Seen) {
        match edit {
            Edit::Reset(objects) => {
                self.objects.retain(|(k, _), _| *k != kind);
                self.objects.extend(objects.into_iter().map(|(name, object)| ((kind, name), object)));
                self.listed.insert(kind);
            }
            Edit::Apply(name, object) => {
                let known = self.objects.get(&(kind, name.clone()));
                // The making of an object that we have filled meanwhile, told late: filling
                // it again would be a write for nothing.
                let late = object.names.is_none() && known.is_some_and(|known| known.names.is_some());
                if !late {
                    self.objects.insert((kind, name), object);
                }
            }
            Edit::Delete(name) => drop(self.objects.remove(&(kind, name))),
        }
    }

    /// Writes what is due; how long to wait if nothing changes.
    async fn write(
        &mut self,
        writer: &mut Writer,
        desired: &Desired,
        fast: &FastStatus,
        slow: &SlowStatus,
    ) -> Duration {
        let mut wait = Duration::MAX;
        let now = Instant::now();
        let cost = Cost::begin();
        self.elsewhere.note(desired, &fast.vips);
        let (allowance, later) = (self.patience.allowance(now), self.patience.next(now));
        if let (0, Some(later)) = (allowance, later) {
            self.rested = Some(cost.rest(Instant::now()));
            return later - now;
        }
        let wanted = wanted(desired, &fast.vips);
        let mut todo = writes(&self.objects, &wanted);
        self.rested = Some(cost.rest(Instant::now()));
        todo.retain(|write| match self.refusals.until(now, write.kind().plural()) {
            Some(until) => {
                wait = wait.min(until - now);
                false
            }
            None => true,
        });
        if todo.len() > allowance.min(BATCH) {
            todo.truncate(allowance.min(BATCH));
            wait = wait.min(later.map_or(Duration::ZERO, |later| later - now));
        }
        self.patience.spend(now, todo.len());
        // Kept over a failure: the watch may show the object complete before the
        // write is tried again.
        self.unsaid.extend(todo.iter().filter_map(|write| assignment(write, &self.objects)));
        if !todo.is_empty() {
            writer.find_owner().await;
        }
        let shared: &Writer = writer;
        let results = stream::iter(todo).map(|write| async move {
            let result = shared.apply(&write).await;
            (write, result)
        });
        let results: Vec<_> = results.buffer_unordered(AT_ONCE).collect().await;
        for (write, (made, result)) in results {
            self.made(made);
            wait = wait.min(self.outcome(write.kind().plural(), &write.about(), result));
        }
        if !self.tell(writer, desired, &wanted).await {
            wait = wait.min(RETRY);
        }
        self.report_failures(writer, desired, fast).await;
        wait.min(self.write_state(writer, desired, slow).await)
    }

    /// Takes note of how a write went; after how long it is to be tried again.
    fn outcome(
        &self,
        what: &'static str,
        object: &dyn std::fmt::Display,
        result: anyhow::Result<()>,
    ) -> Duration {
        let now = Instant::now();
        match result {
            Ok(()) => {
                if self.refusals.taken(now, what) {
                    Duration::ZERO
                } else {
                    Duration::MAX
                }
            }
            Err(error) => {
                self.refusals.refused(now, what, object, error.as_ref());
                self.refusals.until(now, what).map_or(RETRY, |until| until - now)
            }
        }
    }

    /// Says how this node sees the configuration, if that is another than it was. When to try again.
    async fn write_state(&mut self, writer: &mut Writer, desired: &Desired, slow: &SlowStatus) -> Duration {
        let mut problems: Vec<_> = slow.problems.iter().map(ToString::to_string).collect();
        problems.extend(desired.peer_problems.values().cloned());
        if self.problems.as_ref() == Some(&problems) {
            return Duration::MAX;
        }
        let now = Instant::now();
        if let Some(until) = self.refusals.until(now, STATE) {
            return until - now;
        }
        let result = writer.configuration_state(&problems).await;
        if result.is_ok() {
            self.problems = Some(problems);
        }
        self.outcome(STATE, &writer.node(), result)
    }

    fn made(&mut self, made: Option<Made>) {
        match made {
            Some((id, Some(object))) => drop(self.objects.insert(id, object)),
            Some((id, None)) => drop(self.objects.remove(&id)),
            None => {}
        }
    }

    /// Tells of the assignments whose objects are complete; whether nothing failed.
    async fn tell(&mut self, writer: &Writer, desired: &Desired, wanted: &Wanted) -> bool {
        let mut due = due(&mut self.unsaid, &self.objects, wanted);
        let mut good = true;
        if self.refusals.until(Instant::now(), FORMER).is_some() {
            let before = due.len();
            due.retain(|(kind, service)| *kind != Kind::L2 || !self.elsewhere.may_have(service));
            good = due.len() == before;
        }
        let elsewhere = &self.elsewhere;
        let told = stream::iter(due).map(|(kind, service)| async move {
            let uid = desired.services.get(&service).map(|v| v.uid.clone()).unwrap_or_default();
            let result = writer.assigned(kind, &service, &uid, elsewhere.may_have(&service)).await;
            (kind, service, result)
        });
        let told: Vec<_> = told.buffer_unordered(AT_ONCE).collect().await;
        for (kind, service, result) in told {
            match result {
                Ok(()) => {
                    if kind == Kind::L2 && self.elsewhere.may_have(&service) {
                        self.refusals.taken(Instant::now(), FORMER);
                        self.elsewhere.cleared(&service);
                    }
                    self.unsaid.remove(&(kind, service));
                }
                Err(error) => {
                    good = false;
                    self.refusals.refused(Instant::now(), FORMER, &service, error.as_ref());
                }
            }
        }
        good
    }

    /// Says once that an address is dark for want of an interface.
    async fn report_failures(&mut self, writer: &Writer, desired: &Desired, fast: &FastStatus) {
        let dark = fast.vips.iter().filter(|(_, vip)| vip.state == VipState::NoInterface);
        let now: BTreeSet<(ServiceKey, IpAddr)> = dark
            .filter_map(|(address, _)| desired.l2.get(address).map(|vip| (address, vip)))
            .flat_map(|(address, vip)| vip.services.iter().map(|s| (s.clone(), *address)))
            .collect();
        for (service, address) in now.difference(&self.failed) {
            if let Some(verdict) = desired.services.get(service) {
                writer.announce_failed(service, &verdict.uid, *address).await;
            }
        }
        self.failed = now;
    }
}
