//! One signal at a time: verdict, counter, answer.

use std::collections::BTreeSet;

use clarion_abi::{OUTCOMES, Outcome};
use clarion_fence::{FLAG_ABLE, FLAG_GRANT, FLAG_OK, Key, Kind, Message, NodeId, Vote, Wire, seal};
use clarion_prog_tests::fence::{INC, ME, OTHER, PORT, STRANGER, VOTER, datagram, datagram_of, message, own};
use clarion_prog_tests::frames::Udp;

use crate::{Bed, HEAD, on_a_node};

type Arrange = fn(&mut Bed) -> anyhow::Result<Udp>;

/// A probe that was never heard before.
fn probe(bed: &Bed) -> Message {
    message(Kind::Probe, VOTER, bed.now, 0)
}

fn heard(bed: &Bed, stamp: u64) -> anyhow::Result<()> {
    let answer = message(Kind::Answer, VOTER, stamp, 0);
    bed.send("arranging", &answer, Outcome::SignalTaken).map(drop)
}

fn of_node(kind: Kind, from: NodeId) -> impl Fn(&Bed) -> Udp {
    move |bed| datagram(&message(kind, from, bed.now, 0), false)
}

fn older(bed: &Bed, kind: Kind) -> anyhow::Result<Udp> {
    let newer = Message { inc: 2, ..message(Kind::Answer, VOTER, 7, 0) };
    bed.send("arranging", &newer, Outcome::SignalTaken)?;
    Ok(datagram(&message(kind, VOTER, bed.now, 0), false))
}

fn question(about: NodeId) -> Udp {
    datagram(&Message::ask(OTHER, ME, 1, Vote { about, inc: 9, nonce: 4 }), false)
}

fn yes() -> Message {
    Message {
        from: VOTER,
        to: ME,
        ..Message::ask(ME, VOTER, INC, Vote { about: OTHER, inc: 1, nonce: 4 }).yes(3)
    }
}

