//! The transitions of RFC 4271 §8.2.2: one match over every state and input.

use std::time::Instant;

use super::backoff::Failure;
use super::config::{LocalAddresses, Negotiated};
use super::event::{Cause, Event, StateName, Stop};
use super::negotiate::negotiate;
use super::shared::{CONNECT_TIMEOUT, OPEN_TIMEOUT, Shared};
use super::state::{Established, Link, State, Timer};
use crate::rib::{AdjRibOut, Outbound};
use crate::wire::{Message, Notification, Open, UpdateEncoder, WireError};

/// Text of the shutdown communication (RFC 9003).
const SHUTDOWN_TEXT: &str = "clarion-agent is shutting down";

/// What can happen to a session (RFC 4271 §8.1).
#[derive(Debug)]
pub(super) enum Input {
    /// Events 1, 3: start.
    Start,
    /// Events 2, 8: stop.
    Stop(Stop),
    /// Events 9 to 13.
    Due(Timer),
    /// Events 16, 17.
    Connected(LocalAddresses),
    /// Event 18 before the connection.
    ConnectFailed(String),
    /// Event 18 after it; `None`: the peer closed.
    Closed(Option<String>),
    /// Events 19, 25 to 27.
    Message(Message),
    /// Events 21, 22, 28.
    Broken(WireError),
    /// RFC 5882 §4.2: the path to the peer failed, in the words of who watches it.
    PathDown(String),
    /// The path is alive again.
    PathUp,
}

fn closed(error: Option<String>) -> Cause {
    error.map_or(Cause::ClosedByPeer, Cause::TransportFailed)
}

