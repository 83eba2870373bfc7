//! When packets leave, and when a silent peer is given up (RFC 5880 §6.8.2 to §6.8.4, §6.8.7).

use super::*;

/// Lets time pass up to `until`, the peer being heard in this state every `every`; gives the
/// packets with the time after `begin` at which they left.
fn run(
    session: &mut Session,
    begin: Instant,
    until: Duration,
    peer: Option<(Control, Duration)>,
) -> Vec<(Duration, Control)> {
    let mut packets = Vec::new();
    let mut heard = begin;
    loop {
        let next_heard = peer.map(|(_, every)| heard + every);
        let Some(now) = [session.next_deadline(), next_heard].into_iter().flatten().min() else { break };
        if now > begin + until {
            break;
        }
        if let Some((packet, _)) = peer.filter(|_| next_heard == Some(now)) {
            heard = now;
            session.handle_packet(&packet, now);
        }
        session.handle_deadline(now);
        packets.extend(sent(session, now).into_iter().map(|packet| (now - begin, packet)));
        assert!(session.next_deadline().is_none_or(|at| at > now), "it would spin");
    }
    packets
}

fn gaps(packets: &[(Duration, Control)]) -> Vec<Duration> {
    packets.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

#[test]
fn a_session_that_is_not_up_sends_once_a_second_however_fast_it_is_told_to_be() {
    let begin = Instant::now();
    for state in [State::Down, State::AdminDown] {
        let mut session = in_state(state, config(), begin);
        let packets = run(&mut session, begin, Duration::from_secs(100), None);
        assert!((100..=134).contains(&packets.len()), "{}", packets.len());
        let gaps = gaps(&packets);
        assert!(gaps.iter().all(|gap| *gap >= ms(750) && *gap <= ms(1000)), "{gaps:?}");
        assert!(packets.iter().all(|(_, packet)| packet.desired_min_tx == Interval::SLOW));
    }
}

#[test]
fn a_slow_profile_stays_slow_while_down() {
    let config = SessionConfig { transmit_interval: Interval::from_millis(5000), ..config() };
    let mut session = new(config);
    let packets = sent(&mut session, Instant::now());
    assert_eq!(packets[0].desired_min_tx, Interval::from_millis(5000));
}

#[test]
fn jitter_takes_off_up_to_a_quarter_and_never_adds() {
    let begin = Instant::now();
    for (multiplier, least, most) in [(3, 75, 100), (1, 75, 90)] {
        let mut session =
            in_state(State::Up, SessionConfig { multiplier: mult(multiplier), ..config() }, begin);
        let packets = run(&mut session, begin, Duration::from_secs(60), Some((theirs(State::Up), ms(100))));
        let gaps = gaps(&packets);
        let (lowest, highest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*lowest >= ms(least) && *highest <= ms(most), "{lowest:?} {highest:?}");
        assert!(
            *highest - *lowest > ms(most - least) * 9 / 10,
            "all of the range is used: {lowest:?} {highest:?}"
        );
    }
}

#[test]
fn the_slower_of_what_we_like_and_what_the_peer_can_take_is_the_pace() {
    let begin = Instant::now();
    let mut session = in_state(State::Up, config(), begin);
    let slow = Control { required_min_rx: Interval::from_millis(400), ..theirs(State::Up) };
    session.handle_packet(&slow, begin);
    sent(&mut session, begin);
    let packets = run(&mut session, begin, Duration::from_secs(60), Some((slow, ms(100))));
    let gaps = gaps(&packets);
    assert!(gaps.iter().all(|gap| *gap >= ms(300) && *gap <= ms(400)), "{gaps:?}");
}

#[test]
fn the_detection_time_is_the_peer_s_multiplier_times_the_slower_interval() {
    let now = Instant::now();
    for (tx, rx, multiplier, detection) in
        [(100, 100, 3, 300), (50, 100, 3, 300), (200, 100, 3, 600), (100, 250, 5, 1250)]
    {
        let config =
            SessionConfig { receive_interval: Interval::from_millis(rx), multiplier: mult(9), ..config() };
        let mut session = in_state(State::Up, config, now);
        let packet = Control {
            desired_min_tx: Interval::from_millis(tx),
            multiplier: mult(multiplier),
            ..theirs(State::Up)
        };
        session.handle_packet(&packet, now);
        assert_eq!(session.timing().unwrap().detection, ms(detection));
        session.handle_deadline(now + ms(detection) - Duration::from_nanos(1));
        assert_eq!(session.state(), State::Up);
        session.handle_deadline(now + ms(detection));
        assert_eq!(session.state(), State::Down);
    }
}

#[test]
fn a_peer_that_takes_none_gets_none_but_answers() {
    let begin = Instant::now();
    let mut session = in_state(State::Up, config(), begin);
    let mute = Control { required_min_rx: Interval::ZERO, ..theirs(State::Up) };
    session.handle_packet(&mute, begin);
    assert!(run(&mut session, begin, Duration::from_secs(5), Some((mute, ms(100)))).is_empty());
    session.handle_packet(&polled(mute), begin + Duration::from_secs(5));
    let answers = sent(&mut session, begin + Duration::from_secs(5));
    assert!(matches!(answers[..], [packet] if packet.flags.last));
    // It is replaced by one that says nothing: that one must be spoken to again.
    let begin = begin + Duration::from_secs(5);
    let packets = run(&mut session, begin, Duration::from_secs(5), None);
    assert!(packets.len() >= 4, "{packets:?}");
}

#[test]
fn a_peer_in_demand_mode_is_left_in_peace_while_both_are_up() {
    let begin = Instant::now();
    let mut session = in_state(State::Up, config(), begin);
    let demand = |state| Control { flags: Flags { demand: true, ..Flags::default() }, ..theirs(state) };
    session.handle_packet(&demand(State::Up), begin);
    let quiet = run(&mut session, begin, Duration::from_secs(5), Some((demand(State::Up), ms(100))));
    assert!(quiet.is_empty(), "{quiet:?}");
    // A Poll Sequence is the exception (§6.8.7).
    let now = begin + Duration::from_secs(5);
    session.set_config(SessionConfig { transmit_interval: Interval::from_millis(200), ..config() }, now);
    let asked = sent(&mut session, now);
    assert!(matches!(asked[..], [packet] if packet.flags.poll), "{asked:?}");
    // Down, the wish does not count.
    session.handle_packet(&demand(State::Down), now);
    let packets = run(&mut session, now, Duration::from_secs(10), None);
    assert!(packets.len() >= 10, "{}", packets.len());
    assert!(packets.iter().all(|(_, packet)| !packet.flags.demand), "we never ask for it");
}

#[test]
fn a_passive_session_waits_for_the_peer_and_again_after_it_was_lost() {
    let begin = Instant::now();
    let mut session = new(SessionConfig { role: Role::Passive, ..config() });
    assert!(sent(&mut session, begin).is_empty());
    assert_eq!(session.next_deadline(), None);
    session.handle_packet(&Control { your_discriminator: None, ..theirs(State::Down) }, begin);
    let packets = sent(&mut session, begin);
    assert!(matches!(packets[..], [packet] if packet.state == State::Init), "{packets:?}");
    let packets = run(&mut session, begin, Duration::from_secs(20), None);
    assert_eq!(session.state(), State::Down);
    assert!(packets.iter().all(|(at, _)| *at <= ms(3000)), "silence follows the detection time: {packets:?}");
}
