//! Which session a datagram is for, and who is refused.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Instant;

use super::*;
use crate::session::{ControlPlane, Role};
use crate::wire::{Diagnostic, Flags, Interval};

fn config() -> SessionConfig {
    SessionConfig {
        transmit_interval: Interval::from_millis(100),
        receive_interval: Interval::from_millis(100),
        multiplier: NonZeroU8::new(3).unwrap(),
        role: Role::Active,
        echo: None,
        loop_back: None,
        minimum_ttl: 250,
        control_plane: ControlPlane::Shared,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn path(hops: Hops, peer: &str) -> Path {
    Path { domain: Domain(0), hops, interface: None, local: None, peer: ip(peer) }
}

fn from(hops: Hops, source: &str) -> Arrival {
    let destination = ip("192.0.2.1");
    Arrival { domain: Domain(0), hops, interface: 2, source: ip(source), destination, ttl: 255 }
}

/// A first packet.
fn hello() -> Control {
    Control {
        diagnostic: Diagnostic::None,
        state: State::Down,
        flags: Flags::default(),
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: Discriminator::new(9).unwrap(),
        your_discriminator: None,
        desired_min_tx: Interval::SLOW,
        required_min_rx: Interval::SLOW,
        required_min_echo_rx: Interval::ZERO,
    }
}

#[test]
fn first_packets_go_by_address_and_kind_and_later_ones_by_name() {
    let now = Instant::now();
    let mut sessions = Sessions::new(1);
    let near = sessions.add(path(Hops::Single, "192.0.2.2"), config()).unwrap();
    let far = sessions.add(path(Hops::Multi, "192.0.2.2"), config()).unwrap();
    let v6 = sessions.add(path(Hops::Single, "2001:db8::2"), config()).unwrap();
    let mut heard =
        |arrival: Arrival, packet: Control| sessions.handle_control(&arrival, &packet.encode(), now);
    assert_eq!(heard(from(Hops::Single, "192.0.2.2"), hello()), Ok(near));
    assert_eq!(heard(from(Hops::Multi, "192.0.2.2"), hello()), Ok(far));
    assert_eq!(heard(from(Hops::Single, "2001:db8::2"), hello()), Ok(v6));
    assert_eq!(heard(from(Hops::Single, "192.0.2.3"), hello()), Err(Refused::NoSession));
    // RFC 5880 §6.3: the address may change once the name is known.
    let named = Control { your_discriminator: Some(near), ..hello() };
    assert_eq!(heard(from(Hops::Single, "192.0.2.77"), named), Ok(near));
    let stale = Control { your_discriminator: Discriminator::new(near.get() ^ 1), ..hello() };
    let refused = heard(from(Hops::Single, "192.0.2.2"), stale);
    assert_eq!(refused, Err(Refused::UnknownDiscriminator(near.get() ^ 1)));
    for state in [State::Init, State::Up] {
        let refused = heard(from(Hops::Single, "192.0.2.2"), Control { state, ..hello() });
        assert_eq!(refused, Err(Refused::MissingYourDiscriminator(state)));
    }
}

#[test]
fn interface_own_address_and_routing_domain_tell_paths_apart() {
    let now = Instant::now();
    let mut sessions = Sessions::new(1);
    let base = path(Hops::Single, "fe80::1");
    let second = sessions.add(Path { interface: Some(2), ..base }, config()).unwrap();
    let third = sessions.add(Path { interface: Some(3), ..base }, config()).unwrap();
    let other = sessions.add(Path { domain: Domain(1), ..base }, config()).unwrap();
    let mut heard = |arrival, packet: Control| sessions.handle_control(&arrival, &packet.encode(), now);
    let arrival = from(Hops::Single, "fe80::1");
    assert_eq!(heard(arrival, hello()), Ok(second));
    assert_eq!(heard(Arrival { interface: 3, ..arrival }, hello()), Ok(third));
    assert_eq!(heard(Arrival { interface: 4, ..arrival }, hello()), Err(Refused::NoSession));
    assert_eq!(heard(Arrival { domain: Domain(1), ..arrival }, hello()), Ok(other));
    let named = Control { your_discriminator: Some(other), ..hello() };
    assert_eq!(heard(arrival, named), Err(Refused::UnknownDiscriminator(other.get())), "another VRF");

    let base = path(Hops::Multi, "192.0.2.2");
    let ours = sessions.add(Path { local: Some(ip("192.0.2.1")), ..base }, config()).unwrap();
    let mut heard = |arrival, packet: Control| sessions.handle_control(&arrival, &packet.encode(), now);
    let arrival = from(Hops::Multi, "192.0.2.2");
    assert_eq!(heard(arrival, hello()), Ok(ours));
    let elsewhere = Arrival { destination: ip("192.0.2.9"), ..arrival };
    assert_eq!(heard(elsewhere, hello()), Err(Refused::NoSession));
}

#[test]
fn a_path_has_one_session() {
    let mut sessions = Sessions::new(1);
    let base = path(Hops::Single, "192.0.2.2");
    let first = sessions.add(Path { interface: Some(2), ..base }, config()).unwrap();
    sessions.add(Path { interface: Some(3), ..base }, config()).unwrap();
    for taken in [base, Path { interface: Some(2), ..base }, Path { local: Some(ip("192.0.2.1")), ..base }] {
        assert_eq!(sessions.add(taken, config()), Err(PathTaken(taken)));
    }
    assert!(sessions.remove(first).is_some());
    assert!(sessions.add(Path { interface: Some(2), ..base }, config()).is_ok());
}

#[test]
fn who_is_too_far_away_is_refused_by_whatever_port() {
    let now = Instant::now();
    let mut sessions = Sessions::new(1);
    let near = sessions.add(path(Hops::Single, "192.0.2.2"), config()).unwrap();
    let far = sessions.add(path(Hops::Multi, "192.0.2.3"), config()).unwrap();
    let mut heard = |hops, source, ttl, name| {
        let packet = Control { your_discriminator: name, ..hello() };
        sessions.handle_control(&Arrival { ttl, ..from(hops, source) }, &packet.encode(), now)
    };
    let near_ttl = Err(Refused::Ttl { got: 254, least: 255 });
    assert_eq!(heard(Hops::Single, "192.0.2.2", 254, None), near_ttl);
    assert_eq!(heard(Hops::Single, "192.0.2.2", 254, Some(near)), near_ttl);
    assert_eq!(heard(Hops::Multi, "192.0.2.2", 250, Some(near)), Err(Refused::WrongPort));
    assert_eq!(heard(Hops::Multi, "192.0.2.3", 250, None), Ok(far));
    let far_ttl = Err(Refused::Ttl { got: 249, least: 250 });
    assert_eq!(heard(Hops::Multi, "192.0.2.3", 249, Some(far)), far_ttl);
    assert_eq!(heard(Hops::Single, "192.0.2.3", 255, Some(far)), Err(Refused::WrongPort));
    let counted: Vec<_> = sessions.refusals().iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("ttl", 3), ("wrongPort", 2)]);
    assert_eq!(sessions.get(near).unwrap().remote(), None, "refused packets have no effect");
}

