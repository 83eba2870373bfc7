//! The state machine, pair by pair of state and input, and rule by rule.

mod pair;
mod table;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clarion_core::{Asn, Family, RouterId};

use super::event::OpenRefusal;
use super::*;
use crate::rib::RouteAttributes;
use crate::wire::{Capability, Message, Notification, Open};

const OURS: u32 = 64513;
const THEIRS: u32 = 64512;

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn config(local: u32, peer: u32) -> SessionConfig {
    SessionConfig {
        local_asn: asn(local),
        peer_asn: PeerAsn::Fixed(asn(peer)),
        router_id: RouterId::new(local.into()).unwrap(),
        hold_time: Duration::from_secs(90),
        families: BTreeSet::from([Family::V4, Family::V6]),
        graceful_restart: None,
        timers: Timers::default(),
    }
}

fn local() -> LocalAddresses {
    LocalAddresses {
        v6: Some("2001:db8::1".parse().unwrap()),
        ..LocalAddresses::of_session("192.0.2.1".parse().unwrap())
    }
}

fn open() -> Open {
    Open {
        asn: asn(THEIRS),
        hold_time: 90,
        id: RouterId::new([192, 0, 2, 2].into()).unwrap(),
        capabilities: vec![
            Capability::Multiprotocol(Family::V4),
            Capability::Multiprotocol(Family::V6),
            Capability::RouteRefresh,
            Capability::FourOctetAs(THEIRS),
        ],
    }
}

/// A session in a state, with nothing left to poll.
fn session_in(state: StateName, config: SessionConfig, now: Instant) -> Session {
    session_with(state, config, open(), now)
}

fn session_with(state: StateName, config: SessionConfig, open: Open, now: Instant) -> Session {
    let mut session = Session::new(config, 1);
    if state != StateName::Idle {
        session.handle_start(now);
    }
    match state {
        StateName::Idle | StateName::Connect => {}
        StateName::Active => session.handle_connect_failed("refused".to_owned(), now),
        StateName::OpenSent | StateName::OpenConfirm | StateName::Established => {
            session.handle_connected(local(), now);
        }
    }
    if matches!(state, StateName::OpenConfirm | StateName::Established) {
        session.step(Input::Message(Message::Open(open)), now);
    }
    if state == StateName::Established {
        session.step(Input::Message(Message::Keepalive), now);
    }
    assert_eq!(session.state(), state);
    while session.poll_action().is_some() {}
    while session.poll_event().is_some() {}
    while session.poll_transmit(now).is_some() {
        session.handle_written(true, now);
    }
    while session.poll_event().is_some() {}
    session
}

/// The NOTIFICATION among what the session wants to write.
fn notification(session: &mut Session, now: Instant) -> Option<Notification> {
    let octets = session.poll_transmit(now)?;
    let mut framer = Framer::default();
    framer.push(&octets);
    let reader = crate::wire::UpdateReader { four_octet_as: true, internal: false };
    while let Some((kind, body)) = framer.next_message().unwrap() {
        if let Message::Notification(notification) = decode(kind, body, reader).unwrap() {
            return Some(notification);
        }
    }
    None
}

fn cause(session: &mut Session) -> Option<Cause> {
    let mut last = None;
    while let Some(event) = session.poll_event() {
        if let Event::Changed { cause, .. } = event {
            last = Some(cause);
        }
    }
    last
}

#[test]
fn the_peer_s_as_must_be_the_one_asked_for() {
    let now = Instant::now();
    let table = [
        (PeerAsn::Fixed(asn(THEIRS)), OURS, true),
        (PeerAsn::Fixed(asn(1)), OURS, false),
        (PeerAsn::External, OURS, true),
        (PeerAsn::External, THEIRS, false),
        (PeerAsn::Internal, THEIRS, true),
        (PeerAsn::Internal, OURS, false),
    ];
    for (peer_asn, local_asn, accepted) in table {
        let config = SessionConfig { peer_asn, ..config(local_asn, THEIRS) };
        let mut session = session_in(StateName::OpenSent, config, now);
        session.step(Input::Message(Message::Open(open())), now);
        if accepted {
            assert_eq!(session.state(), StateName::OpenConfirm, "{peer_asn:?}");
        } else {
            assert_eq!(notification(&mut session, now), Some(Notification::new(2, 2)), "{peer_asn:?}");
            let refused =
                matches!(cause(&mut session), Some(Cause::OpenRefused(OpenRefusal::BadPeerAs { .. })));
            assert!(refused, "{peer_asn:?}");
        }
    }
}

#[test]
fn an_internal_peer_with_our_identifier_is_refused_an_external_one_is_not() {
    let now = Instant::now();
    for (local_asn, state) in [(THEIRS, StateName::Idle), (OURS, StateName::OpenConfirm)] {
        let config = SessionConfig { router_id: open().id, ..config(local_asn, THEIRS) };
        let mut session = session_in(StateName::OpenSent, config, now);
        session.step(Input::Message(Message::Open(open())), now);
        assert_eq!(session.state(), state);
    }
}

