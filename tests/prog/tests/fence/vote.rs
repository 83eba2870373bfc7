//! Promises: to whom, how long, and what they keep from being granted.

use clarion_abi::Outcome;
use clarion_fence::{Asked, FLAG_GRANT, Kind, Message, NodeId, Vote, Wire, open, seal};
use clarion_prog_tests::fence::{INC, ME, OTHER, STRANGER, VOTER, keys, message, now};

use crate::{Bed, on_a_node};

/// The peer that the votes are about was heard as incarnation 1, and is suspect.
fn suspect(bed: &Bed) -> anyhow::Result<()> {
    bed.send("arranging", &message(Kind::Answer, VOTER, 100, 0), Outcome::SignalTaken)?;
    bed.pinned.change_peer(VOTER, |watched| watched.peer.granted = 1)
}

fn ask(bed: &Bed, asker: NodeId, nonce: u64, outcome: Outcome) -> anyhow::Result<Option<Message>> {
    let question = Message::ask(asker, ME, 8, Vote { about: VOTER, inc: 1, nonce });
    bed.send("a question", &question, outcome)
}

#[test]
fn a_promise_is_bound_to_its_asker_and_says_what_was_asked() {
    on_a_node(|bed| {
        suspect(&bed)?;
        let yes = ask(&bed, OTHER, 44, Outcome::SignalPromised)?.expect("a vote");
        assert_eq!((yes.kind, yes.from, yes.to, yes.inc), (Kind::Yes, ME, OTHER, INC));
        assert_eq!(yes.vote(), Vote { about: VOTER, inc: 1, nonce: 44 });
        ask(&bed, STRANGER, 45, Outcome::SignalRefused)?;
        ask(&bed, OTHER, 46, Outcome::SignalPromised)?;
        let promise = bed.dataplane.fence().peer(VOTER)?.expect("watched").promise;
        assert_eq!((promise.inc, promise.by), (1, OTHER));
        assert!(promise.asked >= promise.at && promise.at > bed.now);
        Ok(())
    });
}

#[test]
fn who_was_promised_away_is_granted_nothing_until_it_says_that_it_is_whole() {
    on_a_node(|mut bed| {
        suspect(&bed)?;
        ask(&bed, OTHER, 1, Outcome::SignalPromised)?;
        let probe = |stamp, flags| Message { flags, ..message(Kind::Probe, VOTER, stamp, now()) };
        let granted = |stamp, flags| -> anyhow::Result<bool> {
            let reply = bed.send("a probe", &probe(stamp, flags), Outcome::SignalProbeAnswered)?;
            Ok(reply.expect("an answer").has(FLAG_GRANT))
        };
        assert!(!granted(200, 0)?);
        // It says so, but by a stamp from within the window of the promise.
        assert!(!granted(201, clarion_fence::FLAG_OK)?);
        // The window is over.
        let mut own = bed.dataplane.fence().own()?.expect("set");
        own.times.window = 0;
        bed.dataplane.fence_mut().set_own(own)?;
        let reply = bed.send("whole", &probe(202, clarion_fence::FLAG_OK), Outcome::SignalProbeAnswered)?;
        assert!(reply.expect("an answer").has(FLAG_GRANT));
        Ok(())
    });
}

#[test]
fn what_the_agents_own_probe_granted_keeps_the_kernel_from_promising() {
    on_a_node(|mut bed| {
        suspect(&bed)?;
        bed.dataplane.fence_mut().set_granted(VOTER, bed.now)?;
        ask(&bed, OTHER, 1, Outcome::SignalRefused)?;
        assert_eq!(bed.dataplane.fence_mut().ask(VOTER, 1, bed.now)?, Asked::NotSuspect);
        bed.dataplane.fence_mut().set_granted(VOTER, 2)?;
        ask(&bed, OTHER, 1, Outcome::SignalPromised)?;
        Ok(())
    });
}

#[test]
fn the_own_kernel_promises_as_any_other_and_says_why_not() {
    on_a_node(|mut bed| {
        let now = bed.now;
        let fence = bed.dataplane.fence_mut();
        assert_eq!(fence.ask(STRANGER, 1, now)?, Asked::NotSuspect, "not watched");
        assert_eq!(fence.ask(VOTER, 1, now)?, Asked::NotSuspect);
        suspect(&bed)?;
        assert_eq!(bed.dataplane.fence_mut().ask(VOTER, 1, now)?, Asked::Yes);
        let promise = bed.dataplane.fence().peer(VOTER)?.expect("watched").promise;
        assert_eq!((promise.inc, promise.by, promise.asked), (1, ME, 0), "its own question is no rival's");
        ask(&bed, OTHER, 1, Outcome::SignalRefused)?;

        bed.pinned.change_peer(VOTER, |watched| watched.peer.promise.by = OTHER)?;
        assert_eq!(bed.dataplane.fence_mut().ask(VOTER, 1, now)?, Asked::Promised);
        bed.pinned.change_peer(VOTER, |watched| {
            (watched.peer.promise.inc, watched.peer.inc, watched.peer.promise.by) = (7, 7, ME);
        })?;
        assert_eq!(bed.dataplane.fence_mut().ask(VOTER, 1, now)?, Asked::NewerPromise);
        Ok(())
    });
}

#[test]
fn votes_wait_for_the_agent_in_the_order_in_which_they_came_and_there_is_one_reader() {
    on_a_node(|mut bed| {
        let mut votes = bed.dataplane.fence_mut().take_votes().expect("the first reader");
        assert!(bed.dataplane.fence_mut().take_votes().is_none());
        assert!(votes.next_vote().is_none());
        let vote = |nonce| {
            let vote = Vote { about: VOTER, inc: 1, nonce };
            Message::ask(ME, OTHER, INC, vote).yes(3)
        };
        for nonce in [1, 2] {
            bed.send("a vote", &vote(nonce), Outcome::SignalVote)?;
        }
        for nonce in [1, 2] {
            let wire: Wire = votes.next_vote().expect("a vote");
            assert_eq!(wire, seal(&vote(nonce), &keys().current));
            assert_eq!(open(&wire, &keys()).expect("well tagged").vote().nonce, nonce);
        }
        assert!(votes.next_vote().is_none());
        Ok(())
    });
}

#[test]
fn who_is_watched_no_more_is_forgotten_with_all_that_was_promised() {
    on_a_node(|mut bed| {
        suspect(&bed)?;
        ask(&bed, OTHER, 1, Outcome::SignalPromised)?;
        let fence = bed.dataplane.fence_mut();
        fence.set_granted(VOTER, 5)?;
        fence.watch(VOTER, 9)?;
        assert_eq!(fence.peer(VOTER)?.expect("watched").inc, 1, "who is watched stays as it is");
        fence.unwatch(VOTER)?;
        fence.unwatch(VOTER)?;
        assert_eq!((fence.peer(VOTER)?, fence.granted(VOTER)?), (None, 0));
        assert_eq!(fence.peers()?, [OTHER]);
        fence.watch(VOTER, 9)?;
        assert_eq!(fence.peer(VOTER)?.expect("watched"), clarion_fence::Peer::new(9));
        Ok(())
    });
}