/// Each signal, and what becomes of it.
const CASES: &[(&str, Option<Outcome>, Arrange)] = &[
    ("a probe", Some(Outcome::SignalProbeAnswered), |bed| Ok(datagram(&probe(bed), false))),
    ("a probe over IPv6", Some(Outcome::SignalProbeAnswered), |bed| Ok(datagram(&probe(bed), true))),
    ("a probe behind a tag", Some(Outcome::SignalProbeAnswered), |bed| {
        Ok(Udp { tags: vec![(0x8100, 100)], ..datagram(&probe(bed), false) })
    }),
    ("a probe over IPv6 behind a tag", Some(Outcome::SignalProbeAnswered), |bed| {
        Ok(Udp { tags: vec![(0x88a8, 100)], ..datagram(&probe(bed), true) })
    }),
    ("a probe under the other key", Some(Outcome::SignalProbeAnswered), |bed| {
        Ok(datagram_of(&seal(&probe(bed), &Key::new(2, [8; 16])), false))
    }),
    (
        "a probe from another port, as through address translation",
        Some(Outcome::SignalProbeAnswered),
        |bed| Ok(Udp { ports: [40_000, PORT], ..datagram(&probe(bed), false) }),
    ),
    ("a probe again", Some(Outcome::SignalReplayAnswered), |bed| {
        heard(bed, bed.now)?;
        Ok(datagram(&probe(bed), false))
    }),
    ("a probe of the boot before", Some(Outcome::SignalOlderAnswered), |bed| older(bed, Kind::Probe)),
    ("a probe of nobody watched", Some(Outcome::SignalStrangerAnswered), |bed| {
        Ok(of_node(Kind::Probe, STRANGER)(bed))
    }),
    ("an answer", Some(Outcome::SignalTaken), |bed| Ok(of_node(Kind::Answer, VOTER)(bed))),
    ("an answer again", Some(Outcome::SignalReplayed), |bed| {
        heard(bed, bed.now)?;
        Ok(of_node(Kind::Answer, VOTER)(bed))
    }),
    ("an answer of the boot before", Some(Outcome::SignalOlder), |bed| older(bed, Kind::Answer)),
    ("an answer of nobody watched", Some(Outcome::SignalStranger), |bed| {
        Ok(of_node(Kind::Answer, STRANGER)(bed))
    }),
    ("a question about a suspect", Some(Outcome::SignalPromised), |bed| {
        bed.pinned.change_peer(VOTER, |watched| watched.peer.granted = 1)?;
        Ok(question(VOTER))
    }),
    ("a question about who was just heard", Some(Outcome::SignalRefused), |_| Ok(question(VOTER))),
    ("a question about nobody watched", Some(Outcome::SignalRefused), |_| Ok(question(STRANGER))),
    ("a vote", Some(Outcome::SignalVote), |_| Ok(datagram(&yes(), false))),
    ("a vote beyond what the agent has room for", Some(Outcome::SignalVoteUnread), |bed| {
        let vote = datagram(&yes(), false).frame();
        let before = bed.dataplane.counters()?.outcomes["signal_vote_unread"];
        for _ in 0..=clarion_abi::VOTES_BYTES / 72 {
            bed.pinned.run(&vote)?;
        }
        assert!(bed.dataplane.counters()?.outcomes["signal_vote_unread"] > before, "still room");
        Ok(datagram(&yes(), false))
    }),
    ("a probe while another CPU is at the peer's record", Some(Outcome::SignalBusy), |bed| {
        bed.pinned.change_peer(VOTER, |watched| watched.busy = 1)?;
        Ok(datagram(&probe(bed), false))
    }),
    ("a question while another CPU is at the peer's record", Some(Outcome::SignalBusy), |bed| {
        bed.pinned.change_peer(VOTER, |watched| watched.busy = 1)?;
        Ok(question(VOTER))
    }),
    ("a probe with a wrong tag", Some(Outcome::SignalForged), |bed| {
        Ok(datagram_of(&seal(&probe(bed), &Key::new(1, [9; 16])), false))
    }),
    ("a probe under a key that was given up", Some(Outcome::SignalUnknownKey), |bed| {
        Ok(datagram_of(&seal(&probe(bed), &Key::new(3, [7; 16])), false))
    }),
    ("a probe under no key", Some(Outcome::SignalUnknownKey), |bed| {
        Ok(datagram_of(&seal(&probe(bed), &Key::new(0, [7; 16])), false))
    }),
    ("a probe of another node", Some(Outcome::SignalElsewhere), |bed| {
        Ok(datagram(&Message { to: STRANGER, ..probe(bed) }, false))
    }),
    ("another cluster's, on its way through", Some(Outcome::SignalElsewhere), |bed| {
        Ok(datagram_of(&seal(&Message { to: STRANGER, ..probe(bed) }, &Key::new(9, [9; 16])), false))
    }),
    ("a probe long after the agent's end", Some(Outcome::SignalStale), |bed| {
        bed.dataplane.fence_mut().set_own(own(1))?;
        bed.dataplane.fence_mut().set_own(clarion_fence::Own {
            times: clarion_fence::Times { grace: 1, ..own(1).times },
            ..own(1)
        })?;
        Ok(datagram(&probe(bed), false))
    }),
    ("a datagram with an IPv4 length that is too short", Some(Outcome::SignalMalformed), |bed| {
        Ok(Udp { ip_length_error: -1, ..datagram(&probe(bed), false) })
    }),
    ("a datagram with an IPv6 length that is too long", Some(Outcome::SignalMalformed), |bed| {
        Ok(Udp { ip_length_error: 8, ..datagram(&probe(bed), true) })
    }),
    ("a first fragment", Some(Outcome::SignalMalformed), |bed| {
        Ok(Udp { fragment: 0x2000, ..datagram(&probe(bed), false) })
    }),
    ("a probe from a group", Some(Outcome::SignalMalformed), |bed| {
        let sent = datagram(&probe(bed), false);
        Ok(Udp { stations: [sent.stations[0], [1, 0, 0x5e, 0, 0, 1]], ..sent })
    }),
    ("a probe to everybody", Some(Outcome::SignalMalformed), |bed| {
        let sent = datagram(&probe(bed), false);
        Ok(Udp { stations: [[0xff; 6], sent.stations[1]], ..sent })
    }),
    ("a signal with more behind it", None, |bed| {
        let mut sent = datagram(&probe(bed), false);
        sent.payload.extend([0; 8]);
        Ok(sent)
    }),
    ("half a signal", None, |bed| {
        let mut sent = datagram(&probe(bed), false);
        sent.payload.truncate(32);
        Ok(sent)
    }),
    ("an agent's datagram of a signal's length", None, |bed| {
        let mut sent = datagram(&probe(bed), false);
        sent.payload[..2].copy_from_slice(&[0xc2, 0xf3]);
        Ok(sent)
    }),
    ("a signal of another version", None, |bed| {
        let mut sent = datagram(&probe(bed), false);
        sent.payload[2] = 2;
        Ok(sent)
    }),
    ("a signal of a kind that is not known, well tagged or not", None, |bed| {
        let mut sent = datagram(&probe(bed), false);
        sent.payload[3] = 9;
        Ok(sent)
    }),
    ("a probe to another port", None, |bed| {
        Ok(Udp { ports: [PORT, PORT + 1], ..datagram(&probe(bed), false) })
    }),
    ("a probe where nothing listens", None, |bed| {
        bed.dataplane.fence_mut().listen(0)?;
        Ok(datagram(&probe(bed), false))
    }),
    ("a probe over IPv6 where nothing listens", None, |bed| {
        bed.dataplane.fence_mut().listen(0)?;
        Ok(datagram(&probe(bed), true))
    }),
];

#[test]
fn every_signal_has_the_verdict_and_the_counter_of_its_outcome() {
    for (name, outcome, arrange) in CASES {
        on_a_node(|mut bed| {
            let sent = arrange(&mut bed)?;
            match outcome {
                Some(outcome) => drop(bed.exchange(name, &sent, *outcome)?),
                None => assert_eq!(bed.run(name, &sent.frame(), None)?.frame, sent.frame(), "{name}"),
            }
            Ok(())
        });
    }
}

