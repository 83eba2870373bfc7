//! One BGP session as a state machine (RFC 4271 §8), without sockets or clock.
//!
//! ```text
//!             start, pause over              TCP up, OPEN sent
//!   ┌──────┐ ───────────────────► ┌─────────┐ ──────────────► ┌──────────┐
//!   │ Idle │                      │ Connect │                 │ OpenSent │
//!   └──────┘                      └─────────┘                 └──────────┘
//!      ▲                pause over ▲   │ no TCP       TCP lost  │   │ OPEN accepted
//!      │                           │   ▼                        │   ▼
//!      │                         ┌────────┐ ◄───────────────────┘ ┌─────────────┐
//!      │                         │ Active │                       │ OpenConfirm │
//!      │                         └────────┘                       └─────────────┘
//!      │  stop, NOTIFICATION, fault, hold timer, TCP lost               │ KEEPALIVE
//!      └───────────────────────────────────────────── ┌─────────────┐ ◄─┘
//!                                                     │ Established │
//!                                                     └─────────────┘
//! ```
//!
//! The driver calls `handle_*` with what happened and the time, then takes
//! everything from [`Session::poll_action`], [`Session::poll_transmit`] and
//! [`Session::poll_event`], and calls [`Session::handle_deadline`] at
//! [`Session::next_deadline`]. Idle and Active both wait for the next attempt:
//! Idle after a session that failed (RFC 4271 §8.1.1, DampPeerOscillations),
//! Active after TCP that did. We dial; a driver that also listens hands an
//! accepted connection in as `handle_connected` while the session is Active.

mod backoff;
mod config;
mod event;
mod fsm;
mod negotiate;
mod shared;
mod state;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::rib::{Routes, Withheld};
use crate::wire::{Framer, WireError, decode};

pub use config::{GracefulRestart, LocalAddresses, Negotiated, PeerAsn, SessionConfig, Timers};
pub use event::{Action, Cause, Event, OpenRefusal, StateName, Stop};
use fsm::Input;
pub use shared::Counters;
use shared::Shared;
use state::State;

/// How many octets of UPDATEs are made at once; the rest waits as a difference
/// between two maps, so a peer that reads slowly costs no memory.
const BATCH: usize = 64 * 1024;

/// A session with one peer, for as long as it is configured: it connects again
/// by itself after every failure.
#[derive(Debug)]
pub struct Session {
    shared: Shared,
    state: State,
    framer: Framer,
}

