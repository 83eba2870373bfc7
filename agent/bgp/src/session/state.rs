//! The six states and what each of them holds; nothing outlives its state.

use std::time::{Duration, Instant};

use super::backoff::Jitter;
use super::config::{LocalAddresses, Negotiated};
use super::event::StateName;
use crate::rib::AdjRibOut;
use crate::wire::UpdateReader;

/// RFC 9687 §3: at least eight minutes, or twice the hold time.
const SEND_HOLD: Duration = Duration::from_secs(8 * 60);

#[derive(Debug)]
pub(super) enum State {
    /// Stopped (`None`), or waiting after a failed session.
    Idle { restart: Option<Instant> },
    /// TCP is being connected, until `timeout`.
    Connect { timeout: Instant },
    /// Waiting to connect again.
    Active { retry: Instant },
    /// Our OPEN is sent.
    OpenSent { local: LocalAddresses, hold: Instant },
    /// Both OPENs are known.
    OpenConfirm { local: LocalAddresses, link: Link },
    /// Routes flow.
    Established(Box<Established>),
}

/// What both OPENs agreed on, and the timers that follow from it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) negotiated: Negotiated,
    pub(super) hold: Option<Instant>,
    pub(super) keepalive: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Established {
    pub(super) link: Link,
    pub(super) since: Instant,
    pub(super) out: AdjRibOut,
    /// Runs while the peer owes us room for octets.
    pub(super) send_hold: Option<Instant>,
    /// Whether a tolerated fault has been told (RFC 7606 §6: once is enough).
    pub(super) told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The pause after a failed session is over.
    IdleHold,
    /// The attempt took too long, or the pause before the next one is over.
    ConnectRetry,
    /// Nothing heard.
    Hold,
    /// Time to say "alive".
    Keepalive,
    /// Nothing taken (RFC 9687).
    SendHold,
}

impl Link {
    /// RFC 4271 §8.2.2: timers start with the OPEN accepted; a hold time of zero has none.
    pub(super) fn new(negotiated: Negotiated, jitter: &mut Jitter, now: Instant) -> Self {
        let mut link = Self { negotiated, hold: None, keepalive: None };
        link.heard(now);
        link.restart_keepalive(jitter, now);
        link
    }

    /// KEEPALIVE or UPDATE came (RFC 4271 §4.4).
    pub(super) fn heard(&mut self, now: Instant) {
        let hold = self.negotiated.hold_time;
        self.hold = (!hold.is_zero()).then(|| now + hold);
    }

    pub(super) fn restart_keepalive(&mut self, jitter: &mut Jitter, now: Instant) {
        let keepalive = self.negotiated.keepalive;
        self.keepalive = (!keepalive.is_zero()).then(|| now + jitter.apply(keepalive));
    }
}

impl Established {
    pub(super) fn send_hold_time(&self) -> Duration {
        SEND_HOLD.max(self.link.negotiated.hold_time * 2)
    }
}

impl State {
    pub(super) fn name(&self) -> StateName {
        match self {
            Self::Idle { .. } => StateName::Idle,
            Self::Connect { .. } => StateName::Connect,
            Self::Active { .. } => StateName::Active,
            Self::OpenSent { .. } => StateName::OpenSent,
            Self::OpenConfirm { .. } => StateName::OpenConfirm,
            Self::Established(_) => StateName::Established,
        }
    }

    fn timers(&self) -> [Option<(Instant, Timer)>; 3] {
        let at = |when: Option<Instant>, timer| when.map(|when| (when, timer));
        match self {
            Self::Idle { restart } => [at(*restart, Timer::IdleHold), None, None],
            Self::Connect { timeout } => [Some((*timeout, Timer::ConnectRetry)), None, None],
            Self::Active { retry } => [Some((*retry, Timer::ConnectRetry)), None, None],
            Self::OpenSent { hold, .. } => [Some((*hold, Timer::Hold)), None, None],
            Self::OpenConfirm { link, .. } => {
                [at(link.hold, Timer::Hold), at(link.keepalive, Timer::Keepalive), None]
            }
            Self::Established(established) => [
                at(established.link.hold, Timer::Hold),
                at(established.link.keepalive, Timer::Keepalive),
                at(established.send_hold, Timer::SendHold),
            ],
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers().into_iter().flatten().map(|(when, _)| when).min()
    }

    pub(super) fn due(&self, now: Instant) -> Option<Timer> {
        self.timers().into_iter().flatten().find(|(when, _)| *when <= now).map(|(_, timer)| timer)
    }

    /// How UPDATEs are read; `None` where there is no connection.
    pub(super) fn update_reader(&self) -> Option<UpdateReader> {
        let link = match self {
            Self::Idle { .. } | Self::Connect { .. } | Self::Active { .. } => return None,
            Self::OpenSent { .. } => return Some(UpdateReader { four_octet_as: true, internal: false }),
            Self::OpenConfirm { link, .. } => link,
            Self::Established(established) => &established.link,
        };
        let Negotiated { four_octet_as, internal, .. } = link.negotiated;
        Some(UpdateReader { four_octet_as, internal })
    }

    pub(super) fn extended_message(&self) -> bool {
        matches!(self, Self::OpenConfirm { link, .. } if link.negotiated.extended_message)
    }

    pub(super) fn handed_out(&mut self, now: Instant) {
        if let Self::Established(established) = self {
            let until = now + established.send_hold_time();
            established.send_hold.get_or_insert(until);
        }
    }

    /// RFC 9687 §3: the timer starts anew with every message that left.
    pub(super) fn written(&mut self, drained: bool, now: Instant) {
        if let Self::Established(established) = self {
            let until = now + established.send_hold_time();
            established.send_hold = (!drained).then_some(until);
        }
    }

    pub(super) fn set_keepalive(&mut self, configured: Option<Duration>) {
        let link = match self {
            Self::OpenConfirm { link, .. } => link,
            Self::Established(established) => &mut established.link,
            Self::Idle { .. } | Self::Connect { .. } | Self::Active { .. } | Self::OpenSent { .. } => return,
        };
        link.negotiated.keepalive = super::negotiate::keepalive(link.negotiated.hold_time, configured);
    }
}
