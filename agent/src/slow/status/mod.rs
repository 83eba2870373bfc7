//! The paperwork: ServiceL2Status, ServiceBGPStatus, ConfigurationState and
//! events (contract §1.7 to §1.9, §3.1). Written one after the other and paced, so
//! that a node that gains thousands of addresses does not burden the API server,
//! and never in the way of the fast half.
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
use std::time::Duration;

use clarion_core::ServiceKey;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::plan::{Kind, Objects, Unsaid, Wanted, assignment, due, wanted, writes};
use self::write::Writer;
use super::SlowStatus;
use crate::args::Args;
use crate::desired::Desired;
use crate::fast::{FastStatus, VipState};

/// Pause between two writes: at most fifty a second.
const PACE: Duration = Duration::from_millis(20);
/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Writes between two looks at what is wanted.
const BATCH: usize = 32;

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
    objects::follow(&inputs.client, &inputs.args, &objects_tx, &mut tasks);
    let mut writer = Writer::new(inputs.client.clone(), Arc::clone(&inputs.args), Arc::clone(&inputs.counts));
    let mut state = State::default();
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
    /// Services whose address has no interface here, as told by an event.
    failed: BTreeSet<(ServiceKey, IpAddr)>,
    /// The ConfigurationState that was written last.
    problems: Option<Vec<String>>,
}

impl State {
    fn synced(&self) -> bool {
        self.listed.len() == 2
    }

    fn take_in(&mut self, change: objects::Seen) {
        match change {
            objects::Seen::All(kind, objects) => {
                self.objects.retain(|(k, _), _| *k != kind);
                self.objects.extend(objects.into_iter().map(|(name, object)| ((kind, name), object)));
                self.listed.insert(kind);
            }
            objects::Seen::Is(kind, name, object) => drop(self.objects.insert((kind, name), object)),
            objects::Seen::Gone(kind, name) => drop(self.objects.remove(&(kind, name))),
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
        let wanted = wanted(desired, &fast.vips);
        let todo = writes(&self.objects, &wanted);
        if todo.len() > BATCH {
            wait = Duration::ZERO;
        }
        for write in todo.into_iter().take(BATCH) {
            // Kept over a failure: the watch may show the object complete before the
            // write is tried again.
            self.unsaid.extend(assignment(&write, &self.objects));
            match writer.apply(&write, &mut self.objects).await {
                Ok(()) => {
                    self.tell(writer, desired, &wanted).await;
                    tokio::time::sleep(PACE).await;
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        ?write,
                        "a status object was not written, trying again"
                    );
                    return RETRY;
                }
            }
        }
        if !self.tell(writer, desired, &wanted).await {
            wait = wait.min(RETRY);
        }
        self.report_failures(writer, desired, fast).await;
        let mut problems: Vec<_> = slow.problems.iter().map(ToString::to_string).collect();
        problems.extend(desired.peer_problems.values().cloned());
        if self.problems.as_ref() != Some(&problems) {
            match writer.configuration_state(&problems).await {
                Ok(()) => self.problems = Some(problems),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "ConfigurationState was not written, trying again"
                    );
                    wait = wait.min(RETRY);
                }
            }
        }
        wait
    }

    /// Tells of the assignments whose objects are complete; whether nothing failed.
    async fn tell(&mut self, writer: &Writer, desired: &Desired, wanted: &Wanted) -> bool {
        let mut good = true;
        for (kind, service) in due(&mut self.unsaid, &self.objects, wanted) {
            let uid = desired.services.get(&service).map(|v| v.uid.clone()).unwrap_or_default();
            match writer.assigned(kind, &service, &uid).await {
                Ok(()) => {
                    self.unsaid.remove(&(kind, service));
                }
                Err(error) => {
                    good = false;
                    tracing::warn!(
                        error = format!("{error:#}"), %service, protocol = kind.protocol(),
                        "what the former node said of it was not removed, trying again"
                    );
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
