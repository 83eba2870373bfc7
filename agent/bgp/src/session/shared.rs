//! What every state of a session shares: configuration, what waits for the
//! driver, and the steps that several transitions are made of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, Failure, Jitter};
use super::config::{LocalAddresses, SessionConfig};
use super::event::{Action, Cause, Event};
use super::negotiate;
use super::state::State;
use crate::rib::Routes;
use crate::wire::{Notification, encode_keepalive};

/// How long TCP may take to come up; MetalLB's figure. The kernel itself would
/// try for two minutes.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the peer's OPEN may take. RFC 4271 §8.2.2 suggests four minutes; a
/// router that accepts TCP and says nothing for this long will not do so then.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages and routes, counted since the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// OPENs sent.
    pub opens_sent: u64,
    /// OPENs received.
    pub opens_received: u64,
    /// UPDATEs sent, End-of-RIB markers included.
    pub updates_sent: u64,
    /// UPDATEs received.
    pub updates_received: u64,
    /// KEEPALIVEs sent.
    pub keepalives_sent: u64,
    /// KEEPALIVEs received.
    pub keepalives_received: u64,
    /// NOTIFICATIONs sent.
    pub notifications_sent: u64,
    /// NOTIFICATIONs received.
    pub notifications_received: u64,
    /// ROUTE-REFRESHs received.
    pub refreshes_received: u64,
    /// Foreign prefixes announced to us, and dropped.
    pub prefixes_received: u64,
    /// Foreign prefixes withdrawn.
    pub prefixes_withdrawn: u64,
    /// UPDATEs with a fault that RFC 7606 tolerates.
    pub updates_tolerated: u64,
}

impl Counters {
    /// All messages sent: FRR's and MetalLB's `total_sent`.
    #[must_use]
    pub fn total_sent(&self) -> u64 {
        self.opens_sent + self.updates_sent + self.keepalives_sent + self.notifications_sent
    }

    /// All messages received.
    #[must_use]
    pub fn total_received(&self) -> u64 {
        self.opens_received
            + self.updates_received
            + self.keepalives_received
            + self.notifications_received
            + self.refreshes_received
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: SessionConfig,
    pub(super) desired: Arc<Routes>,
    pub(super) jitter: Jitter,
    pub(super) backoff: Backoff,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<Event>,
    /// Messages that are not routes, waiting to be written.
    pub(super) output: Vec<u8>,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn new(config: SessionConfig, seed: u64) -> Self {
        Self {
            config,
            desired: Arc::default(),
            jitter: Jitter::new(seed),
            backoff: Backoff::default(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            output: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub(super) fn connect(&mut self, now: Instant) -> State {
        self.output.clear();
        self.actions.push_back(Action::Connect);
        State::Connect { timeout: now + CONNECT_TIMEOUT }
    }

    /// Waits for another attempt at TCP.
    pub(super) fn active(&mut self, failure: Failure, now: Instant) -> State {
        State::Active { retry: now + self.pause(failure) }
    }

    /// Waits after a session that failed.
    pub(super) fn idle(&mut self, now: Instant) -> State {
        State::Idle { restart: Some(now + self.pause(Failure::Session)) }
    }

    fn pause(&mut self, failure: Failure) -> Duration {
        let pause = self.backoff.pause(failure, self.config.timers.connect_retry);
        self.jitter.apply(pause)
    }

    pub(super) fn send_open(&mut self, local: LocalAddresses, now: Instant) -> State {
        // Every capability we offer has a bounded size: the OPEN always fits.
        if let Some(octets) = negotiate::our_open(&self.config, &local).encode() {
            self.output.extend(octets);
            self.counters.opens_sent += 1;
        }
        State::OpenSent { local, hold: now + OPEN_TIMEOUT }
    }

    pub(super) fn send_keepalive(&mut self) {
        // One that still waits says the same.
        if self.output.is_empty() {
            self.output.extend(encode_keepalive());
            self.counters.keepalives_sent += 1;
        }
    }

    pub(super) fn send_notification(&mut self, notification: &Notification) {
        self.output.extend(notification.encode());
        self.counters.notifications_sent += 1;
    }

    /// Tells the peer why, if it is to be told, closes, and waits for another attempt.
    pub(super) fn fail(&mut self, told: Option<&Notification>, cause: Cause, now: Instant) -> (State, Cause) {
        if let Some(notification) = told {
            self.send_notification(notification);
        }
        self.actions.push_back(Action::Close);
        (self.idle(now), cause)
    }
}
