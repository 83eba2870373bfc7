//! One flood of ARP requests, and what became of each.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clarion_dataplane::Dataplane;
use clarion_prog_tests::frames::{ARP, Arp, ethernet};
use clarion_prog_tests::sandbox::Peer;
use clarion_prog_tests::wire::{Replies, Wire, mac};

/// How long no more replies must come before a flood is over.
const SETTLED: Duration = Duration::from_millis(100);
/// A paced flood is sent in bursts of this length.
const TICK: Duration = Duration::from_millis(1);

/// How fast, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many frames, as fast as the sender can.
    Full(u64),
    /// So many frames a second, for so long; between bursts the sender sleeps.
    PerSecond(f64, Duration),
}

/// What to send, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) interface: &'static str,
    pub(super) to: [u8; 6],
    pub(super) from: Ipv4Addr,
    pub(super) address: Ipv4Addr,
    pub(super) pace: Pace,
}

/// Counts of one flood.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Frames that the sender's interface took.
    pub(super) sent: u64,
    /// Frames that it refused (`ENOBUFS`): they never left.
    pub(super) refused: u64,
    /// Requests that the program counted as answered; 0 for the kernel's address.
    pub(super) answered: u64,
    /// Replies for the address that came back to the sender's interface.
    pub(super) received: u64,
    /// How long it took, replies included.
    pub(super) took: Duration,
}

/// Some floods of one kind.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// Replies a second.
    pub(super) rate: Vec<f64>,
    /// Percent of what was sent: answered, by the program's own counter, and
    /// received by the sender.
    pub(super) answered: Vec<f64>,
    pub(super) received: Vec<f64>,
    pub(super) total: Tally,
}

impl Flood {
    /// Floods once, from a peer's interface.
    pub(super) fn run(&mut self, peer: &Peer, dataplane: &Dataplane, order: Order) -> Result<()> {
        let before = dataplane.counters()?.outcomes["arp_answered"];
        let mut tally = peer.run(move || flood(order))??;
        tally.answered = dataplane.counters()?.outcomes["arp_answered"] - before;
        let percent = |count: u64| 100.0 * count as f64 / tally.sent as f64;
        self.rate.push(tally.received as f64 / tally.took.as_secs_f64());
        self.answered.push(percent(tally.answered));
        self.received.push(percent(tally.received));
        self.total.sent += tally.sent;
        self.total.refused += tally.refused;
        self.total.answered += tally.answered;
        self.total.received += tally.received;
        self.total.took += tally.took;
        Ok(())
    }
}

fn flood(order: Order) -> Result<Tally> {
    // The socket receives nothing of what it asks for: the other one counts.
    let wire = Wire::open(order.interface, 0)?;
    let replies = Replies::count(order.interface, order.address)?;
    let from = mac(order.interface)?;
    let frame = ethernet(order.to, from, &[], ARP, &Arp::request((from, order.from), order.address).bytes());
    let mut tally = Tally::default();
    let mut burst = |count: u64| -> Result<()> {
        for _ in 0..count {
            if wire.offer(&frame)? {
                tally.sent += 1;
            } else {
                tally.refused += 1;
            }
        }
        Ok(())
    };
    let begin = Instant::now();
    match order.pace {
        Pace::Full(count) => burst(count)?,
        Pace::PerSecond(rate, length) => {
            let mut offered = 0;
            while begin.elapsed() < length {
                // What a late tick missed is made up for.
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count of frames"
                )]
                let due = (begin.elapsed().min(length).as_secs_f64() * rate) as u64;
                burst(due - offered)?;
                offered = due;
                thread::sleep(TICK);
            }
        }
    }
    tally.took = begin.elapsed();
    let mut last = Instant::now();
    while tally.received < tally.sent && last.elapsed() < SETTLED {
        let came = replies.take()?;
        if came > 0 {
            tally.received += came;
            last = Instant::now();
            tally.took = begin.elapsed();
        } else {
            thread::yield_now();
        }
    }
    Ok(tally)
}