impl Shared {
    /// The next state, and why.
    pub(super) fn transition(&mut self, state: State, input: Input, now: Instant) -> (State, Cause) {
        use Input as I;
        use State as S;
        match (state, input) {
            // A start is for those that are stopped (RFC 4271 §8.2.2: ignored elsewhere).
            (S::Idle { restart: None }, I::Start) => (self.connect(now), Cause::Started),
            (
                state @ (S::Idle { restart: Some(_) }
                | S::Connect { .. }
                | S::Active { .. }
                | S::OpenSent { .. }
                | S::OpenConfirm { .. }
                | S::Established(_)),
                I::Start,
            ) => (state, Cause::Started),

            (S::Idle { .. } | S::Active { .. }, I::Stop(stop)) => {
                (S::Idle { restart: None }, Cause::Stopped(stop))
            }
            (S::Connect { .. }, I::Stop(stop)) => self.stop(Stop::Silent, None, stop),
            (S::OpenSent { .. }, I::Stop(stop)) => self.stop(stop, None, stop),
            (S::OpenConfirm { link, .. }, I::Stop(stop)) => self.stop(stop, Some(&link.negotiated), stop),
            (S::Established(it), I::Stop(stop)) => self.stop(stop, Some(&it.link.negotiated), stop),

            (S::Idle { .. }, I::Due(Timer::IdleHold)) | (S::Active { .. }, I::Due(Timer::ConnectRetry)) => {
                (self.connect(now), Cause::RetryDue)
            }
            // Departure from RFC 4271 §8.2.2, which dials again at once: growing pauses.
            (S::Connect { .. }, I::Due(Timer::ConnectRetry)) => {
                self.actions.push_back(super::Action::Close);
                (self.active(Failure::Unreachable, now), Cause::ConnectTimeout(CONNECT_TIMEOUT))
            }
            (S::OpenSent { .. }, I::Due(Timer::Hold)) => self.fail(
                Some(&Notification::hold_timer_expired()),
                Cause::HoldTimerExpired(OPEN_TIMEOUT),
                now,
            ),
            (S::OpenConfirm { link, .. }, I::Due(Timer::Hold)) => self.hold_expired(&link, now),
            (S::Established(it), I::Due(Timer::Hold)) => {
                self.backoff.ended(it.since, now);
                self.hold_expired(&it.link, now)
            }
            (S::OpenConfirm { local, mut link }, I::Due(Timer::Keepalive)) => {
                self.keepalive(&mut link, now);
                (S::OpenConfirm { local, link }, Cause::OpenAccepted)
            }
            (S::Established(mut it), I::Due(Timer::Keepalive)) => {
                self.keepalive(&mut it.link, now);
                (S::Established(it), Cause::OpenConfirmed)
            }
            // RFC 9687 §3.1: it is told if there is room after all, and closed.
            (S::Established(it), I::Due(Timer::SendHold)) => {
                self.backoff.ended(it.since, now);
                let after = it.send_hold_time();
                self.fail(
                    Some(&Notification::send_hold_timer_expired()),
                    Cause::SendHoldTimerExpired(after),
                    now,
                )
            }
            // Timers that the state does not run.
            (
                state @ S::Idle { .. },
                I::Due(Timer::ConnectRetry | Timer::Hold | Timer::Keepalive | Timer::SendHold),
            )
            | (
                state @ (S::Connect { .. } | S::Active { .. }),
                I::Due(Timer::IdleHold | Timer::Hold | Timer::Keepalive | Timer::SendHold),
            )
            | (
                state @ S::OpenSent { .. },
                I::Due(Timer::IdleHold | Timer::ConnectRetry | Timer::Keepalive | Timer::SendHold),
            )
            | (
                state @ S::OpenConfirm { .. },
                I::Due(Timer::IdleHold | Timer::ConnectRetry | Timer::SendHold),
            )
            | (state @ S::Established(_), I::Due(Timer::IdleHold | Timer::ConnectRetry)) => {
                (state, Cause::RetryDue)
            }

            (S::Connect { .. } | S::Active { .. }, I::Connected(local)) => {
                (self.send_open(local, now), Cause::Connected)
            }
            // Nobody asked for it, or there is one already: the driver drops it.
            (
                state @ (S::Idle { .. } | S::OpenSent { .. } | S::OpenConfirm { .. } | S::Established(_)),
                I::Connected(_),
            ) => (state, Cause::Connected),

            (S::Connect { .. }, I::ConnectFailed(error)) => {
                (self.active(Failure::Unreachable, now), Cause::ConnectFailed(error))
            }
            (
                state @ (S::Idle { .. }
                | S::Active { .. }
                | S::OpenSent { .. }
                | S::OpenConfirm { .. }
                | S::Established(_)),
                I::ConnectFailed(error),
            ) => (state, Cause::ConnectFailed(error)),

            (S::Connect { .. }, I::Closed(error)) => (self.active(Failure::Unreachable, now), closed(error)),
            // RFC 4271 §8.2.2, OpenSent: back to Active.
            (S::OpenSent { .. }, I::Closed(error)) => (self.active(Failure::Session, now), closed(error)),
            (S::OpenConfirm { .. }, I::Closed(error)) => (self.idle(now), closed(error)),
            (S::Established(it), I::Closed(error)) => {
                self.backoff.ended(it.since, now);
                (self.idle(now), closed(error))
            }
            (state @ (S::Idle { .. } | S::Active { .. }), I::Closed(error)) => (state, closed(error)),

            (S::OpenSent { local, .. }, I::Message(message)) => self.in_open_sent(local, message, now),
            (S::OpenConfirm { local, link }, I::Message(message)) => {
                self.in_open_confirm(local, link, message, now)
            }
            (S::Established(it), I::Message(message)) => self.in_established(it, message, now),
            (S::OpenSent { .. } | S::OpenConfirm { .. }, I::Broken(error)) => self.broken(error, now),
            (S::Established(it), I::Broken(error)) => {
                self.backoff.ended(it.since, now);
                self.broken(error, now)
            }
            // An attempt that is under way ends by its own timer; nothing is lost with it.
            (state @ (S::Idle { .. } | S::Connect { .. } | S::Active { .. }), I::PathDown(why)) => {
                (state, Cause::PathDown(why))
            }
            (S::OpenSent { .. }, I::PathDown(why)) => self.path_down(None, why, now),
            (S::OpenConfirm { link, .. }, I::PathDown(why)) => {
                self.path_down(Some(&link.negotiated), why, now)
            }
            (S::Established(it), I::PathDown(why)) => {
                self.backoff.ended(it.since, now);
                self.path_down(Some(&it.link.negotiated), why, now)
            }
            // The pause was for a path that was down.
            (S::Idle { restart: Some(_) } | S::Active { .. }, I::PathUp) => {
                (self.connect(now), Cause::PathUp)
            }
            (
                state @ (S::Idle { restart: None }
                | S::Connect { .. }
                | S::OpenSent { .. }
                | S::OpenConfirm { .. }
                | S::Established(_)),
                I::PathUp,
            ) => (state, Cause::PathUp),

            // Octets without a connection; `handle_bytes` lets none through.
            (
                state @ (S::Idle { .. } | S::Connect { .. } | S::Active { .. }),
                I::Message(_) | I::Broken(_),
            ) => (state, Cause::ClosedByPeer),
        }
    }

