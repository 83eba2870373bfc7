//! One BFD session as a state machine (RFC 5880 §6.8), without sockets or clock.
//!
//! ```text
//!                        peer: Down
//!             ┌──────┐ ─────────────► ┌──────┐
//!        ┌──► │ Down │                │ Init │
//!        │    └──────┘ ◄───────────── └──────┘
//!        │        │     peer: AdminDown   │
//!        │        │     nothing heard     │ peer: Init, Up
//!        │        │ peer: Init            ▼
//!        │        └─────────────────► ┌──────┐
//!        └─────────────────────────── │  Up  │
//!          peer: Down, AdminDown;     └──────┘
//!          nothing heard, no echo
//!
//!   AdminDown: from each state and back to Down, by `disable` and `enable`.
//! ```
//!
//! The driver hands packets to [`Session::handle_packet`], then takes everything from
//! [`Session::poll_transmit`] and [`Session::poll_event`], and calls
//! [`Session::handle_deadline`] at [`Session::next_deadline`].
//!
//! Timers are not kept but follow from what is known: the detection time from when the peer
//! was last heard and what both sides say, the next packet from when the last one left. So a
//! parameter that changes counts from that moment, in both directions.

mod config;
mod echo;
mod event;
mod fsm;
mod pace;
mod remote;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::wire::{
    CONTROL_LENGTH, Control, Diagnostic, Discriminator, ECHO_LENGTH, Echo, Flags, Interval, Refused, State,
};

pub use config::{ControlPlane, Role, SessionConfig};
use echo::Echoing;
pub use event::{Cause, Event, Timing};
use pace::{Intervals, Jitter, Pace, Poll, waits_for_peer};
pub use remote::Remote;

/// Packets and changes since the session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Control packets accepted.
    pub control_received: u64,
    /// Control packets handed out.
    pub control_sent: u64,
    /// Echo packets of ours that came back.
    pub echo_received: u64,
    /// Echo packets handed out.
    pub echo_sent: u64,
    /// Times that the session came up.
    pub ups: u64,
    /// Times that it ceased to be up.
    pub downs: u64,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// To the peer's control port.
    Control([u8; CONTROL_LENGTH]),
    /// To the echo port, addressed so that the peer's forwarding sends it back.
    Echo([u8; ECHO_LENGTH]),
}

