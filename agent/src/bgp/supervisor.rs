//! Which sessions run: desired peers against tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::AddressLookup;
use super::config::{DesiredPeer, DesiredPeers};
use super::peer::{End, Order, PeerTask, Surroundings};
use super::status::StatusBoard;
use crate::bfd::{self, BfdPeers, Board};

/// How long the tasks may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long BFD may take.
const BFD_FAREWELL: Duration = Duration::from_millis(200);
/// Pause before a task that failed is begun again.
const AFTER_FAULT: Duration = Duration::from_secs(1);

struct Running {
    orders: watch::Sender<Order>,
    ending: bool,
}

struct Supervisor {
    lookup: AddressLookup,
    board: StatusBoard,
    running: BTreeMap<String, Running>,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
    /// Peers that had a session since the agent started.
    begun: BTreeSet<String>,
    /// Peers whose task failed, and when they may begin again.
    faulty: BTreeMap<String, Instant>,
    paths: Board,
    /// BFD, once a peer asks for it.
    bfd: Option<bfd::Handle>,
    /// BFD failed, and when it may begin again.
    bfd_faulty: Option<Instant>,
}

/// Runs until the sender of `desired` is gone and all sessions have ended.
pub(super) async fn run(
    mut desired: watch::Receiver<Arc<DesiredPeers>>,
    lookup: AddressLookup,
    board: StatusBoard,
) {
    let mut supervisor = Supervisor {
        lookup,
        board,
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
        names: HashMap::new(),
        begun: BTreeSet::new(),
        faulty: BTreeMap::new(),
        paths: Board::new(),
        bfd: None,
        bfd_faulty: None,
    };
    loop {
        let peers = Arc::clone(&desired.borrow_and_update());
        supervisor.reconcile(&peers);
        supervisor.watch_paths(&peers);
        let retry = supervisor.faulty.values().copied().chain(supervisor.bfd_faulty).min();
        tokio::select! {
            changed = desired.changed() => {
                if changed.is_err() {
                    return supervisor.farewell().await;
                }
            }
            Some(ended) = supervisor.tasks.join_next_with_id() => supervisor.ended(ended),
            () = bfd_ended(&mut supervisor.bfd) => {
                tracing::error!("the thread of BFD failed; it is begun again");
                supervisor.bfd = None;
                supervisor.bfd_faulty = Some(Instant::now() + AFTER_FAULT);
            }
            () = async { sleep_until(retry.unwrap_or_else(Instant::now)).await }, if retry.is_some() => {
                supervisor.faulty.retain(|_, when| *when > Instant::now());
                supervisor.bfd_faulty = supervisor.bfd_faulty.filter(|when| *when > Instant::now());
            }
        }
    }
}

impl Supervisor {
    fn reconcile(&mut self, peers: &DesiredPeers) {
        for (name, running) in &mut self.running {
            let end = match peers.get(name) {
                None => Some(End::Removed),
                Some(peer) if !running.orders.borrow().peer.config.same_session(&peer.config) => {
                    Some(End::Replaced)
                }
                Some(_) => None,
            };
            if let Some(end) = end.filter(|_| !running.ending) {
                running.ending = true;
                running.orders.send_modify(|order| order.end = Some(end));
            }
        }
        for (name, peer) in peers {
            match self.running.get(name) {
                // What replaces it begins when it has ended.
                Some(running) if running.ending => {}
                Some(running) => tell(running, peer),
                None if self.faulty.contains_key(name) => {}
                None => self.begin(name, peer),
            }
        }
    }

    /// Which paths BFD watches. Once begun it stays, with nothing to do if need be.
    fn watch_paths(&mut self, peers: &DesiredPeers) {
        let watched = |(name, peer): (&String, &DesiredPeer)| Some((name.clone(), peer.config.bfd_peer()?));
        let wanted: BfdPeers = peers.iter().filter_map(watched).collect();
        match &self.bfd {
            Some(bfd) => {
                bfd.desired.send_if_modified(|running| {
                    let news = **running != wanted;
                    if news {
                        *running = Arc::new(wanted);
                    }
                    news
                });
            }
            None if wanted.is_empty() || self.bfd_faulty.is_some() => {}
            None => match bfd::start(Arc::new(wanted), self.paths.clone()) {
                Ok(handle) => self.bfd = Some(handle),
                Err(error) => {
                    tracing::error!(%error, "cannot start the thread of BFD; tried again");
                    self.bfd_faulty = Some(Instant::now() + AFTER_FAULT);
                }
            },
        }
    }

    fn begin(&mut self, name: &str, peer: &DesiredPeer) {
        let (orders, receiver) = watch::channel(Order { peer: Arc::new(peer.clone()), end: None });
        let restarted = self.begun.insert(name.to_owned());
        let surroundings = Surroundings {
            lookup: Arc::clone(&self.lookup),
            board: self.board.clone(),
            paths: self.paths.subscribe(),
        };
        let task = PeerTask::new(receiver, surroundings, restarted);
        let handle = self.tasks.spawn(task.run());
        self.names.insert(handle.id(), name.to_owned());
        self.running.insert(name.to_owned(), Running { orders, ending: false });
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(name) = self.names.remove(&id) else { return };
        self.running.remove(&name);
        self.board.remove(&name);
        if let Err(error) = ended {
            tracing::error!(name, %error, "the task of a BGP session failed; it is begun again");
            self.faulty.insert(name, Instant::now() + AFTER_FAULT);
        }
    }

    async fn farewell(mut self) {
        for running in self.running.values().filter(|running| !running.ending) {
            running.orders.send_modify(|order| order.end = Some(End::Agent));
        }
        let deadline = Instant::now() + FAREWELL;
        while let Ok(Some(_)) = timeout_at(deadline, self.tasks.join_next()).await {}
        // Whoever did not make it is dropped with the set.
        drop(self.tasks);
        // After BGP: there are routers (FRR's bfdd) that take even "switched off" for a dead path,
        // and would end a session whose routes graceful restart is to keep.
        if let Some(bfd::Handle { desired, done }) = self.bfd.take() {
            drop(desired);
            let _ended = timeout_at(Instant::now() + BFD_FAREWELL, done).await;
        }
    }
}

/// Comes when BFD has ended by itself, which is a fault.
async fn bfd_ended(bfd: &mut Option<bfd::Handle>) {
    match bfd {
        // Gone without a word counts as well.
        Some(bfd) => drop((&mut bfd.done).await),
        None => pending().await,
    }
}

/// Hands other routes or timers to a session that goes on.
fn tell(running: &Running, peer: &DesiredPeer) {
    running.orders.send_if_modified(|order| {
        let news = *order.peer != *peer;
        if news {
            order.peer = Arc::new(peer.clone());
        }
        news
    });
}
