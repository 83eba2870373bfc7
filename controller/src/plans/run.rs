//! The loop: news in, plans out, writes under way, results in.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clarion_api::{LABEL_PLAN, OwnerPlan};
use clarion_config::Config;
use clarion_daemon::Refusals;
use clarion_daemon::watch::Watches;
use clarion_placement::{Now, Settings};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::pace::Pace;
use super::shards::Wrote;
use super::state::{Part, Planning};
use super::writer;
use crate::fence::{Fence, TIMEOUT};
use crate::lease::Leading;
use crate::metrics::Metrics;
use crate::placement::{News, World, watches};

/// Writes under way at once.
const WRITES: usize = 4;
/// News taken at once, before planning.
const BURST: usize = 256;
/// Pause after stored plans could not be read.
const RETRY: Duration = Duration::from_secs(5);
/// The log's words for a read that must come before any write.
const READ: &str =
    "OwnerPlans, since those that there are cannot be read (are the CRD and the RBAC rules installed?)";

/// What the loop is connected to.
pub struct Wires {
    /// To the API server.
    pub client: Client,
    /// Where OwnerPlans are.
    pub namespace: String,
    /// How to plan.
    pub settings: Settings,
    /// What all watches of the process share.
    pub watches: Watches,
    /// `--ignore-exclude-lb`.
    pub ignore_exclude_label: bool,
    /// From the watches.
    pub news: mpsc::Receiver<News>,
    /// For watches that are started when they are needed.
    pub news_tx: mpsc::Sender<News>,
    /// The configuration in force; `None` until it is known.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// From the lease.
    pub leading: watch::Receiver<Leading>,
    /// Asked before each write.
    pub fence: Fence,
    /// What the API server refuses.
    pub refusals: Refusals,
    /// To /metrics.
    pub metrics: Metrics,
}

/// Something that was under way has ended.
enum Done {
    Loaded(Option<Vec<OwnerPlan>>),
    Wrote(Part, u32, Wrote),
}

struct Desk {
    wires: Wires,
    api: Api<OwnerPlan>,
    world: World,
    /// There while we lead and have read what is stored.
    planning: Option<Planning>,
    under_way: JoinSet<Done>,
    loading: bool,
    /// Ends with the loop.
    watching: JoinSet<()>,
    slices: bool,
    plans: Option<AbortHandle>,
    /// Not before.
    next_load: Instant,
    pace: Pace,
    /// What the monotonic clock of plans counts from.
    begin: Instant,
}

/// Runs until nobody leads any more or it is cancelled.
pub async fn run(wires: Wires) {
    let now = Instant::now();
    let mut desk = Desk {
        api: Api::namespaced(wires.client.clone(), &wires.namespace),
        world: World::new(wires.ignore_exclude_label),
        wires,
        planning: None,
        under_way: JoinSet::new(),
        loading: false,
        watching: JoinSet::new(),
        slices: false,
        plans: None,
        next_load: now,
        pace: Pace::new(now),
        begin: now,
    };
    let mut burst = Vec::with_capacity(BURST);
    loop {
        let wake = desk.turn();
        tokio::select! {
            changed = desk.wires.leading.changed() => {
                if changed.is_err() {
                    return;
                }
                if desk.wires.leading.borrow_and_update().is_none() {
                    desk.stop();
                }
            }
            changed = desk.wires.config.changed() => {
                if changed.is_err() {
                    return;
                }
                let config = desk.wires.config.borrow_and_update().clone();
                config.into_iter().for_each(|config| desk.world.configure(config));
            }
            taken = desk.wires.news.recv_many(&mut burst, BURST) => {
                if taken == 0 {
                    return;
                }
                burst.drain(..).for_each(|news| desk.hear(news));
            }
            Some(done) = desk.under_way.join_next() => match done {
                Ok(done) => desk.done(done),
                Err(error) => tracing::error!(%error, "a write of plans ended by itself"),
            },
            Some(ended) = desk.watching.join_next() => {
                // Aborted with our leadership, or with the process.
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a watch of plans ended by itself");
                }
            }
            () = sleep_until(wake) => {}
        }
    }
}

impl Desk {
    fn hear(&mut self, news: News) {
        match news {
            News::Service(edit) => self.world.services(edit),
            News::Node(edit) => self.world.nodes(edit),
            News::Agent(edit) => self.world.agents(edit),
            News::Slice(edit) => self.world.slices(edit),
            News::Plan(edit) => {
                if let Some(planning) = &mut self.planning {
                    planning.observe(edit);
                }
            }
        }
    }

