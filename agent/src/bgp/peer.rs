//! The task of one peer: it owns the session, its socket and its status.
//!
//! Waits for one of: another order, TCP, the session's next deadline. What came
//! is read before deadlines run, so that a hold timer never expires over octets
//! that lie in the socket because this process had stood still. Every buffer is
//! bounded: one read, one unfinished message, one batch of UPDATEs.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clarion_bgp::Session;
use clarion_bgp::session::{Action, Cause, Event, StateName, Stop};
use clarion_daemon::chain;
use futures::future::BoxFuture;
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::config::DesiredPeer;
use super::journal::{Journal, Line};
use super::refused::in_words;
use super::sockopt::{self, canonical};
use super::status::SessionStatus;
use super::{AddressLookup, StatusBoard};
use crate::bfd::{BfdState, Statuses};

/// Octets taken from the socket at once.
const READ: usize = 64 * 1024;
/// Reads in a row before timers and writing get their turn.
const READS: usize = 16;
/// Counters alone are published this often; anything else at once.
const COUNTERS: Duration = Duration::from_secs(1);

/// What the supervisor wants of a peer's task.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) peer: Arc<DesiredPeer>,
    pub(super) end: Option<End>,
}

/// Why a peer's task is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The agent stops.
    Agent,
    /// The peer is not for this node any more.
    Removed,
    /// A session with other parameters follows.
    Replaced,
}

enum Link {
    Down,
    Connecting(BoxFuture<'static, io::Result<TcpStream>>),
    Up(TcpStream),
}

/// What a peer's task is given by the supervisor.
pub(super) struct Surroundings {
    pub(super) lookup: AddressLookup,
    pub(super) board: StatusBoard,
    /// What BFD says of all paths.
    pub(super) paths: watch::Receiver<Arc<Statuses>>,
}

enum Wake {
    Order { supervised: bool },
    Path,
    Connected(io::Result<TcpStream>),
    Ready,
    Deadline,
}

pub(super) struct PeerTask {
    session: Session,
    orders: watch::Receiver<Order>,
    peer: Arc<DesiredPeer>,
    link: Link,
    /// Octets on their way out, and how many of them are.
    outbox: Vec<u8>,
    written: usize,
    buffer: Vec<u8>,
    lookup: AddressLookup,
    board: StatusBoard,
    paths: watch::Receiver<Arc<Statuses>>,
    status: SessionStatus,
    journal: Journal,
    published: Instant,
    /// The status of BFD has changed since it was published.
    watched: bool,
}

impl PeerTask {
    pub(super) fn new(orders: watch::Receiver<Order>, surroundings: Surroundings, restarted: bool) -> Self {
        let Surroundings { lookup, board, paths } = surroundings;
        let peer = Arc::clone(&orders.borrow().peer);
        let session = Session::new(peer.config.session(restarted), rand::random());
        let now = Instant::now();
        let status = SessionStatus {
            peer: peer.config.metric_label(),
            state: StateName::Idle,
            since: now,
            since_wall: SystemTime::now(),
            cause: Cause::Started,
            last_failure: None,
            negotiated: None,
            established: 0,
            counters: *session.counters(),
            announced: 0,
            wanted: peer.routes.len(),
            withheld: Default::default(),
            bfd: None,
        };
        Self {
            session,
            orders,
            peer,
            link: Link::Down,
            outbox: Vec::new(),
            written: 0,
            buffer: vec![0; READ],
            lookup,
            board,
            paths,
            status,
            journal: Journal::default(),
            published: now,
            watched: false,
        }
    }

