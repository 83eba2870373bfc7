//! One session as the driver sees it: who uses it, its socket, and what of its life goes into
//! the log.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use clarion_bfd::Session;
use clarion_bfd::session::{Cause, Timing};
use clarion_bfd::wire::{Discriminator, State};

use super::status::BfdStatus;
use super::transmit::Transmitter;

/// Lines of one session in a [`WINDOW`]; the rest is counted.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// How often a session may be heard of: the network must not fill the log.
#[derive(Debug, Default)]
struct Quota {
    begun: Option<Instant>,
    lines: u32,
    hidden: u64,
}

impl Quota {
    /// The lines that were left out before this one; `None` if it is to be left out too.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= WINDOW) {
            self.begun = Some(now);
            self.lines = 0;
        }
        self.lines += 1;
        if self.lines > LINES {
            self.hidden += 1;
            return None;
        }
        Some(std::mem::take(&mut self.hidden))
    }
}

pub(super) struct Entry {
    pub(super) id: Discriminator,
    /// BGPPeers.
    pub(super) users: BTreeSet<String>,
    pub(super) profile: String,
    peer: IpAddr,
    transmitter: Transmitter,
    since: SystemTime,
    cause: Option<Cause>,
    failures: u64,
    failure: Option<Cause>,
    unsent: Option<String>,
    quota: Quota,
}

impl Entry {
    pub(super) fn new(
        id: Discriminator,
        users: BTreeSet<String>,
        peer: IpAddr,
        profile: String,
        transmitter: Transmitter,
    ) -> Self {
        Self {
            id,
            users,
            profile,
            peer,
            transmitter,
            since: SystemTime::now(),
            cause: None,
            failures: 0,
            failure: None,
            unsent: None,
            quota: Quota::default(),
        }
    }

    /// Sends a packet; whether that is news: it fails for another reason than the one before,
    /// or no longer.
    pub(super) fn send(&mut self, octets: &[u8]) -> bool {
        let unsent = self.transmitter.send(octets).err().map(|error| error.to_string());
        let news = unsent != self.unsent;
        self.unsent = unsent;
        news
    }

    pub(super) fn changed(&mut self, from: State, to: State, cause: Cause, now: Instant) {
        // RFC 5882 §4.2: a session that an operator holds down says nothing about the path.
        let operator = matches!(cause, Cause::NeighborAdminDown(_) | Cause::Disabled);
        if from == State::Up && !operator {
            self.failures += 1;
            self.failure = Some(cause);
        }
        (self.since, self.cause) = (SystemTime::now(), Some(cause));
        let name = self.users.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let (peer, profile) = (self.peer, self.profile.as_str());
        let telling = from == State::Up || to == State::Up;
        match telling.then(|| self.quota.line(now)).flatten() {
            Some(0) => tracing::info!(name, %peer, profile, %from, %to, %cause, "BFD session"),
            Some(hidden) => tracing::info!(
                name, %peer, profile, %from, %to, %cause, hidden,
                "BFD session; it changes often, some lines were left out"
            ),
            None => tracing::debug!(name, %peer, profile, %from, %to, %cause, "BFD session"),
        }
    }

    pub(super) fn paced(&self, timing: &Timing) {
        tracing::debug!(peer = %self.peer, ?timing, "BFD pace agreed");
    }

    pub(super) fn status(
        &self,
        session: &Session,
        device: Option<String>,
        problem: Option<String>,
    ) -> BfdStatus {
        let unsent = || self.unsent.as_ref().map(|why| format!("packets cannot be sent: {why}"));
        BfdStatus {
            profile: self.profile.clone(),
            peer: self.peer,
            device,
            state: session.state(),
            since: self.since,
            cause: self.cause.map(|cause| cause.to_string()),
            failures: self.failures,
            failure: self.failure.map(|cause| cause.to_string()),
            timing: session.timing(),
            counters: *session.counters(),
            problem: problem.or_else(unsent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_flaps_is_told_ten_times_a_minute_and_what_was_left_out_is_counted() {
        let begin = Instant::now();
        let mut quota = Quota::default();
        let told = (0..1000).filter(|_| quota.line(begin) == Some(0)).count();
        assert_eq!(told, 10);
        assert_eq!(quota.line(begin + WINDOW), Some(990));
        assert_eq!(quota.line(begin + WINDOW), Some(0));
    }
}
