//! The thread's loop: what should be against the sessions that run, packets in and out.
//!
//! What has come is read before timers run, so that a session never goes down over packets
//! that lie in the socket because this process had stood still.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_bfd::Sessions;
use clarion_bfd::session::{Event, Transmit};
use clarion_bfd::sessions::{Domain, Path};
use clarion_bfd::transport::Hops;
use clarion_bfd::wire::Discriminator;
use clarion_core::Family;
use clarion_daemon::chain;
use futures::future::select_all;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::entry::Entry;
use super::link::on_link;
use super::listen::{DATAGRAM, Listener, Place};
use super::status::{BfdState, BfdStatus, Board, Statuses};
use super::transmit::Transmitter;
use super::{BfdPeer, BfdPeers, Distance, parameters};

/// Datagrams of one socket before timers get their turn.
const READS: usize = 64;
/// Counters alone are published this often; anything else at once.
const COUNTERS: Duration = Duration::from_secs(1);
/// What could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

struct Speaker {
    sessions: Sessions,
    peers: Arc<BfdPeers>,
    entries: BTreeMap<Path, Entry>,
    names: BTreeMap<Discriminator, Path>,
    listeners: BTreeMap<Place, Listener>,
    /// Devices by their place: numbers of routing domains.
    domains: Vec<Option<String>>,
    /// Why peers have no session, or not one by their own profile.
    problems: BTreeMap<String, String>,
    retry: Option<Instant>,
    board: Board,
    published: Instant,
    news: bool,
}

/// Runs until the sender of what should be is gone.
pub(super) async fn run(mut desired: watch::Receiver<Arc<BfdPeers>>, board: Board) {
    let mut speaker = Speaker {
        sessions: Sessions::new(rand::random()),
        peers: Arc::clone(&desired.borrow_and_update()),
        entries: BTreeMap::new(),
        names: BTreeMap::new(),
        listeners: BTreeMap::new(),
        domains: vec![None],
        problems: BTreeMap::new(),
        retry: None,
        board,
        published: Instant::now(),
        news: true,
    };
    speaker.reconcile();
    loop {
        speaker.settle(Instant::now());
        let deadline = speaker.deadline();
        tokio::select! {
            biased;
            changed = desired.changed() => {
                if changed.is_err() {
                    return speaker.farewell();
                }
                speaker.peers = Arc::clone(&desired.borrow_and_update());
                speaker.reconcile();
            }
            () = speaker.readable() => {}
            () = sleep_until(deadline.into()) => {}
        }
        speaker.receive();
        let now = Instant::now();
        speaker.sessions.handle_deadline(now);
        if speaker.retry.is_some_and(|at| at <= now) {
            speaker.reconcile();
        }
    }
}

impl Speaker {
    fn deadline(&self) -> Instant {
        let publish = self.published + COUNTERS;
        [self.sessions.next_deadline(), self.retry].into_iter().flatten().fold(publish, Instant::min)
    }

    async fn readable(&self) {
        if self.listeners.is_empty() {
            return pending().await;
        }
        select_all(self.listeners.values().map(|listener| Box::pin(listener.readable()))).await;
    }

    fn receive(&mut self) {
        let mut buffer = [0; DATAGRAM];
        for listener in self.listeners.values() {
            for _ in 0..READS {
                let Some((arrival, length)) = listener.receive(&mut buffer) else { break };
                // What is refused is counted there, and is no reason for a line in the log.
                let _known = self.sessions.handle_control(&arrival, &buffer[..length], Instant::now());
            }
        }
    }

    /// Sends what is to be sent and tells what happened.
    fn settle(&mut self, now: Instant) {
        while let Some((id, transmit)) = self.sessions.poll_transmit(now) {
            let Transmit::Control(octets) = transmit else { continue };
            if let Some(entry) = self.names.get(&id).and_then(|path| self.entries.get_mut(path)) {
                self.news |= entry.send(&octets);
            }
        }
        while let Some((id, event)) = self.sessions.poll_event() {
            let Some(entry) = self.names.get(&id).and_then(|path| self.entries.get_mut(path)) else {
                continue;
            };
            match event {
                Event::Changed { from, to, cause } => entry.changed(from, to, cause, now),
                Event::Paced(timing) => entry.paced(&timing),
            }
            self.news = true;
        }
        if self.news || now >= self.published + COUNTERS {
            self.news = false;
            self.published = now;
            self.board.set(self.statuses());
        }
    }

