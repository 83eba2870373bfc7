//! How often a link lapses because packets are lost, and what that makes of false moves.
//!
//! A false move is too rare to be waited for: all that decides about it is a link between a node and
//! one of its voters, by the kernel's rules alone, so that is run for thousands of hours, and
//! the voters, whose links lose packets independently, are combined.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use clarion_fence::{self as fence, FLAG_GRANT, Lease, Leases, Message, NodeId, Own, Peer, VOTERS};
use clarion_l2::machine::Timing;

use crate::seeds;
use crate::sim::MS;
use crate::sim::net::Quality;
use crate::sim::rng::Rng;

const HOUR: u64 = 3600 * 1000 * MS;

struct End {
    own: Own,
    leases: Leases,
    peer: Peer,
    granted: u64,
    /// Its clock is so much ahead.
    ahead: u64,
}

impl End {
    fn new(me: u64, other: u64, timing: &Timing, ahead: u64) -> Self {
        let mut voters = [NodeId::NOBODY; VOTERS];
        voters[0] = NodeId(other);
        let own = Own {
            id: NodeId(me),
            inc: 1,
            heartbeat: ahead,
            voters,
            needs: 1,
            flags: 1,
            times: timing.kernel(),
        };
        let none = Lease { voter: NodeId::NOBODY, inc: 0, until: 0 };
        Self { own, leases: Leases([none; VOTERS]), peer: Peer::new(ahead), granted: 0, ahead }
    }

    fn suspects(&self, now: u64) -> bool {
        fence::suspect(&self.own, self.peer.granted.max(self.granted), now + self.ahead)
    }
}

enum Event {
    Probe(usize),
    Arrive(usize, Message),
}

/// Lapses of leases and suspicions, each with its time in nanoseconds, of one link.
#[derive(Debug, Default, Clone, Copy)]
struct Lapses {
    suspicions: u64,
    suspected: u64,
    hours: f64,
}

struct Link {
    ends: [End; 2],
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: std::collections::BTreeMap<u64, Event>,
    order: u64,
    quality: Quality,
    rng: Rng,
}

impl Link {
    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.insert(self.order, event);
        self.queue.push(Reverse((at, self.order)));
    }

    fn send(&mut self, now: u64, to: usize, message: Message) {
        for delay in self.quality.delays(&mut self.rng).into_iter().flatten() {
            self.push(now + delay, Event::Arrive(to, message));
        }
    }

    fn probe(&mut self, now: u64, from: usize, timing: &Timing) {
        let end = &mut self.ends[from];
        let local = now + end.ahead;
        end.own.heartbeat = local;
        let message = fence::probe(&end.own, &end.leases, &end.peer, NodeId(2 - from as u64), local);
        if message.has(FLAG_GRANT) {
            end.granted = end.peer.heard;
        }
        self.send(now, 1 - from, message);
        let late = self.rng.range(1_000, 100_000);
        self.push(now + timing.probe + late, Event::Probe(from));
    }

    fn arrive(&mut self, now: u64, at: usize, message: &Message) {
        let end = &mut self.ends[at];
        let local = now + end.ahead;
        let _ = fence::receive(&end.own, &mut end.leases, &mut end.peer, message, local);
        let promise = end.peer.promise;
        let answer = fence::answer(&end.own, &end.leases, &mut end.peer, || promise, message.from, local);
        if message.kind == fence::Kind::Probe {
            self.send(now, 1 - at, answer);
        }
    }
}

/// A link with this loss for so long.
fn run(loss: f64, hours: u64, seed: u64) -> Lapses {
    let timing = Timing::default();
    let quality = Quality { loss, tail: false, doubled: 0.0 };
    let ends = [End::new(1, 2, &timing, 700 * MS), End::new(2, 1, &timing, 90_000 * MS)];
    let queue = BinaryHeap::new();
    let mut link = Link { ends, queue, events: Default::default(), order: 0, quality, rng: Rng::new(seed) };
    link.push(0, Event::Probe(0));
    let second = link.rng.range(0, timing.probe);
    link.push(second, Event::Probe(1));
    let (mut lapses, mut since, end) =
        (Lapses { hours: hours as f64, ..Lapses::default() }, None, hours * HOUR);
    while let Some(Reverse((now, order))) = link.queue.pop() {
        if now > end {
            break;
        }
        // End 1 is the voter: a suspicion lasts from the first look that finds it to the first that does not.
        let settled = now > 1000 * MS;
        match (link.ends[1].suspects(now) && settled, since) {
            (true, None) => {
                lapses.suspicions += 1;
                since = Some(now);
            }
            (false, Some(from)) => {
                lapses.suspected += now - from;
                since = None;
            }
            _ => {}
        }
        match link.events.remove(&order) {
            Some(Event::Probe(from)) => link.probe(now, from, &timing),
            Some(Event::Arrive(at, message)) => link.arrive(now, at, &message),
            None => {}
        }
    }
    lapses
}

/// False moves in 1,000 node-hours of a node with so many voters: `depose` of them must suspect at
/// one time, each for itself `lambda` times an hour and for `hours` on the average.
fn false_moves(voters: u64, lambda: f64, hours: f64) -> f64 {
    let needed = fence::depose(voters) as i32;
    let sets = (0..needed).fold(1.0, |sets, i| sets * (voters as f64 - f64::from(i)) / f64::from(i + 1));
    // One begins while the others last.
    1000.0 * sets * f64::from(needed) * lambda * (lambda * hours).powi(needed - 1)
}

#[test]
fn lost_packets_move_less_than_one_address_in_a_thousand_node_hours() {
    for (loss, hours) in [(0.05, seeds(40, 4000).end), (0.15, seeds(20, 400).end), (0.25, seeds(10, 100).end)]
    {
        let lapses = run(loss, hours, 7);
        // None seen: with 95 % certainty less than three would have been.
        let lambda = (lapses.suspicions.max(3) as f64) / lapses.hours;
        let mean = match lapses.suspicions {
            0 => 30e6,
            count => lapses.suspected as f64 / count as f64,
        } / HOUR as f64;
        let [three, many] = [2, 4].map(|voters| false_moves(voters, lambda, mean));
        println!(
            "loss {:.0} %: {} suspicions in {} link-hours, {:.0} ms each; false moves in 1,000 node-hours: at most {three:.1e} (3 nodes), {many:.1e} (5 and more)",
            loss * 100.0,
            lapses.suspicions,
            hours,
            mean * 3.6e6
        );
        if loss < 0.1 {
            assert!(three < 1.0 && many < 1.0);
        } else if loss > 0.2 {
            assert!(lapses.suspicions > 0, "the link is never tried");
        }
    }
}