#[test]
fn an_authenticated_packet_is_refused_after_its_session_was_found() {
    let now = Instant::now();
    let mut sessions = Sessions::new(1);
    sessions.add(path(Hops::Single, "192.0.2.2"), config()).unwrap();
    let mut octets = hello().encode().to_vec();
    octets[1] |= 1 << 2;
    octets[3] = 26;
    octets.extend([1, 2]);
    let mut heard = |source| sessions.handle_control(&from(Hops::Single, source), &octets, now);
    assert_eq!(heard("192.0.2.2"), Err(Refused::Authenticated));
    assert_eq!(heard("192.0.2.9"), Err(Refused::NoSession));
}

#[test]
fn discriminators_are_unique_and_not_those_of_another_start() {
    let names = |seed| -> Vec<Discriminator> {
        let mut sessions = Sessions::new(seed);
        let add = |last| sessions.add(path(Hops::Single, &format!("192.0.2.{last}")), config()).unwrap();
        (0..250).map(add).collect()
    };
    let (first, second) = (names(1), names(2));
    let all: std::collections::BTreeSet<_> = first.iter().chain(&second).collect();
    assert_eq!(all.len(), 500);
}

#[test]
fn packets_events_and_deadlines_name_their_session() {
    let now = Instant::now();
    let mut sessions = Sessions::new(1);
    let one = sessions.add(path(Hops::Single, "192.0.2.2"), config()).unwrap();
    let two = sessions.add(path(Hops::Single, "192.0.2.3"), config()).unwrap();
    let mut sent: Vec<_> = std::iter::from_fn(|| sessions.poll_transmit(now)).map(|(id, _)| id).collect();
    sent.sort_unstable();
    let mut expected = [one, two];
    expected.sort_unstable();
    assert_eq!(sent, expected);
    sessions.handle_control(&from(Hops::Single, "192.0.2.3"), &hello().encode(), now).unwrap();
    assert!(matches!(sessions.poll_event(), Some((id, Event::Changed { to: State::Init, .. })) if id == two));
    assert_eq!(sessions.poll_event(), None);
    let deadline = sessions.next_deadline().unwrap();
    assert!(deadline <= now + std::time::Duration::from_secs(1));
    assert_eq!(sessions.handle_echo(&[0; 12], now), Err(Refused::ForeignEcho));
    assert_eq!(sessions.handle_echo(&[1; 12], now), Err(Refused::ForeignEcho));
}