#[test]
fn every_outcome_of_a_signal_has_a_case() {
    let covered: BTreeSet<_> = CASES.iter().filter_map(|(_, outcome, _)| *outcome).collect();
    let missing: Vec<_> = OUTCOMES
        .iter()
        .filter(|outcome| outcome.name().starts_with("signal_") && !covered.contains(outcome))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn an_answer_echoes_the_stamp_and_grants_only_who_hears_us() {
    on_a_node(|bed| {
        let first = bed.send("first", &probe(&bed), Outcome::SignalProbeAnswered)?.expect("an answer");
        assert_eq!((first.kind, first.from, first.to, first.inc), (Kind::Answer, ME, VOTER, INC));
        assert_eq!((first.echo, first.echo_inc), (bed.now, 1));
        assert!(first.stamp > bed.now && first.beat_ms < 60_000);
        assert!(!first.has(FLAG_GRANT) && !first.has(FLAG_OK) && first.has(FLAG_ABLE), "{first:?}");

        let hears_us = message(Kind::Probe, VOTER, bed.now + 1, first.stamp);
        let second = bed.send("second", &hears_us, Outcome::SignalProbeAnswered)?.expect("an answer");
        assert!(second.has(FLAG_GRANT) && second.has(FLAG_OK), "{second:?}");

        let peer = bed.dataplane.fence().peer(VOTER)?.expect("watched");
        assert_eq!((peer.inc, peer.stamp, peer.rt), (1, bed.now + 1, first.stamp));
        assert_eq!((peer.granted, peer.ok_echo), (peer.heard, first.stamp));
        Ok(())
    });
}

#[test]
fn a_stranger_is_told_its_own_stamp_and_nothing_is_remembered() {
    on_a_node(|bed| {
        let probe = message(Kind::Probe, STRANGER, 77, 0);
        let reply = bed.send("stranger", &probe, Outcome::SignalStrangerAnswered)?.expect("an answer");
        assert_eq!((reply.to, reply.echo, reply.echo_inc), (STRANGER, 77, 1));
        assert!(!reply.has(FLAG_GRANT));
        assert_eq!(bed.dataplane.fence().peer(STRANGER)?, None);
        Ok(())
    });
}

#[test]
fn a_probe_cut_short_anywhere_is_neither_answered_nor_changed() {
    on_a_node(|bed| {
        for is_v6 in [false, true] {
            let frame = datagram(&probe(&bed), is_v6).frame();
            for length in (14..frame.len()).filter(|length| bed.pinned.takes(&frame[..*length])) {
                let ran = bed.pinned.run(&frame[..length])?;
                assert_eq!(ran.action, clarion_prog_tests::run::Action::Pass, "cut to {length}");
                assert_eq!(ran.frame, frame[..length], "cut to {length}");
            }
        }
        assert_eq!(bed.dataplane.fence().peer(VOTER)?.expect("watched").inc, 0, "something was heard");
        Ok(())
    });
}

#[test]
fn a_flipped_bit_in_a_signal_is_never_heard() {
    on_a_node(|bed| {
        let frame = datagram(&probe(&bed), false).frame();
        for bit in HEAD * 8..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let ran = bed.pinned.run(&flipped)?;
            assert_ne!(ran.action, clarion_prog_tests::run::Action::Transmit, "bit {bit}");
        }
        assert_eq!(bed.dataplane.fence().peer(VOTER)?.expect("watched").inc, 0, "something was heard");
        Ok(())
    });
}

#[test]
fn what_follows_the_datagram_in_the_frame_stays_as_it_is() {
    on_a_node(|bed| {
        let mut frame = datagram(&probe(&bed), false).frame();
        frame.extend([0xcc; 20]);
        let ran = bed.run("a trailer", &frame, Some(Outcome::SignalProbeAnswered))?;
        assert_eq!(ran.frame[frame.len() - 20..], [0xcc; 20]);
        Ok(())
    });
}

#[test]
fn a_signal_that_came_to_the_agents_socket_is_taken_in_all_the_same() {
    on_a_node(|bed| {
        let sealed = |message: &Message| seal(message, &clarion_prog_tests::fence::keys().current);
        let fence = bed.dataplane.fence();
        let answer: Wire = fence.relay(&sealed(&probe(&bed)))?.expect("an answer");
        let reply = clarion_fence::open(&answer, &clarion_prog_tests::fence::keys()).expect("well tagged");
        assert_eq!((reply.kind, reply.echo), (Kind::Answer, bed.now));
        assert_eq!(fence.relay(&sealed(&message(Kind::Answer, VOTER, bed.now + 1, 0)))?, None);
        assert_eq!(fence.peer(VOTER)?.expect("watched").stamp, bed.now + 1);
        Ok(())
    });
}
