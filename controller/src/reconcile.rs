//! The loop that owns the [`State`]: changes in, plans out, writes under way, results in.
//!
//! Nothing waits between a change and its write: the loop plans as soon as the change
//! is there and starts the write as a task of its own, so that a slow one blocks nobody.
//! Without the lease there is no planner, hence no plan and no write; with it there is
//! one as soon as the Services have been listed anew, so that nothing is decided by what
//! was before the former leader's last writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_core::ServiceKey;
use clarion_daemon::Refusals;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::Teller;
use crate::fence::Fence;
use crate::http::Unready;
use crate::index::Change;
use crate::lease::Leading;
use crate::metrics::Metrics;
use crate::planner::ServicePlan;
use crate::plans::Feed;
use crate::report::Report;
use crate::rival;
use crate::service::ServiceView;
use crate::state::{State, Written};
use crate::words::Saying;
use crate::writer;

/// Writes under way at once. More would only wait inside the API server.
const WRITES: usize = 32;
/// Changes taken at once, before planning: a burst is indexed first, then planned.
const BURST: usize = 256;
/// Questions under way at once.
const QUESTIONS: usize = 16;
/// How often reports and gauges follow what changed.
const REPORTS: Duration = Duration::from_millis(500);

/// What the loop is connected to.
pub struct Wires {
    /// To the API server.
    pub client: Client,
    /// The class of the Services to serve.
    pub class: Option<String>,
    /// From the watches.
    pub changes: mpsc::Receiver<Change>,
    /// To the planning of layer 2 owners.
    pub plans: Feed,
    /// From the lease.
    pub leading: watch::Receiver<Leading>,
    /// Asked before each write.
    pub fence: Fence,
    /// To the watch of Services: counts up when a term of leadership begins.
    pub terms: watch::Sender<u64>,
    /// To the events.
    pub teller: Teller,
    /// To the publisher; `None` while this process does not lead.
    pub reports: watch::Sender<Option<Report>>,
    /// To /readyz.
    pub unready: watch::Sender<Unready>,
    /// What the API server refuses.
    pub refusals: Refusals,
    /// To /metrics.
    pub metrics: Metrics,
    /// Ends the loop.
    pub stop: CancellationToken,
}

struct Outcome {
    service: Option<Arc<ServiceView>>,
    plan: ServicePlan,
    key: ServiceKey,
    result: Written,
}

/// Runs until stopped. Writes under way are then waited for, since one that arrives after
/// the lease has been given back could meet another leader's plan.
pub async fn run(mut state: State, mut wires: Wires) {
    let mut writes: JoinSet<Outcome> = JoinSet::new();
    // Who it is that takes our writes back.
    let mut asked: JoinSet<(ServiceKey, Option<String>)> = JoinSet::new();
    let mut burst = Vec::with_capacity(BURST);
    let mut next_report = Instant::now();
    // The term of leadership that has begun, be the Services listed or not.
    let mut term = None;
    loop {
        wires.dispatch(&mut state, &mut writes).await;
        wires.ask(&mut state, &mut asked);
        if Instant::now() >= next_report && state.take_changed() {
            wires.report(&state);
            next_report = Instant::now() + REPORTS;
        }
        let report_at = state.has_changed().then_some(next_report);
        let wake = state.deadline().into_iter().chain(report_at).min();
        tokio::select! {
            () = wires.stop.cancelled() => break,
            changed = wires.leading.changed() => {
                if changed.is_err() {
                    break;
                }
                let leads = wires.leading.borrow().is_some();
                match term {
                    None if leads => term = Some(wires.begin_term()),
                    Some(_) if !leads => {
                        term = None;
                        // Dropping it ends them.
                        writes = JoinSet::new();
                        state.lead(false);
                        wires.report(&state);
                    }
                    _ => {}
                }
            }
            taken = wires.changes.recv_many(&mut burst, BURST) => {
                if taken == 0 {
                    break;
                }
                for change in burst.drain(..) {
                    wires.plans.tell(&change).await;
                    let listed = if let Change::Listed(of, _) = &change { Some(*of) } else { None };
                    state.handle(change);
                    if listed.is_some() && listed == term && !state.leads() {
                        state.lead(true);
                    }
                }
                wires.plans.configure(&state);
            }
            Some(done) = writes.join_next() => match done {
                Ok(outcome) => wires.finish(&mut state, &outcome).await,
                Err(error) => tracing::error!(%error, "a write ended by itself"),
            },
            Some(Ok((key, manager))) = asked.join_next() => wires.contested(&mut state, &key, manager),
            () = sleep_until(wake) => {}
        }
    }
    while let Some(done) = writes.join_next().await {
        if let Ok(outcome) = done {
            wires.finish(&mut state, &outcome).await;
        }
    }
}