    fn reconcile(&mut self) {
        self.retry = None;
        self.problems.clear();
        self.news = true;
        let mut wanted: BTreeMap<Path, (BTreeSet<String>, BfdPeer)> = BTreeMap::new();
        let peers = Arc::clone(&self.peers);
        for (name, peer) in peers.iter() {
            let path = self.path(peer);
            let (users, first) = wanted.entry(path).or_insert_with(|| (BTreeSet::new(), peer.clone()));
            if first.profile != peer.profile {
                let theirs = &first.profile.name;
                let problem = format!(
                    "another BGPPeer with this address has bfdProfile {theirs}, which is used for both: name the same one"
                );
                self.problems.insert(name.clone(), problem);
            }
            users.insert(name.clone());
        }
        let gone: Vec<Path> =
            self.entries.keys().filter(|path| !wanted.contains_key(path)).copied().collect();
        for path in gone {
            self.end(path);
        }
        for (path, (users, peer)) in wanted {
            if let Err(problem) = self.follow(path, &users, &peer) {
                self.retry = Some(Instant::now() + RETRY);
                self.problems.extend(users.into_iter().map(|name| (name, problem.clone())));
            }
        }
        let used: BTreeSet<Place> = self.entries.keys().map(|path| self.place(path)).collect();
        self.listeners.retain(|place, _| used.contains(place));
    }

    /// The session of a path as it should be.
    fn follow(&mut self, path: Path, users: &BTreeSet<String>, peer: &BfdPeer) -> Result<(), String> {
        let config = parameters(&peer.profile);
        if let Some(entry) = self.entries.get_mut(&path) {
            entry.users.clone_from(users);
            entry.profile.clone_from(&peer.profile.name);
            let session = self.sessions.get_mut(entry.id).filter(|session| *session.config() != config);
            if let Some(session) = session {
                session.set_config(config, Instant::now());
            }
            return Ok(());
        }
        let place = self.place(&path);
        if let btree_map::Entry::Vacant(free) = self.listeners.entry(place) {
            let listener = Listener::open(free.key()).map_err(|error| chain(&error))?;
            free.insert(listener);
        }
        let device = peer.device.as_deref();
        let transmitter = Transmitter::open(peer.address, peer.source, device, path.hops, rand::random())
            .map_err(|error| chain(&error))?;
        let id = self.sessions.add(path, config).map_err(|error| error.to_string())?;
        self.names.insert(id, path);
        let profile = peer.profile.name.clone();
        self.entries.insert(path, Entry::new(id, users.clone(), path.peer, profile, transmitter));
        Ok(())
    }

    /// Ends a session; its peer is told that this says nothing about the path.
    fn end(&mut self, path: Path) {
        let Some(id) = self.entries.get(&path).map(|entry| entry.id) else { return };
        let now = Instant::now();
        if let Some(session) = self.sessions.get_mut(id) {
            session.disable(now);
        }
        self.settle(now);
        self.sessions.remove(id);
        self.names.remove(&id);
        self.entries.remove(&path);
    }

    fn farewell(mut self) {
        let all: Vec<Path> = self.entries.keys().copied().collect();
        for path in all {
            self.end(path);
        }
    }

    fn path(&mut self, peer: &BfdPeer) -> Path {
        let number = self.domains.iter().position(|device| *device == peer.device).unwrap_or_else(|| {
            self.domains.push(peer.device.clone());
            self.domains.len() - 1
        });
        let near = match peer.distance {
            Distance::Near => true,
            Distance::Far => false,
            // Should the addresses not be known, the stricter reading.
            Distance::ByAddress => on_link(peer.address).unwrap_or(true),
        };
        Path {
            domain: Domain(u32::try_from(number).unwrap_or(u32::MAX)),
            hops: if near { Hops::Single } else { Hops::Multi },
            interface: None,
            local: peer.source,
            peer: peer.address,
        }
    }

    fn place(&self, path: &Path) -> Place {
        let number = usize::try_from(path.domain.0).unwrap_or(usize::MAX);
        let device = self.domains.get(number).cloned().flatten();
        Place { domain: path.domain, device, hops: path.hops, family: Family::of(path.peer) }
    }

    fn statuses(&self) -> Statuses {
        let mut statuses = Statuses::new();
        for entry in self.entries.values() {
            let Some(session) = self.sessions.get(entry.id) else { continue };
            for name in &entry.users {
                let device = self.peers.get(name).and_then(|peer| peer.device.clone());
                let problem = self.problems.get(name).cloned();
                statuses.insert(name.clone(), entry.status(session, device, problem));
            }
        }
        for (name, problem) in &self.problems {
            let Some(peer) = self.peers.get(name).filter(|_| !statuses.contains_key(name)) else { continue };
            statuses.insert(name.clone(), BfdStatus::without_session(peer, problem.clone()));
        }
        statuses
    }
}

impl BfdStatus {
    fn without_session(peer: &BfdPeer, problem: String) -> Self {
        Self {
            profile: peer.profile.name.clone(),
            peer: peer.address,
            device: peer.device.clone(),
            state: BfdState::Down,
            since: std::time::SystemTime::UNIX_EPOCH,
            cause: None,
            failures: 0,
            failure: None,
            timing: None,
            counters: Default::default(),
            problem: Some(problem),
        }
    }
}
