//! The state machine, pair by pair of states, and rule by rule of RFC 5880 §6.8.

mod echo;
mod model;
mod rules;
mod table;
mod timers;

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use super::*;
use crate::wire::Control;

const OURS: u32 = 0x11;
const THEIRS: u32 = 0x22;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn mult(multiplier: u8) -> NonZeroU8 {
    NonZeroU8::new(multiplier).unwrap()
}

fn discriminator(number: u32) -> Discriminator {
    Discriminator::new(number).unwrap()
}

/// 100 ms both ways, three packets.
fn config() -> SessionConfig {
    SessionConfig {
        transmit_interval: Interval::from_millis(100),
        receive_interval: Interval::from_millis(100),
        multiplier: mult(3),
        role: Role::Active,
        echo: None,
        loop_back: None,
        minimum_ttl: 254,
        control_plane: ControlPlane::Shared,
    }
}

/// A peer like us in this state.
fn theirs(state: State) -> Control {
    Control {
        diagnostic: Diagnostic::None,
        state,
        flags: Flags::default(),
        multiplier: mult(3),
        my_discriminator: discriminator(THEIRS),
        your_discriminator: Discriminator::new(OURS),
        desired_min_tx: Interval::from_millis(100),
        required_min_rx: Interval::from_millis(100),
        required_min_echo_rx: Interval::ZERO,
    }
}

fn polled(packet: Control) -> Control {
    Control { flags: Flags { poll: true, ..packet.flags }, ..packet }
}

fn answered(packet: Control) -> Control {
    Control { flags: Flags { last: true, ..packet.flags }, ..packet }
}

fn new(config: SessionConfig) -> Session {
    Session::new(config, discriminator(OURS), 1)
}

/// All control packets that are to be sent now.
fn sent(session: &mut Session, now: Instant) -> Vec<Control> {
    let mut packets = Vec::new();
    while let Some(transmit) = session.poll_transmit(now) {
        if let Transmit::Control(octets) = transmit {
            packets.push(Control::decode(&octets).unwrap().0);
        }
        assert!(packets.len() < 10, "it does not end");
    }
    packets
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// The changes of state among the events.
fn changes(session: &mut Session) -> Vec<(State, State, Cause)> {
    let change = |event| match event {
        Event::Changed { from, to, cause } => Some((from, to, cause)),
        Event::Paced(_) => None,
    };
    events(session).into_iter().filter_map(change).collect()
}

/// A session in a state, with nothing left to poll; up, its first Poll Sequence is over.
fn in_state(state: State, config: SessionConfig, now: Instant) -> Session {
    let mut session = new(config);
    sent(&mut session, now);
    match state {
        State::Down => {}
        State::AdminDown => session.disable(now),
        State::Init => session.handle_packet(&theirs(State::Down), now),
        State::Up => {
            session.handle_packet(&theirs(State::Init), now);
            sent(&mut session, now);
            session.handle_packet(&answered(theirs(State::Up)), now);
        }
    }
    assert_eq!(session.state(), state);
    sent(&mut session, now);
    events(&mut session);
    session
}