    /// We do not lead any longer: what is under way is given up.
    fn stop(&mut self) {
        self.under_way.abort_all();
        self.under_way = JoinSet::new();
        (self.planning, self.loading) = (None, false);
        if let Some(watch) = self.plans.take() {
            watch.abort();
        }
    }

    /// Does what is to be done now, and says when to look again though nothing happens.
    fn turn(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.world.needs_slices() && !self.slices {
            // For as long as the process lives: who needed them once will again.
            self.slices = true;
            let wires = &self.wires;
            self.watching.spawn(watches::slices(&wires.client, &wires.watches, wires.news_tx.clone()));
        }
        if !self.wires.fence.holds() {
            return None;
        }
        let Some(planning) = &mut self.planning else { return self.load(now) };
        let begin = self.begin;
        let due = planning.deadline().map(|at| begin + at);
        let is_due = due.is_some_and(|at| at <= now);
        if (self.world.has_changed() || is_due) && self.pace.next(self.world.is_urgent()) <= now {
            self.pace.spend(now);
            self.plan(now);
        }
        let planning = self.planning.as_mut()?;
        let spared = self.wires.refusals.until(now, writer::WHAT);
        while self.under_way.len() < WRITES && spared.is_none() {
            let Some(write) = planning.next(now) else { break };
            let (api, fence, refusals) =
                (self.api.clone(), self.wires.fence.clone(), self.wires.refusals.clone());
            self.wires.metrics.client_updates.inc();
            self.wires.metrics.plan_writes.inc();
            self.under_way.spawn(async move {
                let wrote = writer::write(&api, &fence, &refusals, &write).await;
                Done::Wrote(write.part, write.number, wrote)
            });
        }
        let next = self.pace.next(self.world.is_urgent());
        let due = planning.deadline().map(|at| (begin + at).max(next));
        let changed = self.world.has_changed().then_some(next);
        // Without it a write that is due would be looked for again and again meanwhile.
        let retry = spared.or(planning.retry());
        due.into_iter().chain(changed).chain(retry).min()
    }

    /// Reads what is stored, before the first plan.
    fn load(&mut self, now: Instant) -> Option<Instant> {
        if self.loading || !self.world.synced() {
            return None;
        }
        if now < self.next_load {
            return Some(self.next_load);
        }
        self.loading = true;
        let (api, refusals) = (self.api.clone(), self.wires.refusals.clone());
        self.under_way.spawn(async move {
            let all = ListParams::default().labels(LABEL_PLAN);
            match tokio::time::timeout(TIMEOUT, api.list(&all)).await {
                Ok(Ok(list)) => {
                    refusals.taken(Instant::now(), READ);
                    Done::Loaded(Some(list.items))
                }
                Ok(Err(error)) => {
                    refusals.refused(Instant::now(), READ, &"the list of all", &error);
                    Done::Loaded(None)
                }
                Err(elapsed) => {
                    refusals.refused(Instant::now(), READ, &"the list of all", &elapsed);
                    Done::Loaded(None)
                }
            }
        });
        None
    }

    fn plan(&mut self, now: Instant) {
        let Some(planning) = &mut self.planning else { return };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = Now {
            monotonic: now.saturating_duration_since(self.begin),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        };
        let planned = planning.plan(&mut self.world, clock);
        let (addresses, unowned) = planning.counts();
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.wires.metrics.planned_addresses.set(shown(addresses));
        self.wires.metrics.unowned_addresses.set(shown(unowned));
        if planned.displaced + planned.rebalanced > 0 {
            tracing::info!(
                displaced = planned.displaced,
                rebalanced = planned.rebalanced,
                addresses,
                "layer 2 addresses have other owners by plan"
            );
        }
        tracing::debug!(changed = planned.changed.len(), addresses, took = ?now.elapsed(), "planned");
    }

    fn done(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Loaded(Some(stored)) => {
                self.loading = false;
                self.planning = Some(Planning::start(self.wires.settings, &mut self.world, &stored));
                let wires = &self.wires;
                let news = wires.news_tx.clone();
                let watch = watches::plans(&wires.client, &wires.namespace, &wires.watches, news);
                self.plans = Some(self.watching.spawn(watch));
            }
            Done::Loaded(None) => {
                self.loading = false;
                self.next_load = self.wires.refusals.until(now, READ).unwrap_or(now).max(now + RETRY);
            }
            Done::Wrote(part, number, wrote) => {
                if wrote == Wrote::Failed {
                    self.wires.metrics.client_update_errors.inc();
                }
                if let Some(planning) = &mut self.planning {
                    planning.wrote(part, number, wrote, now);
                }
            }
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
