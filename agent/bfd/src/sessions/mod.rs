//! All sessions of a node: which one a datagram is for (RFC 5880 §6.3, RFC 5881 §3, RFC
//! 5883 §4), with names that nobody else has, and what is refused.
//!
//! A node has a handful of sessions, so a search goes through them all; nothing that comes
//! from the network adds to them.

mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::random::Random;
use crate::session::{Event, Session, SessionConfig, Transmit};
use crate::transport::{Hops, TTL};
use crate::wire::{Authentication, Control, Discriminator, Echo, Refused, State};

pub use path::{Arrival, Domain, Path};

/// How many datagrams were refused, by the rule that they broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refusals([u64; Refused::LABELS.len()]);

impl Refusals {
    /// Label and count of each rule.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refused::LABELS.into_iter().zip(self.0)
    }

    fn count(&mut self, refused: Refused) {
        self.0[refused.index()] += 1;
    }
}

/// A path that has a session already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another session goes to {} already: two peers with one address share a profile, or get different addresses", .0.peer)]
pub struct PathTaken(pub Path);

/// The sessions, by our discriminator.
#[derive(Debug)]
pub struct Sessions {
    sessions: BTreeMap<Discriminator, (Path, Session)>,
    random: Random,
    refusals: Refusals,
}

impl Sessions {
    /// None yet. `seed` makes discriminators, jitter and nonces.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { sessions: BTreeMap::new(), random: Random::new(seed), refusals: Refusals::default() }
    }

    /// A new session; its discriminator is random, so that a peer that remembers a former
    /// session of this node does not take this one for it.
    ///
    /// # Errors
    /// The path has one: RFC 5881 §3 allows only one.
    pub fn add(&mut self, path: Path, config: SessionConfig) -> Result<Discriminator, PathTaken> {
        if self.sessions.values().any(|(other, _)| other.overlaps(&path)) {
            return Err(PathTaken(path));
        }
        let discriminator = loop {
            let candidate = Discriminator::new(self.random.next_u32());
            if let Some(free) = candidate.filter(|it| !self.sessions.contains_key(it)) {
                break free;
            }
        };
        let session = Session::new(config, discriminator, self.random.next());
        self.sessions.insert(discriminator, (path, session));
        Ok(discriminator)
    }

    /// Forgets a session without a word; `disable` it before, and take the packet.
    pub fn remove(&mut self, discriminator: Discriminator) -> Option<Session> {
        self.sessions.remove(&discriminator).map(|(_, session)| session)
    }

    /// A session.
    #[must_use]
    pub fn get(&self, discriminator: Discriminator) -> Option<&Session> {
        self.sessions.get(&discriminator).map(|(_, session)| session)
    }

    /// A session, to change its parameters or hold it down.
    pub fn get_mut(&mut self, discriminator: Discriminator) -> Option<&mut Session> {
        self.sessions.get_mut(&discriminator).map(|(_, session)| session)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Session)> {
        self.sessions.values().map(|(path, session)| (path, session))
    }

    /// What was refused so far.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// A datagram that came to one of the control ports; whose session it was for.
    ///
    /// # Errors
    /// The first rule of RFC 5880 §6.8.6 that it breaks. It is counted and has no effect.
    pub fn handle_control(
        &mut self,
        arrival: &Arrival,
        payload: &[u8],
        now: Instant,
    ) -> Result<Discriminator, Refused> {
        let result = self.try_control(arrival, payload, now);
        if let Err(refused) = result {
            self.refusals.count(refused);
        }
        result
    }

    fn try_control(
        &mut self,
        arrival: &Arrival,
        payload: &[u8],
        now: Instant,
    ) -> Result<Discriminator, Refused> {
        let (packet, authentication) = Control::decode(payload)?;
        let (path, session) = self.select(arrival, &packet)?;
        // A packet from afar must not get in by the port for several hops.
        if path.hops != arrival.hops {
            return Err(Refused::WrongPort);
        }
        let least = match path.hops {
            Hops::Single => TTL,
            Hops::Multi => session.config().minimum_ttl,
        };
        if arrival.ttl < least {
            return Err(Refused::Ttl { got: arrival.ttl, least });
        }
        if authentication == Authentication::Present {
            return Err(Refused::Authenticated);
        }
        session.handle_packet(&packet, now);
        Ok(session.discriminator())
    }

    /// §6.8.6: by Your Discriminator alone once the peer knows it, whatever else the
    /// datagram says; by where it comes from before.
    fn select(&mut self, arrival: &Arrival, packet: &Control) -> Result<&mut (Path, Session), Refused> {
        if let Some(ours) = packet.your_discriminator {
            let unknown = Refused::UnknownDiscriminator(ours.get());
            let found = self.sessions.get_mut(&ours).ok_or(unknown)?;
            // Addresses of another routing domain mean something else.
            return if found.0.domain == arrival.domain { Ok(found) } else { Err(unknown) };
        }
        if !matches!(packet.state, State::Down | State::AdminDown) {
            return Err(Refused::MissingYourDiscriminator(packet.state));
        }
        self.sessions.values_mut().find(|(path, _)| path.fits(arrival)).ok_or(Refused::NoSession)
    }

    /// A datagram that came to the echo port.
    ///
    /// # Errors
    /// It is not an echo packet of ours that is waited for.
    pub fn handle_echo(&mut self, payload: &[u8], now: Instant) -> Result<Discriminator, Refused> {
        let result = Echo::decode(payload).and_then(|echo| {
            let session = self.get_mut(echo.discriminator).ok_or(Refused::ForeignEcho)?;
            session.handle_echo(&echo, now).map(|()| echo.discriminator)
        });
        if let Err(refused) = result {
            self.refusals.count(refused);
        }
        result
    }

    /// Runs all timers that are due.
    pub fn handle_deadline(&mut self, now: Instant) {
        for (_, session) in self.sessions.values_mut() {
            session.handle_deadline(now);
        }
    }

    /// When [`Self::handle_deadline`] and [`Self::poll_transmit`] are next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.sessions.values().filter_map(|(_, session)| session.next_deadline()).min()
    }

    /// The next packet to send, and of which session.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(Discriminator, Transmit)> {
        let sends = |(id, (_, session)): (&Discriminator, &mut (Path, Session))| {
            session.poll_transmit(now).map(|transmit| (*id, transmit))
        };
        self.sessions.iter_mut().find_map(sends)
    }

    /// What happened, and to which session.
    pub fn poll_event(&mut self) -> Option<(Discriminator, Event)> {
        self.sessions.iter_mut().find_map(|(id, (_, session))| Some((*id, session.poll_event()?)))
    }
}