    fn in_open_sent(&mut self, local: LocalAddresses, message: Message, now: Instant) -> (State, Cause) {
        match message {
            Message::Open(open) => self.opened(local, &open, now),
            Message::Notification(notification) => self.notified(notification, now),
            other @ (Message::Keepalive | Message::Update(_) | Message::RouteRefresh(_)) => {
                self.unexpected(StateName::OpenSent, &other, now)
            }
        }
    }

    fn in_open_confirm(
        &mut self,
        local: LocalAddresses,
        mut link: Link,
        message: Message,
        now: Instant,
    ) -> (State, Cause) {
        match message {
            Message::Keepalive => {
                self.counters.keepalives_received += 1;
                link.heard(now);
                (self.establish(local, link, now), Cause::OpenConfirmed)
            }
            Message::Notification(notification) => self.notified(notification, now),
            other @ (Message::Open(_) | Message::Update(_) | Message::RouteRefresh(_)) => {
                self.unexpected(StateName::OpenConfirm, &other, now)
            }
        }
    }

    fn in_established(&mut self, mut it: Box<Established>, message: Message, now: Instant) -> (State, Cause) {
        match message {
            Message::Keepalive => {
                self.counters.keepalives_received += 1;
                it.link.heard(now);
            }
            Message::Update(update) => {
                it.link.heard(now);
                self.counters.updates_received += 1;
                self.counters.prefixes_received += u64::from(update.announced);
                self.counters.prefixes_withdrawn += u64::from(update.withdrawn);
                if let Some(fault) = update.tolerated {
                    self.counters.updates_tolerated += 1;
                    if !std::mem::replace(&mut it.told, true) {
                        self.events.push_back(Event::UpdateTolerated(fault));
                    }
                }
                self.events.extend(update.end_of_rib.map(Event::EndOfRibReceived));
            }
            // RFC 2918 §4: all routes of the family again; families not agreed on are ignored.
            Message::RouteRefresh(refresh) => {
                self.counters.refreshes_received += 1;
                if let Some(family) = refresh.family.filter(|f| it.link.negotiated.families.contains(f)) {
                    it.out.refresh(family);
                    self.events.push_back(Event::RefreshRequested(family));
                }
            }
            Message::Notification(notification) => {
                self.backoff.ended(it.since, now);
                return self.notified(notification, now);
            }
            Message::Open(_) => {
                self.backoff.ended(it.since, now);
                return self.unexpected(StateName::Established, &message, now);
            }
        }
        (State::Established(it), Cause::OpenConfirmed)
    }

    fn opened(&mut self, local: LocalAddresses, open: &Open, now: Instant) -> (State, Cause) {
        self.counters.opens_received += 1;
        match negotiate(&self.config, &local, open) {
            Ok(negotiated) => {
                self.events.push_back(Event::Negotiated(Box::new(negotiated.clone())));
                // RFC 4271 §8.2.2: KEEPALIVE answers the OPEN, whatever still waits.
                self.output.extend(crate::wire::encode_keepalive());
                self.counters.keepalives_sent += 1;
                let link = Link::new(negotiated, &mut self.jitter, now);
                (State::OpenConfirm { local, link }, Cause::OpenAccepted)
            }
            Err(refusal) => self.fail(Some(&refusal.notification()), Cause::OpenRefused(refusal), now),
        }
    }