    /// Runs until it is ordered to end.
    pub(super) async fn run(mut self) {
        self.session.set_routes(Arc::clone(&self.peer.routes));
        self.session.handle_start(Instant::now());
        // BFD may have been there before this session.
        self.path();
        loop {
            self.settle();
            match self.wait().await {
                Wake::Order { supervised } => {
                    let order = self.orders.borrow_and_update().clone();
                    let unsupervised = (!supervised).then_some(End::Agent);
                    if let Some(end) = order.end.or(unsupervised) {
                        return self.end(end);
                    }
                    self.follow(order.peer);
                }
                Wake::Path => self.path(),
                Wake::Connected(result) => self.connected(result),
                Wake::Ready | Wake::Deadline => {
                    self.read();
                    self.session.handle_deadline(Instant::now());
                }
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let interest = if self.written < self.outbox.len() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let counters = (*self.session.counters() != self.status.counters).then(|| self.published + COUNTERS);
        let deadline = [self.session.next_deadline(), counters].into_iter().flatten().min();
        let link = &mut self.link;
        let tcp = async {
            match link {
                Link::Down => pending().await,
                Link::Connecting(attempt) => Wake::Connected(attempt.await),
                Link::Up(stream) => {
                    // Should this fail, the read that follows says why.
                    let _ready = stream.ready(interest).await;
                    Wake::Ready
                }
            }
        };
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.orders.changed() => Wake::Order { supervised: order.is_ok() },
            // The board's sender lives with the supervisor, which orders the end before.
            Ok(()) = self.paths.changed() => Wake::Path,
            wake = tcp => wake,
            () = timer => Wake::Deadline,
        }
    }

    /// Other routes or timers for the same session.
    fn follow(&mut self, peer: Arc<DesiredPeer>) {
        if peer.routes != self.peer.routes {
            self.session.set_routes(Arc::clone(&peer.routes));
        }
        if peer.config.timers != self.peer.config.timers {
            self.session.set_timers(peer.config.timers);
        }
        self.peer = peer;
    }

    /// BFD has something to say of some path. Between two looks a session may have gone down
    /// and come up again: failures are counted, so that none is missed.
    fn path(&mut self) {
        let now = Instant::now();
        let all = Arc::clone(&self.paths.borrow_and_update());
        let new = all.get(&self.peer.config.name).filter(|_| self.peer.config.bfd.is_some()).cloned();
        if new == self.status.bfd {
            return;
        }
        // The first look only says where the count begins.
        if let (Some(new), Some(old)) = (&new, &self.status.bfd) {
            if new.failures > old.failures {
                self.session.handle_path_down(new.failure.clone().unwrap_or_default(), now);
            } else if new.state == BfdState::Up && old.state != BfdState::Up {
                self.session.handle_path_up(now);
            }
        }
        self.status.bfd = new;
        self.watched = true;
    }

    fn end(&mut self, end: End) {
        let graceful = self.session.negotiated().is_some_and(|n| n.graceful_restart.is_some());
        let stop = match end {
            // The next agent takes the routes over (RFC 4724 §4.1).
            End::Agent if graceful => Stop::Silent,
            End::Agent => Stop::Shutdown,
            End::Removed => Stop::Deconfigured,
            End::Replaced => Stop::Reconfigured,
        };
        self.session.handle_stop(stop, Instant::now());
        self.settle();
    }

    fn connected(&mut self, result: io::Result<TcpStream>) {
        let now = Instant::now();
        let connected = result.and_then(|stream| {
            // An error that came between the last look at the socket and this one: not connected.
            stream.peer_addr()?;
            let local = stream.local_addr()?.ip();
            Ok((stream, local))
        });
        match connected {
            Ok((stream, local)) => {
                self.link = Link::Up(stream);
                self.session.handle_connected((self.lookup)(canonical(local)), now);
            }
            Err(error) => {
                self.link = Link::Down;
                self.session.handle_connect_failed(in_words(&error), now);
            }
        }
    }

    /// Reads what has come, but not for ever.
    fn read(&mut self) {
        for _ in 0..READS {
            let Link::Up(stream) = &self.link else { return };
            let ended = match stream.try_read(&mut self.buffer) {
                Ok(0) => None,
                Ok(count) => {
                    self.session.handle_bytes(&self.buffer[..count], Instant::now());
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Some(error.to_string()),
            };
            self.drop_link();
            self.session.handle_closed(ended, Instant::now());
        }
    }

    /// Does everything that the session asks for, until it asks for nothing.
    fn settle(&mut self) {
        self.act();
        self.write();
        // A write that failed ended the session.
        self.act();
        self.publish();
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect => self.connect(),
                Action::Close => self.close(),
            }
        }
    }

