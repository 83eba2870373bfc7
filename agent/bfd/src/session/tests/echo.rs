//! Our echo packets (RFC 5880 §6.8.5, §6.8.8, §6.8.9).

use super::*;

fn echoing() -> SessionConfig {
    SessionConfig { echo: Some(Interval::from_millis(50)), ..config() }
}

/// A peer that loops back this often.
fn looping(millis: u32) -> Control {
    Control { required_min_echo_rx: Interval::from_millis(millis), ..theirs(State::Up) }
}

/// Everything that is due now: control packets are dropped, echo packets given.
fn echoes(session: &mut Session, now: Instant) -> Vec<Echo> {
    let echo = |transmit| match transmit {
        Transmit::Echo(octets) => Some(Echo::decode(&octets).unwrap()),
        Transmit::Control(_) => None,
    };
    std::iter::from_fn(|| session.poll_transmit(now)).filter_map(echo).collect()
}

#[test]
fn echo_packets_leave_only_while_up_and_when_the_peer_loops_them_back() {
    let now = Instant::now();
    for state in State::ALL {
        let mut session = in_state(state, echoing(), now);
        session.handle_packet(&Control { state: State::Down, ..looping(10) }, now);
        if session.state() != State::Up {
            assert!(echoes(&mut session, now).is_empty(), "{state}");
        }
    }
    let mut session = in_state(State::Up, echoing(), now);
    assert!(echoes(&mut session, now).is_empty(), "the peer loops nothing back");
    session.handle_packet(&looping(10), now);
    assert_eq!(echoes(&mut session, now).len(), 1);
    session.handle_packet(&theirs(State::Up), now);
    assert!(echoes(&mut session, now + ms(50)).is_empty(), "§6.8.6: zero ends them");
}

#[test]
fn the_slower_of_ours_and_theirs_is_the_pace_of_echo_packets() {
    let now = Instant::now();
    for (theirs, interval) in [(10, 50), (80, 80)] {
        let mut session = in_state(State::Up, echoing(), now);
        session.handle_packet(&looping(theirs), now);
        assert_eq!(echoes(&mut session, now).len(), 1);
        assert!(echoes(&mut session, now + ms(interval) * 7 / 10).is_empty(), "{theirs}");
        assert_eq!(echoes(&mut session, now + ms(interval)).len(), 1, "{theirs}");
    }
}

#[test]
fn control_packets_are_asked_for_once_a_second_while_echo_packets_run() {
    let now = Instant::now();
    let mut session = in_state(State::Up, echoing(), now);
    session.handle_packet(&looping(10), now);
    let packets = sent(&mut session, now);
    assert!(matches!(packets[..], [p] if p.flags.poll && p.required_min_rx == Interval::SLOW), "{packets:?}");
}

#[test]
fn echo_packets_that_do_not_come_back_take_the_session_down() {
    let begin = Instant::now();
    let mut session = in_state(State::Up, echoing(), begin);
    session.handle_packet(&looping(10), begin);
    let mut now = begin;
    for _ in 0..20 {
        for echo in echoes(&mut session, now) {
            session.handle_echo(&echo, now + ms(1)).unwrap();
            assert_eq!(session.handle_echo(&echo, now + ms(1)), Err(Refused::ForeignEcho), "once");
        }
        now += ms(50);
        session.handle_packet(&looping(10), now);
        session.handle_deadline(now);
        assert_eq!(session.state(), State::Up);
    }
    events(&mut session);
    let last = now - ms(50) + ms(1);
    echoes(&mut session, now);
    session.handle_packet(&looping(10), last + ms(149));
    session.handle_deadline(last + ms(149));
    assert_eq!(session.state(), State::Up);
    assert!(session.next_deadline().unwrap() <= last + ms(150));
    session.handle_deadline(last + ms(150));
    assert_eq!(changes(&mut session), [(State::Up, State::Down, Cause::EchoFailed(ms(150)))]);
    assert_eq!(session.diagnostic().code(), 2);
    assert!(echoes(&mut session, last + ms(500)).is_empty());
}

#[test]
fn what_is_kept_of_echo_packets_is_bounded_and_late_ones_do_not_count() {
    let now = Instant::now();
    let mut random = Random::new(1);
    let mut echoing = Echoing::new(Jitter::draw(&mut random, 3), now);
    let nonces: Vec<u64> = (0..1000)
        .map(|_| {
            let jitter = Jitter::draw(&mut random, 3);
            echoing.send(&mut random, jitter, now)
        })
        .collect();
    assert!(!echoing.came_back(nonces[743], now), "256 are kept");
    assert!(echoing.came_back(nonces[744], now));
    assert!(echoing.came_back(nonces[999], now));
    assert!(!echoing.came_back(nonces[998], now), "overtaken");
}