    fn establish(&mut self, local: LocalAddresses, link: Link, now: Instant) -> State {
        let it = &link.negotiated;
        let out = AdjRibOut::new(Outbound {
            encoder: UpdateEncoder { four_octet_as: it.four_octet_as, max_message: it.max_message() },
            internal: it.internal,
            local_asn: it.local_asn,
            local,
            offered: it.offered.clone(),
            families: it.families.clone(),
            extended_next_hop: it.extended_next_hop,
        });
        // The R bit tells of this process's start, not of later sessions (RFC 4724 §3).
        if let Some(restart) = &mut self.config.graceful_restart {
            restart.restarted = false;
        }
        State::Established(Box::new(Established { link, since: now, out, send_hold: None, told: false }))
    }

    fn keepalive(&mut self, link: &mut Link, now: Instant) {
        self.send_keepalive();
        link.restart_keepalive(&mut self.jitter, now);
    }

    fn hold_expired(&mut self, link: &Link, now: Instant) -> (State, Cause) {
        let after = link.negotiated.hold_time;
        self.fail(Some(&Notification::hold_timer_expired()), Cause::HoldTimerExpired(after), now)
    }

    /// RFC 9384: the peer may be told over a path that works one way, and must then not
    /// keep routes over it (RFC 8538 §3.1).
    fn path_down(&mut self, negotiated: Option<&Negotiated>, why: String, now: Instant) -> (State, Cause) {
        let keeps = negotiated.is_some_and(|n| n.graceful_notification);
        let told = if keeps { Notification::bfd_down().hard() } else { Notification::bfd_down() };
        self.fail(Some(&told), Cause::PathDown(why), now)
    }

    fn notified(&mut self, notification: Notification, now: Instant) -> (State, Cause) {
        self.counters.notifications_received += 1;
        // RFC 4271 §6.4: a NOTIFICATION is never answered with one.
        self.fail(None, Cause::NotificationReceived(notification), now)
    }

    fn broken(&mut self, error: WireError, now: Instant) -> (State, Cause) {
        self.fail(error.notification().as_ref(), Cause::PeerMisbehaved(error), now)
    }

    /// RFC 6608 §3: the subcode says in which state.
    fn unexpected(&mut self, state: StateName, message: &Message, now: Instant) -> (State, Cause) {
        let subcode = match state {
            StateName::OpenSent => 1,
            StateName::OpenConfirm => 2,
            StateName::Established => 3,
            StateName::Idle | StateName::Connect | StateName::Active => 0,
        };
        let cause = Cause::UnexpectedMessage { state, message: message.name() };
        self.fail(Some(&Notification::new(5, subcode)), cause, now)
    }

    /// Ends the connection the way `how` says; `negotiated` decides whether the peer
    /// would take a NOTIFICATION for a pause only (RFC 8538).
    fn stop(&mut self, how: Stop, negotiated: Option<&Negotiated>, stop: Stop) -> (State, Cause) {
        let keeps = negotiated.is_some_and(|n| n.graceful_notification);
        let notification = match how {
            Stop::Silent => None,
            Stop::Shutdown => Some(Notification::shutdown(SHUTDOWN_TEXT)),
            Stop::Deconfigured => Some(Notification::deconfigured()),
            Stop::Reconfigured => Some(Notification::reconfigured()),
        };
        // RFC 8538 §3.1: routes that are not to come back must not be kept. A session
        // that follows at once is what graceful restart is for.
        let hard = keeps && matches!(how, Stop::Shutdown | Stop::Deconfigured);
        let notification = notification.map(|n| if hard { n.hard() } else { n });
        if let Some(notification) = &notification {
            self.send_notification(notification);
        }
        self.actions.push_back(super::Action::Close);
        (State::Idle { restart: None }, Cause::Stopped(stop))
    }
}