/// A session with one peer over one path.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    discriminator: Discriminator,
    state: State,
    diagnostic: Diagnostic,
    remote: Option<Remote>,
    pace: Pace,
    echoing: Option<Echoing>,
    /// A packet with P waits for its answer.
    answer: bool,
    /// The last packet, without P and F: whatever differs from it is sent at once.
    sent: Option<Control>,
    /// When the last one left that was not an answer.
    sent_at: Option<Instant>,
    jitter: Jitter,
    random: Random,
    told: Option<Timing>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Session {
    /// A session in state Down that begins to send at once if it is [`Role::Active`]. `seed`
    /// feeds its jitter and nonces.
    #[must_use]
    pub fn new(config: SessionConfig, discriminator: Discriminator, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let jitter = Jitter::draw(&mut random, config.multiplier.get());
        Self {
            pace: Pace::new(Intervals::wanted(&config, State::Down, false)),
            config,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::None,
            remote: None,
            echoing: None,
            answer: false,
            sent: None,
            sent_at: None,
            jitter,
            random,
            told: None,
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A control packet for this session, which [`crate::Sessions`] has checked (§6.8.6).
    pub fn handle_packet(&mut self, packet: &Control, now: Instant) {
        self.counters.control_received += 1;
        self.remote = Some(Remote::heard(packet, now));
        if packet.flags.last {
            self.pace.answered();
        }
        if self.state != State::AdminDown {
            if let Some((to, cause)) = fsm::heard(self.state, packet.state, packet.diagnostic) {
                self.enter(to, cause);
            }
            self.answer |= packet.flags.poll;
        }
        self.settle(now);
    }

    /// An echo packet came back.
    ///
    /// # Errors
    /// [`Refused::ForeignEcho`]: it is not waited for.
    pub fn handle_echo(&mut self, echo: &Echo, now: Instant) -> Result<(), Refused> {
        let expected = self.echoing.as_mut().is_some_and(|it| it.came_back(echo.nonce, now));
        if !expected {
            return Err(Refused::ForeignEcho);
        }
        self.counters.echo_received += 1;
        Ok(())
    }

    /// Runs the timers that are due but for sending, which [`Self::poll_transmit`] does.
    pub fn handle_deadline(&mut self, now: Instant) {
        let echo = self.echo_detection().zip(self.echoing.as_ref());
        if let Some((after, _)) = echo.filter(|(after, echoing)| echoing.missed_at(*after) <= now) {
            self.enter(State::Down, Cause::EchoFailed(after));
        }
        if self.expires_at().is_some_and(|at| at <= now) {
            let after = self.detection_time().unwrap_or_default();
            // §6.8.1: who is not heard is forgotten, with all that it has said.
            self.remote = None;
            self.answer = false;
            self.pace.forget();
            match self.state {
                State::Init | State::Up => self.enter(State::Down, Cause::DetectionTimeExpired(after)),
                State::AdminDown | State::Down => {}
            }
        }
        self.settle(now);
    }

    /// When [`Self::handle_deadline`] and [`Self::poll_transmit`] are next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let echo = self.echoing.as_ref();
        let next_echo = self.echo_interval().zip(echo).map(|(interval, it)| it.next(interval));
        let missed = self.echo_detection().zip(echo).map(|(after, it)| it.missed_at(after));
        [self.expires_at(), self.periodic_at(), next_echo, missed].into_iter().flatten().min()
    }

    /// The next packet to send; `None` when there is nothing to say. Call it after every
    /// other call until it gives `None`.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if let Some(control) = self.next_control(now) {
            self.counters.control_sent += 1;
            return Some(Transmit::Control(control.encode()));
        }
        let interval = self.echo_interval()?;
        let echoing = self.echoing.as_mut().filter(|it| it.next(interval) <= now)?;
        let jitter = Jitter::draw(&mut self.random, self.config.multiplier.get());
        let nonce = echoing.send(&mut self.random, jitter, now);
        self.counters.echo_sent += 1;
        Some(Transmit::Echo(Echo { discriminator: self.discriminator, nonce }.encode()))
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Other parameters for the living session: a Poll Sequence tells the peer, and the
    /// session stays up (§6.8.3).
    pub fn set_config(&mut self, config: SessionConfig, now: Instant) {
        self.config = config;
        self.settle(now);
    }

    /// Holds the session down and tells the peer (§6.8.16), who then knows that this says
    /// nothing about the path (RFC 5882 §4.2).
    pub fn disable(&mut self, now: Instant) {
        if self.state != State::AdminDown {
            self.answer = false;
            self.enter(State::AdminDown, Cause::Disabled);
            self.settle(now);
        }
    }

    /// Lets a session that was held down rise again.
    pub fn enable(&mut self, now: Instant) {
        if self.state == State::AdminDown {
            self.enter(State::Down, Cause::Enabled);
            self.settle(now);
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Why the state changed last, as the peer is told it.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// Our name for the session.
    #[must_use]
    pub fn discriminator(&self) -> Discriminator {
        self.discriminator
    }

    /// The parameters.
    #[must_use]
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// What the peer last said; `None` when it is not heard.
    #[must_use]
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Packets and changes.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The pace at which the session runs; `None` while the peer is not heard.
    #[must_use]
    pub fn timing(&self) -> Option<Timing> {
        let remote = self.remote.as_ref()?;
        Some(Timing {
            transmit: self.transmit_interval().duration(),
            receive: self.pace.in_force.rx.max(remote.desired_min_tx).duration(),
            detection: self.detection_time()?,
            echo: self.echo_interval(),
        })
    }

    /// For how long the peer goes on counting on this side after our last packet (§6.8.4, seen
    /// from there): a session that is to go in silence stays for so long.
    #[must_use]
    pub fn missed_after(&self) -> Duration {
        self.transmit_interval().duration() * u32::from(self.config.multiplier.get())
    }

    fn enter(&mut self, to: State, cause: Cause) {
        let from = std::mem::replace(&mut self.state, to);
        if from == to {
            return;
        }
        self.diagnostic = cause.diagnostic();
        self.counters.ups += u64::from(to == State::Up);
        self.counters.downs += u64::from(from == State::Up);
        self.events.push_back(Event::Changed { from, to, cause });
    }

    /// Everything that follows from state, parameters and the peer's last word.
    fn settle(&mut self, now: Instant) {
        let up = self.state == State::Up;
        let echo_runs = self.echo_interval().is_some();
        if !echo_runs {
            self.echoing = None;
        } else if self.echoing.is_none() {
            let jitter = Jitter::draw(&mut self.random, self.config.multiplier.get());
            self.echoing = Some(Echoing::new(jitter, now));
        }
        let wanted = Intervals::wanted(&self.config, self.state, echo_runs);
        self.pace.follow(wanted, self.remote.is_some(), up);
        let timing = if up { self.timing() } else { None };
        if timing != self.told {
            self.told = timing;
            self.events.extend(timing.map(Event::Paced));
        }
    }

    /// The packet as it would be now, without P and F.
    fn packet(&self) -> Control {
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            flags: Flags {
                independent: self.config.control_plane == ControlPlane::Independent,
                ..Flags::default()
            },
            multiplier: self.config.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.as_ref().map(|remote| remote.discriminator),
            desired_min_tx: self.pace.announced.tx,
            required_min_rx: self.pace.announced.rx,
            required_min_echo_rx: self.config.loop_back.unwrap_or(Interval::ZERO),
        }
    }

    fn next_control(&mut self, now: Instant) -> Option<Control> {
        let packet = self.packet();
        if std::mem::take(&mut self.answer) {
            // §6.8.7: at once, whatever else forbids to send. It is not one of the periodic
            // packets, or a peer that asks often would keep our own question from leaving.
            self.sent = Some(packet);
            let flags = Flags { last: true, ..packet.flags };
            return Some(Control { flags, ..packet });
        }
        if self.silent() {
            return None;
        }
        // §6.8.7: what is new need not wait for the next periodic packet.
        let news = self.sent != Some(packet) || self.sent_at.is_none();
        if !news && self.periodic_at().is_none_or(|at| at > now) {
            return None;
        }
        self.sent = Some(packet);
        self.sent_at = Some(now);
        self.jitter = Jitter::draw(&mut self.random, self.config.multiplier.get());
        let poll = self.pace.poll != Poll::Idle;
        self.pace.asked();
        Some(Control { flags: Flags { poll, ..packet.flags }, ..packet })
    }

    /// Whether §6.8.7 forbids periodic packets.
    fn silent(&self) -> bool {
        let Some(remote) = &self.remote else { return waits_for_peer(self.config.role, false) };
        let both_up = self.state == State::Up && remote.state == State::Up;
        let demanded = remote.demand && both_up && self.pace.poll == Poll::Idle;
        demanded || remote.required_min_rx == Interval::ZERO
    }

    /// §6.8.2.
    fn transmit_interval(&self) -> Interval {
        let theirs = self.remote.as_ref().map_or(Interval::LEAST, |remote| remote.required_min_rx);
        self.pace.in_force.tx.max(theirs)
    }

    fn periodic_at(&self) -> Option<Instant> {
        let sent_at = self.sent_at.filter(|_| !self.silent())?;
        Some(sent_at + self.jitter.apply(self.transmit_interval().duration()))
    }

    /// §6.8.4: the peer's multiplier times the interval that both sides agree on for it.
    fn detection_time(&self) -> Option<Duration> {
        let remote = self.remote.as_ref()?;
        let interval = self.pace.in_force.rx.max(remote.desired_min_tx);
        Some(interval.duration() * u32::from(remote.multiplier.get()))
    }

    fn expires_at(&self) -> Option<Instant> {
        Some(self.remote.as_ref()?.heard + self.detection_time()?)
    }

    /// §6.8.9: only while up, and no more often than the peer loops back.
    fn echo_interval(&self) -> Option<Duration> {
        let remote = self.remote.as_ref().filter(|_| self.state == State::Up)?;
        let theirs = Some(remote.required_min_echo_rx).filter(|theirs| *theirs != Interval::ZERO)?;
        Some(self.config.echo?.max(theirs).duration())
    }

    fn echo_detection(&self) -> Option<Duration> {
        Some(self.echo_interval()? * u32::from(self.config.multiplier.get()))
    }
}