impl Session {
    /// A session that is not started. `seed` feeds the jitter of its timers.
    #[must_use]
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        Self {
            shared: Shared::new(config, seed),
            state: State::Idle { restart: None },
            framer: Framer::default(),
        }
    }

    /// Begins, and goes on until [`Self::handle_stop`].
    pub fn handle_start(&mut self, now: Instant) {
        self.step(Input::Start, now);
    }

    /// Ends the session and stays down.
    pub fn handle_stop(&mut self, stop: Stop, now: Instant) {
        self.step(Input::Stop(stop), now);
    }

    /// TCP is up, from these addresses.
    pub fn handle_connected(&mut self, local: LocalAddresses, now: Instant) {
        self.step(Input::Connected(local), now);
    }

    /// TCP did not come up; the operating system's words.
    pub fn handle_connect_failed(&mut self, error: String, now: Instant) {
        self.step(Input::ConnectFailed(error), now);
    }

    /// TCP ended: closed by the peer (`None`) or broken (the operating system's words).
    pub fn handle_closed(&mut self, error: Option<String>, now: Instant) {
        self.step(Input::Closed(error), now);
    }

    /// BFD found the path to the peer down, and says why: the session ends at once.
    pub fn handle_path_down(&mut self, why: String, now: Instant) {
        self.step(Input::PathDown(why), now);
    }

    /// BFD found the path alive: a pause before the next attempt ends.
    pub fn handle_path_up(&mut self, now: Instant) {
        self.step(Input::PathUp, now);
    }

    /// Octets came. They are read at once; nothing but an unfinished message is kept.
    pub fn handle_bytes(&mut self, octets: &[u8], now: Instant) {
        self.framer.push(octets);
        loop {
            let Some(updates) = self.state.update_reader() else {
                // Whatever comes after the session ended is of no interest.
                self.framer = Framer::default();
                return;
            };
            let message = match self.framer.next_message() {
                Ok(None) => return,
                Ok(Some((kind, body))) => decode(kind, body, updates),
                Err(error) => Err(error),
            };
            match message {
                Ok(message) => self.step(Input::Message(message), now),
                Err(error) => self.broken(error, now),
            }
        }
    }

    /// Room was made: the driver wrote octets that [`Self::poll_transmit`] gave, all
    /// of them (`drained`) or some.
    pub fn handle_written(&mut self, drained: bool, now: Instant) {
        self.state.written(drained, now);
    }

    /// Runs all timers that are due.
    pub fn handle_deadline(&mut self, now: Instant) {
        while let Some(timer) = self.state.due(now) {
            self.step(Input::Due(timer), now);
        }
    }

    /// When [`Self::handle_deadline`] is next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.state.deadline()
    }

    /// What the peer should hear from now on.
    pub fn set_routes(&mut self, routes: Arc<Routes>) {
        self.shared.desired = routes;
    }

    /// Applies timers to the living session, from their next start on.
    pub fn set_timers(&mut self, timers: Timers) {
        self.shared.config.timers = timers;
        self.state.set_keepalive(timers.keepalive);
    }

    /// What the driver must do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.shared.actions.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// Octets to write, whole messages. Call it when all former ones are written;
    /// `None` when there is nothing to say.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut octets = std::mem::take(&mut self.shared.output);
        if let State::Established(established) = &mut self.state {
            let batch = established.out.next_batch(&self.shared.desired, BATCH);
            self.shared.counters.updates_sent += batch.updates;
            self.shared.events.extend(batch.end_of_rib.into_iter().map(Event::EndOfRibSent));
            if batch.updates > 0 {
                // RFC 4271 §4.4: an UPDATE says "alive" as a KEEPALIVE does.
                established.link.restart_keepalive(&mut self.shared.jitter, now);
            }
            octets.extend(batch.octets);
        }
        if octets.is_empty() {
            return None;
        }
        self.state.handed_out(now);
        Some(octets)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> StateName {
        self.state.name()
    }

    /// What was agreed, once Established.
    #[must_use]
    pub fn negotiated(&self) -> Option<&Negotiated> {
        match &self.state {
            State::Established(established) => Some(&established.link.negotiated),
            _ => None,
        }
    }

    /// Messages and routes since the session was made.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Prefixes that the peer holds from us.
    #[must_use]
    pub fn announced(&self) -> usize {
        match &self.state {
            State::Established(established) => established.out.announced(),
            _ => 0,
        }
    }

    /// Routes that cannot be sent, by reason.
    #[must_use]
    pub fn withheld(&self) -> BTreeMap<Withheld, usize> {
        match &self.state {
            State::Established(established) => established.out.withheld().clone(),
            _ => BTreeMap::new(),
        }
    }

    fn broken(&mut self, error: WireError, now: Instant) {
        // What follows in the stream cannot be trusted.
        self.framer = Framer::default();
        self.step(Input::Broken(error), now);
    }

    fn step(&mut self, input: Input, now: Instant) {
        let before = self.state.name();
        let state = std::mem::replace(&mut self.state, State::Idle { restart: None });
        let (state, cause) = self.shared.transition(state, input, now);
        self.state = state;
        let after = self.state.name();
        match after {
            StateName::OpenSent if before != after => self.framer = Framer::default(),
            StateName::OpenConfirm if before != after && self.state.extended_message() => {
                self.framer.allow_extended();
            }
            _ => {}
        }
        if before != after {
            self.shared.events.push_back(Event::Changed { from: before, to: after, cause });
        }
    }
}
