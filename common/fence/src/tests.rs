//! The rules one by one, the tag against its reference, and the one property
//! that all rests on: a voter suspects only after its last lease has ended.

use crate::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const TIMES: Times = Times { lease: 120 * MS, margin: MS, window: 50 * MS, grace: 120_000 * MS };
const X: NodeId = NodeId(1);
const V: NodeId = NodeId(2);

fn own(id: NodeId, voters: &[NodeId]) -> Own {
    let mut four = [NodeId::NOBODY; VOTERS];
    four[..voters.len()].copy_from_slice(voters);
    let needs = needed(voters.len() as u64);
    Own { id, inc: 7, heartbeat: 1, voters: four, needs, flags: ABLE, times: TIMES }
}

fn empty() -> Leases {
    bytemuck::Zeroable::zeroed()
}

fn message(from: NodeId, to: NodeId, stamp: u64, echo: u64, flags: u8) -> Message {
    Message { kind: Kind::Answer, from, to, stamp, inc: 7, echo, echo_inc: 7, beat_ms: 0, flags }
}

fn key() -> Key {
    Key::new(3, core::array::from_fn(|i| u8::try_from(i).unwrap()))
}

#[test]
fn the_tag_is_siphash_2_4() {
    // The paper's appendix A: key 00 01 .. 0f, message 00 01 .. 0e.
    let message: Vec<u8> = (0..15).collect();
    assert_eq!(tag_bytes(&key(), &message), 0xa129_ca61_49be_45e5);
    // The reference implementation's vectors for no byte and for one.
    assert_eq!(tag_bytes(&key(), &[]).to_le_bytes(), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
    assert_eq!(tag_bytes(&key(), &[0]).to_le_bytes(), [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]);
}

#[test]
fn a_majority_with_oneself_keeps_and_the_rest_deposes() {
    let table = [(0, 0, 1, 0), (1, 1, 1, 0), (2, 1, 2, 1), (3, 2, 2, 2), (4, 2, 3, 2)];
    for (voters, keeps, deposes, needs) in table {
        assert_eq!(
            (keep(voters), depose(voters), needed(voters)),
            (keeps, deposes, needs),
            "{voters} voters"
        );
        assert!(keep(voters) + depose(voters) > voters, "both at once with {voters} voters");
    }
}

#[test]
fn a_lease_runs_from_the_own_stamp_and_for_the_own_incarnation() {
    let (mut own, mut leases, mut peer) = (own(X, &[V, NodeId(3)]), empty(), Peer::new(0));
    let grant = message(V, X, 500, 100 * MS, FLAG_GRANT);
    assert_eq!(receive(&own, &mut leases, &mut peer, &grant, 130 * MS), Received::Taken);
    assert!(ok(&own, &leases, 220 * MS - 1) && !ok(&own, &leases, 220 * MS));
    own.inc = 8;
    assert!(!ok(&own, &leases, 150 * MS), "the former incarnation's lease");
    assert!(!answers(&own, &leases, 7, 150 * MS));
}

#[test]
fn echoes_of_another_boot_or_of_the_future_are_worth_nothing() {
    let own = own(X, &[V, NodeId(3)]);
    let grant = message(V, X, 500, 100 * MS, FLAG_GRANT);
    for (what, bad) in [
        ("another incarnation", Message { echo_inc: 6, ..grant }),
        ("the future", Message { echo: 131 * MS, ..grant }),
        ("nothing", Message { echo: 0, ..grant }),
        ("no grant", Message { flags: 0, ..grant }),
    ] {
        let (mut leases, mut peer) = (empty(), Peer::new(0));
        receive(&own, &mut leases, &mut peer, &bad, 130 * MS);
        assert!(!ok(&own, &leases, 130 * MS), "{what}");
    }
}

#[test]
fn what_is_replayed_or_older_changes_nothing() {
    let own = own(X, &[V, NodeId(3)]);
    let (mut leases, mut peer) = (empty(), Peer::new(0));
    let former = message(V, X, 400, 90 * MS, FLAG_GRANT);
    let grant = message(V, X, 500, 100 * MS, FLAG_GRANT);
    receive(&own, &mut leases, &mut peer, &former, 120 * MS);
    receive(&own, &mut leases, &mut peer, &grant, 130 * MS);
    let before = (leases, peer);
    let older = Message { inc: 6, stamp: 900, ..former };
    for (message, expected) in
        [(former, Received::Replayed), (grant, Received::Replayed), (older, Received::Older)]
    {
        assert_eq!(receive(&own, &mut leases, &mut peer, &message, 140 * MS), expected);
    }
    assert_eq!((leases, peer), before);
}

#[test]
fn a_node_with_a_set_back_clock_learns_which_incarnation_it_needs() {
    let (own, mut leases, mut peer) = (own(X, &[V]), empty(), Peer::new(0));
    let answer = Message { echo_inc: 9, ..message(V, X, 500, 0, 0) };
    receive(&own, &mut leases, &mut peer, &answer, MS);
    assert_eq!(peer.ahead, 9);
}

fn ask_as(own: &Own, peer: &mut Peer, inc: u64, asker: NodeId, now: u64) -> Asked {
    ask(own, peer, |peer| peer.granted, inc, asker, now)
}

#[test]
fn a_promise_stands_until_the_peer_was_whole_after_the_window() {
    let (own, mut leases) = (own(V, &[X]), empty());
    let mut peer = Peer { inc: 7, rt: 999 * MS, granted: 800 * MS, ..Peer::new(0) };
    assert_eq!(ask_as(&own, &mut peer, 7, NodeId(9), 900 * MS), Asked::NotSuspect);
    assert_eq!((peer.promise.inc, peer.promise.asked), (0, 900 * MS));
    assert_eq!(ask_as(&own, &mut peer, 7, NodeId(9), 1000 * MS), Asked::Yes);
    assert!(!grants(&own, &peer, &peer.promise, 1000 * MS), "heard, and granted no more");
    for (echo, flags, stands) in
        [(1049 * MS, FLAG_OK, true), (1060 * MS, 0, true), (1050 * MS, FLAG_OK, false)]
    {
        let mut peer = peer;
        let says = message(X, V, 10, echo, flags);
        receive(&own, &mut leases, &mut peer, &says, 1100 * MS);
        assert_eq!(in_force(&own, &peer, &peer.promise), stands, "{echo} {flags}");
        assert_eq!(peer.granted == 1100 * MS, !stands);
    }
    peer.inc = 8;
    assert!(!in_force(&own, &peer, &peer.promise), "a new incarnation was never promised away");
}

#[test]
fn a_promise_is_bound_to_its_asker_for_the_window() {
    let own = own(V, &[X]);
    let mut peer = Peer { inc: 7, granted: 800 * MS, ..Peer::new(0) };
    let (a, b) = (NodeId(8), NodeId(9));
    assert_eq!(ask_as(&own, &mut peer, 7, a, 1000 * MS), Asked::Yes);
    assert_eq!(ask_as(&own, &mut peer, 7, b, 1049 * MS), Asked::Promised);
    assert_eq!(ask_as(&own, &mut peer, 6, b, 1049 * MS), Asked::Promised);
    assert_eq!(ask_as(&own, &mut peer, 7, a, 1049 * MS), Asked::Yes);
    assert_eq!(ask_as(&own, &mut peer, 7, b, 1098 * MS), Asked::Promised);
    assert_eq!(ask_as(&own, &mut peer, 6, b, 1099 * MS), Asked::NewerPromise);
    assert_eq!(ask_as(&own, &mut peer, 7, b, 1099 * MS), Asked::Yes);
}

#[test]
fn a_grant_that_passes_a_promise_on_the_way_is_seen_by_one_of_them() {
    let own = own(V, &[X]);
    let peer = Peer { inc: 7, rt: 999 * MS, granted: 800 * MS, heard: 990 * MS, ..Peer::new(0) };
    // The grant is stored after the first look and before the second.
    let calls = core::cell::Cell::new(0);
    let granted = |_: &Peer| {
        calls.set(calls.get() + 1);
        if calls.get() == 1 { 800 * MS } else { 990 * MS }
    };
    let mut voter = peer;
    assert_eq!(ask(&own, &mut voter, granted, 7, NodeId(9), 1000 * MS), Asked::NotSuspect);
    assert_eq!(voter.promise.inc, 0, "taken back");
    // The promise is stored after the first look and before the second.
    let promised = Promise { inc: 7, by: NodeId(9), at: 1000 * MS, asked: 0 };
    calls.set(0);
    let promise = || {
        calls.set(calls.get() + 1);
        if calls.get() == 1 { Promise::NONE } else { promised }
    };
    let answer = answer(&own, &empty(), &mut peer.clone(), promise, X, 1000 * MS);
    assert!(!answer.has(FLAG_GRANT));
}

#[test]
fn a_dead_agents_kernel_answers_for_the_grace_and_no_longer() {
    let own = Own { heartbeat: MS, needs: 0, ..own(X, &[]) };
    let leases = empty();
    assert!(ok(&own, &leases, MS + TIMES.grace) && !ok(&own, &leases, MS + TIMES.grace + 1));
    assert!(!ok(&Own { heartbeat: 0, ..own }, &leases, MS), "never a heartbeat");
    assert!(!ok(&Own { needs: NEVER, ..own }, &leases, MS), "no plan known");
    assert_eq!(own.beat_ms(MS), 0);
    assert_eq!(own.beat_ms(70_000 * MS), u16::MAX);
}

proptest! {
    #[test]
    fn any_length_has_the_standard_librarys_tag(k0: u64, k1: u64, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        use std::hash::Hasher;
        #[expect(deprecated, reason = "the one SipHash-2-4 that the standard library has")]
        let mut reference = std::hash::SipHasher::new_with_keys(k0, k1);
        reference.write(&bytes);
        let key = Key { id: 1, k0, k1 };
        prop_assert_eq!(tag_bytes(&key, &bytes), reference.finish());
        let words: [u64; 7] = core::array::from_fn(|i| bytes.get(i).copied().map_or(k0, u64::from));
        let flat: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        prop_assert_eq!(tag_words(&key, &words), tag_bytes(&key, &flat));
    }

    #[test]
    fn what_is_sealed_opens_under_either_key_and_no_changed_bit_passes(
        words in any::<[u64; 6]>(), beat_ms: u16, flags: u8, probe: bool, bit in 0usize..512,
    ) {
        let [from, to, stamp, inc, echo, echo_inc] = words;
        let kind = if probe { Kind::Probe } else { Kind::Answer };
        let (from, to) = (NodeId(from), NodeId(to));
        let message = Message { kind, from, to, stamp, inc, echo, echo_inc, beat_ms, flags };
        let none = Key { id: 0, k0: 0, k1: 0 };
        let new = Key::new(4, [9; 16]);
        let wire = seal(&message, &key());
        prop_assert_eq!(open(&wire, &Keys { current: key(), other: none }), Ok(message));
        prop_assert_eq!(open(&wire, &Keys { current: new, other: key() }), Ok(message));
        prop_assert_eq!(open(&wire, &Keys { current: new, other: none }), Err(Rejected::UnknownKey));
        let mut damaged = wire;
        damaged.0[bit / 64][bit / 8 % 8] ^= 1 << (bit % 8);
        let read = open(&damaged, &Keys { current: key(), other: new });
        prop_assert!(read.is_err());
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 64)) {
        let wire: Wire = *bytemuck::from_bytes(&bytes);
        let read = open(&wire, &Keys { current: key(), other: key() });
        prop_assert!(read.is_err());
    }

    /// Whatever is lost, late or doubled: when V suspects X, no lease of V's is
    /// valid at X. One clock for both: the margin is for the difference.
    #[test]
    fn a_voter_suspects_only_after_its_lease_has_ended(
        steps in proptest::collection::vec((0u8..4, 0usize..6, 1u64..40), 1..200),
    ) {
        let (own_x, own_v) = (own(X, &[V, NodeId(3)]), own(V, &[X, NodeId(3)]));
        let (mut lx, mut lv) = (empty(), empty());
        let (mut x_of_v, mut v_of_x) = (Peer::new(1), Peer::new(1));
        let mut word = 0;
        let (mut to_x, mut to_v): (Vec<Message>, Vec<Message>) = (Vec::new(), Vec::new());
        let mut now = MS;
        for (what, pick, wait) in steps {
            now += wait * MS;
            match what {
                0 => to_v.push(probe(&own_x, &lx, &x_of_v, V, now)),
                1 => {
                    let message = probe(&own_v, &lv, &v_of_x, X, now);
                    if message.has(FLAG_GRANT) {
                        word = v_of_x.heard;
                    }
                    to_x.push(message);
                }
                // Taken in, yet left on the wire: it may come again.
                2 => if let Some(m) = to_v.get(to_v.len().saturating_sub(pick + 1)).copied() {
                    receive(&own_v, &mut lv, &mut v_of_x, &m, now);
                    if m.kind == Kind::Probe {
                        to_x.push(answer(&own_v, &lv, &mut v_of_x, || Promise::NONE, X, now));
                    }
                },
                _ => if let Some(m) = to_x.get(to_x.len().saturating_sub(pick + 1)).copied() {
                    receive(&own_x, &mut lx, &mut x_of_v, &m, now);
                    if m.kind == Kind::Probe {
                        to_v.push(answer(&own_x, &lx, &mut x_of_v, || Promise::NONE, V, now));
                    }
                },
            }
            let later = suspect_from(&own_v, v_of_x.granted.max(word)) + 1;
            prop_assert!(!ok(&own_x, &lx, later), "a lease outlives the voter's count");
        }
    }
}