impl Wires {
    /// Has the Services listed anew; the number of the term.
    fn begin_term(&self) -> u64 {
        let mut term = 0;
        self.terms.send_modify(|last| {
            *last += 1;
            term = *last;
        });
        term
    }

    /// Starts what is to be done, as far as there is room.
    async fn dispatch(&self, state: &mut State, writes: &mut JoinSet<Outcome>) {
        while writes.len() < WRITES && self.fence.holds() {
            let Some(planned) = state.next(Instant::now()) else { return };
            let (key, plan) = planned;
            let service = state.index().services.get(&key).cloned();
            let Some(write) = plan.write.clone() else {
                self.teller.tell_all(service.as_deref(), &plan.sayings, None);
                continue;
            };
            let (client, fence, class) = (self.client.clone(), self.fence.clone(), self.class.clone());
            let refusals = self.refusals.clone();
            self.metrics.client_updates.inc();
            self.teller.urgent();
            if let Some(service) = &service {
                self.plans.foretell(service, &write).await;
            }
            writes.spawn(async move {
                let result = writer::write(&client, &fence, &refusals, class.as_deref(), &write).await;
                Outcome { service, plan, key, result }
            });
        }
    }

    /// Asks who takes our writes back, where that has begun.
    fn ask(&self, state: &mut State, asked: &mut JoinSet<(ServiceKey, Option<String>)>) {
        for key in state.take_contested() {
            // A few are enough to know: it is one and the same.
            if asked.len() < QUESTIONS {
                let client = self.client.clone();
                asked.spawn(async move {
                    let manager = writer::other(&client, &key).await;
                    (key, manager)
                });
            } else {
                self.contested(state, &key, None);
            }
        }
    }

    fn contested(&self, state: &mut State, key: &ServiceKey, manager: Option<String>) {
        let service = state.index().services.get(key).cloned();
        self.teller.tell_all(service.as_deref(), &[Saying::contested(manager.as_deref())], None);
        state.contested_by(key, manager);
    }

    async fn finish(&self, state: &mut State, outcome: &Outcome) {
        match &outcome.result {
            Written::Done(_) => {
                if self.refusals.taken(Instant::now(), writer::WHAT) {
                    state.retry_all();
                }
                self.teller.tell_all(
                    outcome.service.as_deref(),
                    &outcome.plan.sayings,
                    outcome.plan.write.as_ref(),
                );
            }
            Written::Stale | Written::Refused | Written::Failed => {
                let failed = outcome.result != Written::Stale;
                self.metrics.client_update_errors.inc_by(u64::from(failed));
                self.plans.retract(&outcome.key, state.index().services.get(&outcome.key)).await;
            }
        }
        state.written(&outcome.key, outcome.result.clone(), Instant::now());
    }

    /// Shows how things stand.
    fn report(&self, state: &State) {
        let parsed = state.parsed();
        let counters = state.planner().map(crate::planner::Planner::counters).unwrap_or_default();
        self.metrics.show_pools(&counters);
        self.metrics.config_loaded.set(i64::from(state.index().config.synced()));
        self.metrics.config_stale.set(i64::from(!parsed.problems.is_empty()));
        self.metrics.leading.set(i64::from(state.planner().is_some()));
        let pending = state.planner().map_or(0, crate::planner::Planner::pending);
        self.metrics.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        let unsynced = state.index().unsynced();
        let reasons = unsynced.iter().map(|kind| {
            format!(
                "not synced yet: {kind}; is the API server there, are the CRDs and the RBAC rules installed?"
            )
        });
        let unknown = state.unknown().map(ToString::to_string);
        self.unready.send_replace(reasons.chain(unknown).collect());
        // Who leads says why nothing is decided, too.
        let says = state.planner().is_some() || (state.leads() && state.unknown().is_some());
        let report = says.then(|| Report {
            contested: rival::summary(state.contested()),
            ..Report::new(state.index(), parsed, &counters)
        });
        self.reports.send_if_modified(|shown| {
            let differs = *shown != report;
            if differs {
                *shown = report;
            }
            differs
        });
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