#[test]
fn the_smaller_hold_time_counts_and_zero_switches_timers_off() {
    let now = Instant::now();
    // (ours, theirs, configured keepalive) -> (hold, keepalive)
    let table = [
        (90, 30, None, 30, 10),
        (9, 90, None, 9, 3),
        (90, 90, Some(5), 90, 5),
        (90, 9, Some(30), 9, 3),
        (0, 90, None, 0, 0),
        (90, 0, Some(5), 0, 0),
    ];
    for (ours, theirs, keepalive, hold, expected) in table {
        let mut config = config(OURS, THEIRS);
        config.hold_time = Duration::from_secs(ours);
        config.timers.keepalive = keepalive.map(Duration::from_secs);
        let session = session_with(StateName::Established, config, Open { hold_time: theirs, ..open() }, now);
        let agreed = session.negotiated().unwrap();
        assert_eq!((agreed.hold_time.as_secs(), agreed.keepalive.as_secs()), (hold, expected));
        assert_eq!(session.next_deadline().is_none(), hold == 0);
    }
}

#[test]
fn a_speaker_without_multiprotocol_gets_ipv4_alone() {
    let now = Instant::now();
    let old = Open { capabilities: vec![], ..open() };
    let session = session_with(StateName::Established, config(OURS, THEIRS), old, now);
    let agreed = session.negotiated().unwrap();
    assert_eq!(agreed.families, BTreeSet::from([Family::V4]));
    assert!(!agreed.four_octet_as && !agreed.route_refresh && !agreed.extended_message);
}

#[test]
fn a_stop_is_hard_where_notifications_would_keep_routes() {
    let now = Instant::now();
    let restart = GracefulRestart { restart_time: Duration::from_secs(120), restarted: true };
    let config = SessionConfig { graceful_restart: Some(restart), ..config(OURS, THEIRS) };
    let families = vec![];
    let theirs = Capability::GracefulRestart { restarted: false, notification: true, time: 120, families };
    let mut open = open();
    open.capabilities.push(theirs);
    let table = [
        (Stop::Silent, None),
        (Stop::Deconfigured, Some(Notification::deconfigured().hard())),
        (Stop::Reconfigured, Some(Notification::reconfigured())),
    ];
    for (stop, expected) in table {
        let mut session = session_with(StateName::Established, config.clone(), open.clone(), now);
        assert_eq!(session.negotiated().unwrap().graceful_restart, Some(Duration::from_secs(120)));
        session.handle_stop(stop, now);
        assert_eq!(notification(&mut session, now), expected, "{stop:?}");
        assert_eq!(session.next_deadline(), None, "a stopped session stays down");
    }
}

#[test]
fn only_the_first_open_of_a_process_says_that_it_restarted() {
    let now = Instant::now();
    let restart = GracefulRestart { restart_time: Duration::from_secs(120), restarted: true };
    let config = SessionConfig { graceful_restart: Some(restart), ..config(OURS, THEIRS) };
    let mut session = session_in(StateName::Established, config, now);
    session.handle_closed(None, now);
    let retry = session.next_deadline().unwrap();
    session.handle_deadline(retry);
    session.handle_connected(local(), retry);
    let octets = session.poll_transmit(retry).unwrap();
    assert!(octets.windows(4).any(|w| w == [64, 10, 0x40, 120]), "N without R: {octets:x?}");
}

#[test]
fn a_peer_that_takes_nothing_is_left_after_the_send_hold_time() {
    let start = Instant::now();
    let mut session = session_in(StateName::Established, config(OURS, THEIRS), start);
    session.set_routes(Arc::new([("198.51.100.1/32".parse().unwrap(), RouteAttributes::default())].into()));
    assert!(session.poll_transmit(start).is_some());
    let mut now = start;
    while session.state() == StateName::Established {
        now += Duration::from_secs(10);
        assert!(now < start + Duration::from_secs(600), "never left");
        session.step(Input::Message(Message::Keepalive), now);
        session.handle_deadline(now);
    }
    assert_eq!(now, start + Duration::from_secs(480), "RFC 9687: eight minutes");
    assert!(matches!(cause(&mut session), Some(Cause::SendHoldTimerExpired(_))));
}

#[test]
fn a_peer_that_accepts_and_closes_at_once_is_not_stormed() {
    let start = Instant::now();
    let mut session = Session::new(config(OURS, THEIRS), 3);
    session.handle_start(start);
    let (mut now, mut attempts) = (start, 0);
    while now < start + Duration::from_secs(3600) {
        while let Some(action) = session.poll_action() {
            if action == Action::Connect {
                attempts += 1;
                session.handle_connected(local(), now);
                session.step(Input::Message(Message::Open(open())), now);
                session.step(Input::Message(Message::Keepalive), now);
                assert_eq!(session.state(), StateName::Established);
                session.handle_closed(None, now);
            }
        }
        now = session.next_deadline().unwrap();
        session.handle_deadline(now);
    }
    assert!((30..50).contains(&attempts), "{attempts} in an hour");
}

#[test]
fn garbage_ends_the_session_with_the_right_notification_and_nothing_after_it_counts() {
    let now = Instant::now();
    let mut session = session_in(StateName::Established, config(OURS, THEIRS), now);
    session.handle_bytes(b"HTTP/1.1 400 Bad Request", now);
    assert_eq!(session.state(), StateName::Idle);
    assert_eq!(notification(&mut session, now), Some(Notification::new(1, 1)));
    session.handle_bytes(&crate::wire::encode_keepalive(), now);
    assert_eq!((session.state(), session.counters().keepalives_received), (StateName::Idle, 1));
}
