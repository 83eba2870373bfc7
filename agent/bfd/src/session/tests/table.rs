//! Every state and every state of the peer (RFC 5880 §6.8.6), as a table.

use super::*;
use State::{AdminDown, Down, Init, Up};

/// Our state, the peer's, ours afterwards, our diagnostic afterwards if the state changed.
const TABLE: [(State, State, State, Option<u8>); 16] = [
    (AdminDown, AdminDown, AdminDown, None),
    (AdminDown, Down, AdminDown, None),
    (AdminDown, Init, AdminDown, None),
    (AdminDown, Up, AdminDown, None),
    (Down, AdminDown, Down, None),
    (Down, Down, Init, Some(0)),
    (Down, Init, Up, Some(0)),
    (Down, Up, Down, None),
    (Init, AdminDown, Down, Some(3)),
    (Init, Down, Init, None),
    (Init, Init, Up, Some(0)),
    (Init, Up, Up, Some(0)),
    (Up, AdminDown, Down, Some(3)),
    (Up, Down, Down, Some(3)),
    (Up, Init, Up, None),
    (Up, Up, Up, None),
];

#[test]
fn the_table_has_every_pair_once() {
    let pairs: std::collections::BTreeSet<_> = TABLE.iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(pairs.len(), 16);
}

#[test]
fn every_pair_leads_where_the_rfc_says_and_the_peer_hears_of_it_at_once() {
    let now = Instant::now();
    for (ours, peer, next, diagnostic) in TABLE {
        let mut session = in_state(ours, config(), now);
        session.handle_packet(&theirs(peer), now);
        assert_eq!(session.state(), next, "{ours} hears {peer}");
        let changes = changes(&mut session);
        let Some(code) = diagnostic else {
            assert!(changes.is_empty(), "{ours} hears {peer}: {changes:?}");
            continue;
        };
        assert!(matches!(changes[..], [(from, to, _)] if from == ours && to == next), "{changes:?}");
        assert_eq!(session.diagnostic().code(), code, "{ours} hears {peer}");
        let told = sent(&mut session, now);
        assert!(matches!(told[..], [packet] if packet.state == next), "{ours} hears {peer}: {told:?}");
    }
}

#[test]
fn silence_takes_init_and_up_down_and_leaves_the_others() {
    let now = Instant::now();
    for (state, next) in [(AdminDown, AdminDown), (Down, Down), (Init, Down), (Up, Down)] {
        let mut session = in_state(state, config(), now);
        // For all states, somebody was heard; what is heard must leave the state as it is.
        if matches!(state, AdminDown | Down) {
            session.handle_packet(&theirs(Up), now);
        }
        assert!(session.remote().is_some());
        let at = now + session.detection_time().unwrap();
        session.handle_deadline(at - ms(1));
        assert_eq!(session.state(), state);
        assert!(session.remote().is_some());
        session.handle_deadline(at);
        assert_eq!(session.state(), next, "from {state}");
        assert_eq!(session.remote(), None, "bfd.RemoteDiscr must be zero (§6.8.1), from {state}");
        let expected: Vec<_> = (state != next)
            .then_some((state, next, Cause::DetectionTimeExpired(at - now)))
            .into_iter()
            .collect();
        assert_eq!(changes(&mut session), expected);
    }
}

#[test]
fn an_operator_s_switch_works_from_every_state() {
    let now = Instant::now();
    for state in State::ALL {
        let mut session = in_state(state, config(), now);
        session.disable(now);
        assert_eq!((session.state(), session.diagnostic().code()), (AdminDown, 7));
        assert_eq!(changes(&mut session).len(), usize::from(state != AdminDown));
        if state != AdminDown {
            assert_eq!(sent(&mut session, now)[0].state, AdminDown, "the peer hears of it, from {state}");
        }
        session.enable(now);
        assert_eq!((session.state(), session.diagnostic().code()), (Down, 0));
        session.enable(now);
        assert_eq!(changes(&mut session), [(AdminDown, Down, Cause::Enabled)]);
    }
}

#[test]
fn causes_say_what_the_peer_s_operator_did_and_what_the_path_did() {
    let now = Instant::now();
    let mut session = in_state(Up, config(), now);
    let said = Control { diagnostic: Diagnostic::ControlDetectionTimeExpired, ..theirs(Down) };
    session.handle_packet(&said, now);
    let (_, _, cause) = changes(&mut session)[0];
    assert_eq!(cause, Cause::NeighborDown(Diagnostic::ControlDetectionTimeExpired));
    assert_eq!(cause.to_string(), "the peer says that its side is down: control detection time expired");
    let mut session = in_state(Up, config(), now);
    session.handle_packet(&theirs(AdminDown), now);
    assert!(matches!(changes(&mut session)[..], [(_, _, Cause::NeighborAdminDown(_))]));
}
