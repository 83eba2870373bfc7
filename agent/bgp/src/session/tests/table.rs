//! RFC 4271 §8.2.2 as a table: every state and every input.

use super::*;
use crate::session::state::Timer;
use crate::wire::{ReceivedUpdate, RouteRefresh};

const STATES: [StateName; 6] = [
    StateName::Idle,
    StateName::Connect,
    StateName::Active,
    StateName::OpenSent,
    StateName::OpenConfirm,
    StateName::Established,
];

type Told = [Option<(u8, u8)>; 3];
type Row = (&'static str, fn() -> Input, &'static str, Told);

/// An input, the state it leads to from each of the six (I C A S F E), and the
/// NOTIFICATION that it sends in OpenSent, OpenConfirm and Established.
fn table() -> Vec<Row> {
    const NO: Told = [None; 3];
    const HOLD: Told = [Some((4, 0)); 3];
    vec![
        ("start", || Input::Start, "CCASFE", NO),
        ("stop", || Input::Stop(Stop::Shutdown), "IIIIII", [Some((6, 2)); 3]),
        ("silent stop", || Input::Stop(Stop::Silent), "IIIIII", NO),
        ("idle hold timer", || Input::Due(Timer::IdleHold), "CCASFE", NO),
        ("connect retry timer", || Input::Due(Timer::ConnectRetry), "IACSFE", NO),
        ("hold timer", || Input::Due(Timer::Hold), "ICAIII", HOLD),
        ("keepalive timer", || Input::Due(Timer::Keepalive), "ICASFE", NO),
        ("send hold timer", || Input::Due(Timer::SendHold), "ICASFI", [None, None, Some((8, 0))]),
        ("connected", || Input::Connected(local()), "ISSSFE", NO),
        ("connect failed", || Input::ConnectFailed("refused".to_owned()), "IAASFE", NO),
        ("closed", || Input::Closed(None), "IAAAII", NO),
        ("OPEN", || Input::Message(Message::Open(open())), "ICAFII", [None, Some((5, 2)), Some((5, 3))]),
        (
            "UPDATE",
            || Input::Message(Message::Update(ReceivedUpdate::default())),
            "ICAIIE",
            [Some((5, 1)), Some((5, 2)), None],
        ),
        ("NOTIFICATION", || Input::Message(Message::Notification(Notification::new(6, 4))), "ICAIII", NO),
        ("KEEPALIVE", || Input::Message(Message::Keepalive), "ICAIEE", [Some((5, 1)), None, None]),
        (
            "ROUTE-REFRESH",
            || Input::Message(Message::RouteRefresh(RouteRefresh { family: Some(Family::V4) })),
            "ICAIIE",
            [Some((5, 1)), Some((5, 2)), None],
        ),
        ("path down", || Input::PathDown("silence".to_owned()), "ICAIII", [Some((6, 10)); 3]),
        ("path up", || Input::PathUp, "ICCSFE", NO),
        ("broken message", || Input::Broken(WireError::BadType(9)), "ICAIII", [Some((1, 3)); 3]),
    ]
}

fn letter(state: StateName) -> char {
    match state {
        StateName::Idle => 'I',
        StateName::Connect => 'C',
        StateName::Active => 'A',
        StateName::OpenSent => 'S',
        StateName::OpenConfirm => 'F',
        StateName::Established => 'E',
    }
}

#[test]
fn every_state_answers_every_input_as_the_table_says() {
    let now = Instant::now();
    for (what, input, expected, told) in table() {
        for (index, (state, expected)) in STATES.into_iter().zip(expected.chars()).enumerate() {
            let mut session = session_in(state, config(OURS, THEIRS), now);
            session.step(input(), now);
            let after = session.state();
            assert_eq!(letter(after), expected, "{what} in {state}");

            let mut actions = Vec::new();
            while let Some(action) = session.poll_action() {
                actions.push(action);
            }
            let linked = |state| {
                matches!(state, StateName::OpenSent | StateName::OpenConfirm | StateName::Established)
            };
            // A link that is left is closed, unless it is gone already; so is an attempt.
            let left = linked(state) && !linked(after) && what != "closed";
            let given_up =
                state == StateName::Connect && (what.ends_with("stop") || what == "connect retry timer");
            assert_eq!(actions.contains(&Action::Close), left || given_up, "{what} in {state}: {actions:?}");
            let dials = after == StateName::Connect && state != after;
            assert_eq!(actions.contains(&Action::Connect), dials, "{what} in {state}");

            let told_of = session.shared.events.back();
            let changed =
                matches!(told_of, Some(Event::Changed { from, to, .. }) if (*from, *to) == (state, after));
            assert_eq!(changed, state != after, "{what} in {state}: an event for each change");
            let heard = notification(&mut session, now).map(|n| (n.code, n.subcode));
            let expected = index.checked_sub(3).and_then(|index| told[index]);
            assert_eq!(heard, expected, "{what} in {state}");
            let waits = session.next_deadline().is_some();
            let stopped = after == StateName::Idle && (state == StateName::Idle || what.ends_with("stop"));
            assert_eq!(waits, !stopped, "{what} in {state}: whoever is not stopped has a timer");
        }
    }
}
