//! Poll Sequences (RFC 5880 §6.5, §6.8.3) and single rules.

use super::*;

fn faster(millis: u32) -> SessionConfig {
    let interval = Interval::from_millis(millis);
    SessionConfig { transmit_interval: interval, receive_interval: interval, ..config() }
}

#[test]
fn a_question_is_answered_at_once_in_every_state_but_the_one_held_down() {
    let now = Instant::now();
    for state in State::ALL {
        let mut session = in_state(state, config(), now);
        // A state of the peer that leaves ours as it is.
        let theirs = theirs(if state == State::Init { State::Down } else { State::Up });
        session.handle_packet(&polled(theirs), now);
        let packets = sent(&mut session, now);
        let answers = packets.iter().filter(|packet| packet.flags.last).count();
        assert_eq!(answers, usize::from(state != State::AdminDown), "{state}: {packets:?}");
        assert!(packets.iter().all(|packet| !(packet.flags.last && packet.flags.poll)), "§6.5: never both");
        let again = sent(&mut session, now);
        assert!(again.is_empty(), "once: {again:?}");
    }
}

#[test]
fn going_up_changes_the_pace_by_a_poll_sequence() {
    let now = Instant::now();
    let mut session = in_state(State::Init, config(), now);
    session.handle_packet(&theirs(State::Init), now);
    let packets = sent(&mut session, now);
    assert!(matches!(packets[..], [p] if p.flags.poll && p.desired_min_tx == Interval::from_millis(100)));
    // It goes on until it is answered.
    let next = session.next_deadline().unwrap();
    assert!(next <= now + ms(100), "a faster pace counts at once");
    assert!(matches!(sent(&mut session, next)[..], [p] if p.flags.poll));
    session.handle_packet(&answered(theirs(State::Up)), next);
    let next = session.next_deadline().unwrap();
    assert!(matches!(sent(&mut session, next)[..], [p] if !p.flags.poll));
}

#[test]
fn a_slower_pace_waits_for_the_answer_and_a_faster_one_does_not() {
    let now = Instant::now();
    let mut session = in_state(State::Up, config(), now);
    session.set_config(faster(500), now);
    let packets = sent(&mut session, now);
    assert!(matches!(packets[..], [p] if p.flags.poll && p.desired_min_tx == Interval::from_millis(500)));
    let timing = session.timing().unwrap();
    assert_eq!(timing.transmit, ms(100), "§6.8.3: the peer still counts on the former");
    assert_eq!(timing.detection, ms(1500), "§6.8.3: and may be slower from now on");
    session.handle_packet(&answered(theirs(State::Up)), now);
    assert_eq!(session.timing().unwrap().transmit, ms(500));

    let mut session = in_state(State::Up, config(), now);
    session.handle_packet(
        &Control { required_min_rx: Interval::LEAST, desired_min_tx: Interval::LEAST, ..theirs(State::Up) },
        now,
    );
    session.set_config(faster(20), now);
    let timing = session.timing().unwrap();
    assert_eq!(timing.transmit, ms(20), "a faster pace counts at once");
    assert_eq!(timing.detection, ms(300), "§6.8.3: the peer does not know that it has to be faster");
    sent(&mut session, now);
    let quick =
        Control { required_min_rx: Interval::LEAST, desired_min_tx: Interval::LEAST, ..theirs(State::Up) };
    session.handle_packet(&answered(quick), now);
    assert_eq!(session.timing().unwrap().detection, ms(60));
}

#[test]
fn an_answer_that_nothing_asked_for_ends_no_question() {
    let now = Instant::now();
    let mut session = in_state(State::Up, config(), now);
    session.set_config(faster(500), now);
    // P has not left yet.
    session.handle_packet(&answered(theirs(State::Up)), now);
    assert_eq!(session.timing().unwrap().transmit, ms(100));
    assert!(sent(&mut session, now)[0].flags.poll);
    session.handle_packet(&answered(theirs(State::Up)), now);
    assert_eq!(session.timing().unwrap().transmit, ms(500));
}

