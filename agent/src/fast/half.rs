//! The loop of the fast half.

mod reconcile;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use clarion_bgp::session::LocalAddresses;
use clarion_dataplane::{Dataplane, Observed};
use clarion_l2::liveness::Timing;
use clarion_l2::ownership::{Input, Ownership};
use clarion_l2::schedule::{Pace, Schedule};
use clarion_netlink::{Exclusion, Groups, Interface, SkipReason, Snapshot, Watch, select};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::gratuitous::Sender;
use super::plan::Wanted;
use super::{Counted, FastStatus, Inputs};
use crate::desired::{Desired, Me};

/// The heartbeat: peers will pass over a node whose beat is older than 300 ms.
const BEAT: Duration = Duration::from_millis(100);
/// Interfaces and maps are read back this often, whatever netlink said or did not.
const RESCAN: Duration = Duration::from_secs(10);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Inputs taken in together.
const BATCH: usize = 256;

/// Runs until told to stop.
pub(super) async fn run(mut inputs: Inputs) -> anyhow::Result<()> {
    let mut links = Watch::open().context("the fast half cannot watch the host's interfaces")?;
    let snapshot = links.snapshot().await.context("the fast half cannot read the host's interfaces")?;
    let shared = Arc::new(ArcSwap::from_pointee(snapshot));
    let lookup = Arc::clone(&shared);
    let (mut sessions, mut driver) = crate::bgp::start(
        inputs.peers.clone(),
        Arc::new(move |address| local_addresses(&lookup.load(), address)),
    );
    let mut half = Half::new(&inputs.me, inputs.dataplane, &links, shared, inputs.status)?;
    half.rescan(&links, &inputs.exclusion_file).await;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut rescan = tokio::time::interval(RESCAN);
    rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        half.step().await;
        let pause = half.pause();
        tokio::select! {
            _ = inputs.stop.changed() => break,
            _ = beat.tick() => {
                half.beat();
                inputs.pulse.beat();
            }
            changed = inputs.desired.changed() => {
                changed.context("the slow half is gone")?;
                half.set_desired(inputs.desired.borrow_and_update().clone());
            }
            Some(input) = inputs.liveness.recv() => {
                half.heard(input);
                let more = std::iter::from_fn(|| inputs.liveness.try_recv().ok());
                more.take(BATCH).for_each(|input| half.heard(input));
            }
            changed = links.changed() => {
                changed.context("the host's interfaces are no longer watched")?;
                half.rescan(&links, &inputs.exclusion_file).await;
            }
            _ = rescan.tick() => {
                half.observed = None;
                half.dirty = true;
                half.rescan(&links, &inputs.exclusion_file).await;
            }
            Some(request) = inputs.counters.recv() => half.answer(request),
            changed = sessions.changed() => {
                if changed.is_ok() {
                    inputs.sessions.send_replace(Arc::clone(&sessions.borrow_and_update()));
                }
            }
            ended = &mut driver => {
                return Err(anyhow::anyhow!("the BGP driver ended: {ended:?}"));
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
    // Pins stay: the kernel goes on answering. BGP says goodbye, or not, as agreed.
    drop(inputs.peers);
    driver.await.context("the BGP driver failed while it ended")
}

/// The addresses of the interface that holds a session's local address.
fn local_addresses(snapshot: &Snapshot, address: IpAddr) -> LocalAddresses {
    let holder = snapshot.holders(address).next();
    let usable = || holder.into_iter().flat_map(|l| &l.addresses).filter(|a| !a.tentative);
    let mut local = LocalAddresses::of_session(address);
    for held in usable() {
        match held.address {
            IpAddr::V4(v4) if local.v4.is_none() => local.v4 = Some(v4),
            // Left out: whether the peer shares the link is not known here.
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {}
            IpAddr::V6(v6) if local.v6.is_none() => local.v6 = Some(v6),
            _ => {}
        }
    }
    local
}

struct Half {
    me: Me,
    origin: Instant,
    dataplane: Dataplane,
    sender: Sender,
    groups: Groups,
    machine: Ownership,
    schedule: Schedule<(u32, IpAddr)>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    exclusion: Exclusion,
    exclusion_text: Option<String>,
    interfaces: Vec<Interface>,
    skipped: Vec<(String, SkipReason)>,
    desired: Option<Arc<Desired>>,
    /// Our own Lease came back through the watch: others know that we live.
    joined: bool,
    dirty: bool,
    /// Something is answered only until its owner is heard.
    undecided: bool,
    retry_at: Option<Duration>,
    /// What the kernel holds, as far as is known without asking it again.
    observed: Option<Observed>,
    wanted: Wanted,
    beat_failed: bool,
    /// Gratuitous frames sent, by address.
    gratuitous: BTreeMap<IpAddr, u64>,
    status: FastStatus,
    published: watch::Sender<Arc<FastStatus>>,
}

impl Half {
    fn new(
        me: &Me,
        dataplane: Dataplane,
        links: &Watch,
        snapshot: Arc<ArcSwap<Snapshot>>,
        published: watch::Sender<Arc<FastStatus>>,
    ) -> anyhow::Result<Self> {
        let sender = Sender::open()
            .context("cannot open a packet socket for gratuitous frames: the agent needs CAP_NET_RAW")?;
        Ok(Self {
            me: me.clone(),
            origin: Instant::now(),
            dataplane,
            sender,
            groups: Groups::new(links),
            machine: Ownership::new(Timing::default()),
            schedule: Schedule::new(Pace::default()),
            snapshot,
            exclusion: Exclusion::default(),
            exclusion_text: None,
            interfaces: Vec::new(),
            skipped: Vec::new(),
            desired: None,
            joined: false,
            dirty: true,
            undecided: false,
            retry_at: None,
            observed: None,
            wanted: Wanted::default(),
            beat_failed: false,
            gratuitous: BTreeMap::new(),
            status: FastStatus::default(),
            published,
        })
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn set_desired(&mut self, desired: Option<Arc<Desired>>) {
        if let Some(desired) = &desired {
            let plan = desired.l2.iter().map(|(address, vip)| (*address, vip.order.clone())).collect();
            self.machine.handle(Input::Plan(plan), self.now());
        }
        self.desired = desired;
        self.dirty = true;
    }

    fn heard(&mut self, input: Input) {
        self.machine.handle(input, self.now());
        // It may be the owner that something is kept from.
        self.dirty |= self.undecided;
    }

    fn beat(&mut self) {
        match self.dataplane.beat() {
            Ok(()) => self.beat_failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.beat_failed, true) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot write the heartbeat: the kernel will stop answering when the restart grace is over"
                    );
                }
            }
        }
    }

    fn answer(&self, request: super::CountersRequest) {
        match self.dataplane.counters() {
            // Who asked may have gone: the scrape timed out.
            Ok(kernel) => drop(request.send(Counted { kernel, gratuitous: self.gratuitous.clone() })),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot read the counters");
            }
        }
    }

    /// Reads interfaces and the exclusion list again.
    async fn rescan(&mut self, links: &Watch, exclusion_file: &Path) {
        self.read_exclusion(exclusion_file);
        match links.snapshot().await {
            Ok(snapshot) => {
                let (interfaces, skipped) = select(&snapshot, &self.exclusion);
                self.dirty |= interfaces != self.interfaces || **self.snapshot.load() != snapshot;
                self.interfaces = interfaces;
                self.skipped = skipped;
                self.snapshot.store(Arc::new(snapshot));
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "keeping the last list of interfaces"
                );
            }
        }
    }

    /// A list that cannot be read or compiled leaves the one in force.
    fn read_exclusion(&mut self, file: &Path) {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "cannot read the list of excluded interfaces");
                return;
            }
        };
        if text == self.exclusion_text {
            return;
        }
        match text.as_deref().map_or(Ok(Exclusion::default()), crate::args::exclusion) {
            Ok(exclusion) => {
                self.exclusion = exclusion;
                self.dirty = true;
            }
            Err(error) => {
                tracing::error!(file = %file.display(), error = format!("{error:#}"), "keeping the former list of excluded interfaces");
            }
        }
        self.exclusion_text = text;
    }

    /// How long nothing needs to be done.
    fn pause(&self) -> Duration {
        let now = self.now();
        let deadlines = [self.machine.next_deadline(now), self.schedule.next_deadline(now), self.retry_at];
        let next = deadlines.into_iter().flatten().min();
        next.map_or(RESCAN, |at| at.saturating_sub(now))
    }

    /// Does what is due.
    async fn step(&mut self) {
        let now = self.now();
        if self.retry_at.is_some_and(|at| at <= now) {
            (self.retry_at, self.observed, self.dirty) = (None, None, true);
        }
        self.dirty |= self.machine.poll(now).is_some();
        if !self.joined && self.machine.alive(now).contains(&self.me.node) {
            (self.joined, self.dirty) = (true, true);
        }
        if let (true, true, Some(desired)) = (self.dirty, self.joined, self.desired.clone()) {
            self.dirty = false;
            self.reconcile(&desired, now).await;
        }
        self.announce(now);
        self.publish(now);
    }

    fn publish(&mut self, now: Duration) {
        let mut missing = Vec::new();
        if self.desired.is_none() {
            missing.push("the first complete list of all watched kinds".to_owned());
        }
        if !self.joined {
            missing.push("this node's own Lease, seen through the watch".to_owned());
        }
        missing.extend(self.status.failures.iter().cloned());
        self.status.missing = missing;
        self.status.alive = self.machine.alive(now);
        self.status.frozen = self.machine.frozen(now);
        self.status.interfaces.clone_from(&self.interfaces);
        self.status.skipped.clone_from(&self.skipped);
        if **self.published.borrow() != self.status {
            self.published.send_replace(Arc::new(self.status.clone()));
        }
    }
}
