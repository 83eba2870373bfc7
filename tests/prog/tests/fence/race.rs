//! A grant and a promise at one moment, on two CPUs, do not miss each other.
//!
//! This meets every order of the two, system call against system call. It does not
//! meet the nanoseconds that a missing barrier would leave open: those are argued for
//! where the exchange stands.

use std::sync::Barrier;
use std::thread;

use clarion_dataplane::{Dataplane, Options};
use clarion_fence::{Asked, FLAG_GRANT, Kind, Promise, Wire, in_force, open, seal};
use clarion_prog_tests::fence::{VOTER, keys, message, now, own, switch_on};
use clarion_prog_tests::run::{Hook, Pinned};
use clarion_prog_tests::sandbox;

/// Enough for both orders to come about many times.
const ROUNDS: u64 = 20_000;

/// Sets the peer back to suspect, yet heard and hearing us, and lets two agents' halves
/// loose on it at the same time. How often each said yes.
fn race(
    promises: impl Fn(&mut Dataplane) -> anyhow::Result<bool> + Send + Sync,
    grants: impl Fn(&mut Dataplane, u64) -> anyhow::Result<bool> + Send + Sync,
) -> [u64; 2] {
    sandbox::enter(|bpffs| {
        let pin_dir = sandbox::pin_dir(bpffs);
        let open = || Dataplane::open(Options { pin_dir: pin_dir.clone(), ..Options::default() });
        let (mut one, mut other) = (open()?, open()?);
        switch_on(&mut one, now())?;
        let pinned = Pinned::open(&pin_dir, Hook::Xdp)?;
        let mut said = [0_u64; 2];
        let meet = Barrier::new(2);
        for round in 1..=ROUNDS {
            let now = now();
            one.fence_mut().set_granted(VOTER, 1)?;
            pinned.change_peer(VOTER, |watched| {
                let peer = &mut watched.peer;
                (peer.inc, peer.stamp, peer.heard, peer.rt) = (1, round, now, now);
                (peer.granted, peer.ok_echo, peer.promise) = (1, 0, Promise::NONE);
            })?;
            let (promised, granted) = thread::scope(|scope| {
                let asks = scope.spawn(|| {
                    meet.wait();
                    promises(&mut one)
                });
                meet.wait();
                let granted = grants(&mut other, round + 1);
                (asks.join().expect("no panic"), granted)
            });
            let (promised, granted) = (promised?, granted?);
            assert!(!(promised && granted), "round {round}: promised away and granted");
            said[0] += u64::from(promised);
            said[1] += u64::from(granted);
        }
        Ok(said)
    })
    .expect("a test that passes")
}

fn asks(dataplane: &mut Dataplane) -> anyhow::Result<bool> {
    Ok(dataplane.fence_mut().ask(VOTER, 1, now())? == Asked::Yes)
}

#[test]
fn the_agents_grant_and_the_kernels_promise_exclude_each_other() {
    let said = race(asks, |dataplane, _| {
        let fence = dataplane.fence_mut();
        fence.set_granted(VOTER, now())?;
        let peer = fence.peer(VOTER)?.expect("watched");
        Ok(!in_force(&own(now()), &peer, &peer.promise))
    });
    assert!(said.iter().all(|count| *count > 0), "one was always first: {said:?}");
}

#[test]
fn the_kernels_grant_and_the_kernels_promise_exclude_each_other() {
    let said = race(asks, |dataplane, stamp| {
        let probe = message(Kind::Probe, VOTER, stamp, now());
        let answer: Option<Wire> = dataplane.fence().relay(&seal(&probe, &keys().current))?;
        // None: the record was being changed.
        Ok(answer.is_some_and(|wire| open(&wire, &keys()).expect("well tagged").has(FLAG_GRANT)))
    });
    assert!(said.iter().all(|count| *count > 0), "one was always first: {said:?}");
}