#[test]
fn a_change_during_a_poll_sequence_has_one_of_its_own() {
    let now = Instant::now();
    let mut session = in_state(State::Up, config(), now);
    session.set_config(faster(300), now);
    assert!(sent(&mut session, now)[0].flags.poll);
    session.set_config(faster(500), now);
    assert!(sent(&mut session, now)[0].flags.poll);
    // This may answer 300 ms.
    session.handle_packet(&answered(theirs(State::Up)), now);
    assert_eq!(session.timing().unwrap().transmit, ms(100));
    let next = session.next_deadline().unwrap();
    assert!(sent(&mut session, next)[0].flags.poll);
    session.handle_packet(&answered(theirs(State::Up)), next);
    assert_eq!(session.timing().unwrap().transmit, ms(500));
    assert_eq!(session.state(), State::Up);
    assert!(changes(&mut session).is_empty());
}

#[test]
fn the_multiplier_needs_no_poll_sequence() {
    let now = Instant::now();
    let mut session = in_state(State::Up, config(), now);
    session.set_config(SessionConfig { multiplier: mult(7), ..config() }, now);
    let packets = sent(&mut session, now);
    assert!(matches!(packets[..], [p] if p.multiplier.get() == 7 && !p.flags.poll), "§6.8.12: {packets:?}");
}

#[test]
fn going_down_ends_what_waited_for_an_answer() {
    let now = Instant::now();
    let mut session = in_state(State::Up, config(), now);
    session.set_config(faster(500), now);
    sent(&mut session, now);
    session.handle_deadline(now + session.detection_time().unwrap());
    let packets = sent(&mut session, now);
    assert!(
        matches!(packets[..], [p] if p.your_discriminator.is_none() && !p.flags.poll && p.diagnostic.code() == 1),
        "there is nobody to ask: {packets:?}"
    );
}

#[test]
fn a_peer_that_was_restarted_is_known_by_its_new_name() {
    let now = Instant::now();
    let mut session = in_state(State::Up, config(), now);
    let fresh =
        Control { my_discriminator: discriminator(0x33), your_discriminator: None, ..theirs(State::Down) };
    session.handle_packet(&fresh, now);
    assert_eq!(session.state(), State::Down);
    let packets = sent(&mut session, now);
    assert_eq!(packets[0].your_discriminator, Discriminator::new(0x33));
    assert_eq!(packets[0].diagnostic.code(), 3);
    session.handle_packet(&fresh, now);
    assert_eq!(session.state(), State::Init);
}

#[test]
fn events_tell_the_pace_once_and_again_when_it_changes() {
    let now = Instant::now();
    let mut session = in_state(State::Init, config(), now);
    session.handle_packet(&theirs(State::Up), now);
    let told = events(&mut session);
    assert!(matches!(told[..], [Event::Changed { to: State::Up, .. }, Event::Paced(_)]), "{told:?}");
    session.handle_packet(&theirs(State::Up), now);
    assert!(events(&mut session).is_empty());
    session.handle_packet(&Control { multiplier: mult(5), ..theirs(State::Up) }, now);
    assert!(matches!(events(&mut session)[..], [Event::Paced(timing)] if timing.detection == ms(500)));
}

#[test]
fn counters_count_and_the_c_bit_is_shown_as_told() {
    let now = Instant::now();
    let mut session =
        in_state(State::Up, SessionConfig { control_plane: ControlPlane::Independent, ..config() }, now);
    session.handle_packet(&polled(theirs(State::Up)), now);
    assert!(sent(&mut session, now)[0].flags.independent);
    session.handle_packet(&theirs(State::Down), now);
    let counters = *session.counters();
    assert_eq!((counters.control_received, counters.ups, counters.downs), (4, 1, 1));
    assert!(!new(config()).packet().flags.independent);
}
