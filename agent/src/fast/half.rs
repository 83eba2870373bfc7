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
use clarion_l2::machine::{Ability, Output, Timing};
use clarion_l2::schedule::{Pace, Schedule};
use clarion_netlink::{Exclusion, Groups, Interface, SkipReason, Snapshot, Watch, select};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use self::reconcile::Held;
use super::gratuitous::Sender;
use super::ownership::{Driver, Settings};
use super::scope::{Scope, differing};
use super::{Counted, FastStatus, HAND_OVER, Inputs, Life};
use crate::desired::owners::Owners;
use crate::desired::{Desired, Me};

/// The heartbeat of what needs no lease, and the pulse that `/healthz` feels. The machine beats for
/// itself, at each probe.
const BEAT: Duration = Duration::from_millis(100);
/// Interfaces and maps are read back this often, whatever netlink said or did not.
const RESCAN: Duration = Duration::from_secs(10);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

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
    let settings = Settings {
        port: inputs.port,
        timing: Timing { grace: nanoseconds(inputs.restart_grace), ..Timing::default() },
    };
    let mut dataplane = inputs.dataplane;
    let ownership = Driver::start(&inputs.me.node, &settings, &mut dataplane)?;
    let mut half = Half::new(&inputs.me, dataplane, ownership, &links, shared, inputs.status)?;
    half.rescan(&links, &inputs.exclusion_file).await;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut rescan = tokio::time::interval(RESCAN);
    rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        half.step().await;
        // The maps know by now what others have claimed.
        if half.left() {
            break;
        }
        let pause = half.pause();
        tokio::select! {
            _ = inputs.stop.changed() => {
                if *inputs.stop.borrow_and_update() != Life::Leaves {
                    break;
                }
                half.leave();
            }
            ready = half.ownership.ready() => {
                ready.context("a socket of the fast half failed")?;
                half.receive();
            }
            _ = beat.tick() => {
                half.beat();
                inputs.pulse.beat();
            }
            changed = inputs.desired.changed() => {
                changed.context("the slow half is gone")?;
                half.set_desired(inputs.desired.borrow_and_update().clone());
            }
            changed = inputs.owners.changed() => {
                changed.context("the slow half is gone")?;
                half.set_owners(Arc::clone(&inputs.owners.borrow_and_update()));
            }
            changed = links.changed() => {
                changed.context("the host's interfaces are no longer watched")?;
                half.rescan(&links, &inputs.exclusion_file).await;
            }
            _ = rescan.tick() => {
                half.observed = None;
                half.todo = Scope::All;
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
    ownership: Driver,
    /// What may not be in the maps yet.
    todo: Scope,
    /// Until when what this node holds has time to be claimed by others, once it leaves.
    leaving: Option<Duration>,
    schedule: Schedule<(u32, IpAddr)>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    exclusion: Exclusion,
    exclusion_text: Option<String>,
    interfaces: Vec<Interface>,
    skipped: Vec<(String, SkipReason)>,
    desired: Option<Arc<Desired>>,
    retry_at: Option<Duration>,
    /// What the kernel holds, as far as is known without asking it again.
    observed: Option<Observed>,
    held: Held,
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
        ownership: Driver,
        links: &Watch,
        snapshot: Arc<ArcSwap<Snapshot>>,
        published: watch::Sender<Arc<FastStatus>>,
    ) -> anyhow::Result<Self> {
        let sender = Sender::open()
            .context("cannot open a packet socket for gratuitous frames: the agent needs CAP_NET_RAW")?;
        let attachments = dataplane.attachments().context("cannot read the attachments")?;
        let mut half = Self {
            me: me.clone(),
            origin: Instant::now(),
            dataplane,
            sender,
            groups: Groups::new(links),
            ownership,
            todo: Scope::All,
            leaving: None,
            schedule: Schedule::new(Pace::default()),
            snapshot,
            exclusion: Exclusion::default(),
            exclusion_text: None,
            interfaces: Vec::new(),
            skipped: Vec::new(),
            desired: None,
            retry_at: None,
            observed: None,
            held: Held::default(),
            beat_failed: false,
            gratuitous: BTreeMap::new(),
            status: FastStatus::default(),
            published,
        };
        half.set_attachments(attachments);
        Ok(half)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn set_desired(&mut self, desired: Option<Arc<Desired>>) {
        match (&self.desired, &desired) {
            (Some(old), Some(new)) if old.node_addresses == new.node_addresses => {
                self.todo.add(differing(&old.l2, &new.l2));
            }
            _ => self.todo = Scope::All,
        }
        self.desired = desired;
    }

    fn set_owners(&mut self, owners: Arc<Owners>) {
        match self.ownership.set_owners(owners, &mut self.dataplane) {
            Scope::Of(addresses) => self.todo.add(addresses),
            Scope::All => self.todo = Scope::All,
        }
    }

    fn receive(&mut self) {
        self.ownership.receive(&self.interfaces, &mut self.dataplane);
    }

    /// This node leaves for good: others take what it holds.
    fn leave(&mut self) {
        self.leaving = Some(self.now() + HAND_OVER);
        self.ownership.set_ability(Ability::Draining, &mut self.dataplane);
    }

    fn left(&self) -> bool {
        self.leaving.is_some_and(|until| !self.ownership.holds_anything() || until <= self.now())
    }

    /// Whether there is an interface to serve addresses on, with the program attached.
    fn judge_ability(&mut self) {
        // Before the first plan was carried out nothing has failed yet.
        let attached = |index: &u32| !self.status.applied || self.status.attachments.contains_key(index);
        let able = self.interfaces.iter().any(|interface| attached(&interface.index));
        let ability = if able { Ability::Able } else { Ability::CutOff };
        if self.leaving.is_none() {
            self.ownership.set_ability(ability, &mut self.dataplane);
        }
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
            Ok(kernel) => {
                let (gratuitous, told) = (self.gratuitous.clone(), self.ownership.told());
                drop(request.send(Counted { kernel, gratuitous, told }));
            }
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
                if interfaces != self.interfaces || **self.snapshot.load() != snapshot {
                    self.todo = Scope::All;
                }
                self.interfaces = interfaces;
                self.skipped = skipped;
                self.snapshot.store(Arc::new(snapshot));
                self.judge_ability();
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
                self.todo = Scope::All;
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
        let deadlines = [self.schedule.next_deadline(now), self.retry_at, self.leaving];
        let next = deadlines.into_iter().flatten().min();
        next.map_or(RESCAN, |at| at.saturating_sub(now)).min(self.ownership.pause())
    }

    /// Does what is due.
    async fn step(&mut self) {
        let now = self.now();
        if self.retry_at.is_some_and(|at| at <= now) {
            (self.retry_at, self.observed, self.todo) = (None, None, Scope::All);
        }
        self.ownership.step(&mut self.dataplane);
        self.follow_standing();
        let news = self.ownership.take_news();
        match self.desired.clone() {
            Some(desired) => {
                self.todo.add(news);
                if !self.todo.is_empty() {
                    let scope = std::mem::take(&mut self.todo);
                    self.reconcile(&desired, scope, now).await;
                }
            }
            None if !news.is_empty() => self.settle_adopted(now),
            None => {}
        }
        self.speak();
        self.announce(now);
        self.publish();
    }

    /// Whether the kernel answers concerns what is announced and said of each address.
    fn follow_standing(&mut self) {
        let standing = self.ownership.standing(&mut self.dataplane);
        if std::mem::replace(&mut self.status.standing, standing) != standing {
            self.todo = Scope::All;
        }
    }

    /// Says to nodes and segments what the machine wants said, now that the maps hold it.
    fn speak(&mut self) {
        for output in self.ownership.take_outputs() {
            match output {
                Output::Resolve(address) => {
                    let vip = self.desired.as_ref().and_then(|desired| desired.l2.get(&address));
                    let here = self
                        .interfaces
                        .iter()
                        .filter(|i| vip.is_none_or(|vip| vip.interfaces.contains(&i.name)));
                    here.for_each(|interface| self.ownership.resolve(interface, address));
                }
                Output::ProveSegment => self.ownership.prove(&self.interfaces, &self.snapshot.load()),
                // Announced by being in the maps; the others went before.
                Output::Announce(_) | Output::Signal(_) | Output::Send(..) | Output::Note(_) => {}
            }
        }
    }

    fn publish(&mut self) {
        let mut missing = Vec::new();
        if self.desired.is_none() {
            missing.push("the first complete list of all watched kinds".to_owned());
        }
        let layer2 = self.desired.as_ref().is_some_and(|desired| desired.l2.values().any(|vip| vip.ownable));
        missing.extend(self.status.standing.missing(layer2, self.ownership.has_key()).map(str::to_owned));
        missing.extend(self.status.failures.iter().cloned());
        self.status.missing = missing;
        self.status.in_contact = self.ownership.in_contact();
        self.status.interfaces.clone_from(&self.interfaces);
        self.status.skipped.clone_from(&self.skipped);
        if **self.published.borrow() != self.status {
            self.published.send_replace(Arc::new(self.status.clone()));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