    fn connect(&mut self) {
        let config = &self.peer.config;
        let address = config.address;
        self.link = match sockopt::open(config) {
            Ok(socket) => Link::Connecting(Box::pin(dial(socket.into(), address))),
            Err(error) => {
                let error = io::Error::other(chain(&error));
                Link::Connecting(Box::pin(async { Err(error) }))
            }
        };
    }

    /// Says what there is to say if the socket takes it at once, and closes.
    fn close(&mut self) {
        self.write();
        if let Link::Up(stream) = &self.link {
            // Unread octets would turn the close into a reset, and a reset could
            // overtake the NOTIFICATION at the peer.
            for _ in 0..READS {
                if !matches!(stream.try_read(&mut self.buffer), Ok(1..)) {
                    break;
                }
            }
        }
        self.drop_link();
    }

    fn drop_link(&mut self) {
        self.link = Link::Down;
        self.outbox.clear();
        self.written = 0;
    }

    /// Writes until the socket is full or there is nothing left to say.
    fn write(&mut self) {
        loop {
            let Link::Up(stream) = &self.link else { return };
            let now = Instant::now();
            if self.written == self.outbox.len() {
                let Some(octets) = self.session.poll_transmit(now) else { return };
                (self.outbox, self.written) = (octets, 0);
            }
            match stream.try_write(&self.outbox[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.session.handle_written(self.written == self.outbox.len(), now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.drop_link();
                    self.session.handle_closed(Some(error.to_string()), now);
                }
            }
        }
    }

    /// Tells logs and readers what happened.
    fn publish(&mut self) {
        let mut news = std::mem::take(&mut self.watched);
        while let Some(event) = self.session.poll_event() {
            news = true;
            self.note(event);
        }
        let now = Instant::now();
        let counters = *self.session.counters();
        news |= self.status.announced != self.session.announced()
            || self.status.wanted != self.peer.routes.len()
            || (counters != self.status.counters && now >= self.published + COUNTERS);
        if !news {
            return;
        }
        if let Some(failures) = self.journal.holds(now) {
            let (name, peer) = (self.peer.config.name.as_str(), self.status.peer.as_str());
            tracing::info!(name, peer, failures, "BGP session holds");
        }
        self.status.counters = counters;
        self.status.announced = self.session.announced();
        self.status.wanted = self.peer.routes.len();
        self.status.withheld = self.session.withheld();
        self.status.negotiated = self.session.negotiated().cloned();
        self.published = now;
        self.board.set(&self.peer.config.name, self.status.clone());
    }

    fn note(&mut self, event: Event) {
        let name = self.peer.config.name.as_str();
        let peer = self.status.peer.as_str();
        match event {
            Event::Changed { from, to, cause } => {
                match self.journal.changed(from, to, &cause, Instant::now()) {
                    Line::Up { failures } => {
                        tracing::info!(name, peer, failures, "BGP session is up");
                    }
                    Line::Failed => tracing::info!(name, peer, %from, %to, %cause, "BGP session"),
                    Line::Detail => tracing::debug!(name, peer, %from, %to, %cause, "BGP session"),
                }
                if to == StateName::Established {
                    self.status.established += 1;
                }
                if matches!(to, StateName::Idle | StateName::Active) {
                    self.status.last_failure = Some(cause.clone());
                }
                self.status.state = to;
                self.status.cause = cause;
                self.status.since = Instant::now();
                self.status.since_wall = SystemTime::now();
            }
            Event::Negotiated(agreed) => tracing::debug!(name, peer, ?agreed, "BGP parameters agreed"),
            Event::EndOfRibSent(family) => tracing::debug!(name, peer, %family, "BGP routes sent"),
            Event::EndOfRibReceived(family) => {
                tracing::debug!(name, peer, %family, "BGP peer sent its routes");
            }
            Event::RefreshRequested(family) => {
                tracing::debug!(name, peer, %family, "BGP routes asked for again");
            }
            Event::UpdateTolerated(fault) => {
                tracing::warn!(name, peer, %fault, "BGP peer sends broken UPDATEs; its routes are not used anyway");
            }
        }
    }
}

async fn dial(socket: std::net::TcpStream, peer: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(socket).connect(peer).await
}
