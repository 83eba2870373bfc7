//! How often either side sends (RFC 5880 §6.8.2, §6.8.3), and how a change of that gets to
//! the peer before it counts (§6.5).

use super::config::{Role, SessionConfig};
use crate::random::Random;
use crate::wire::{Interval, State};

/// Parts of an interval that jitter is counted in.
const WHOLE: u32 = 1024;

/// Our two intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Intervals {
    /// bfd.DesiredMinTxInterval.
    pub(super) tx: Interval,
    /// bfd.RequiredMinRxInterval.
    pub(super) rx: Interval,
}

impl Intervals {
    /// What packets should say in this state.
    pub(super) fn wanted(config: &SessionConfig, state: State, echo_runs: bool) -> Self {
        let tx = config.transmit_interval;
        let rx = config.receive_interval.max(Interval::LEAST);
        Self {
            // §6.8.3: no faster than once a second unless up.
            tx: if state == State::Up { tx } else { tx.max(Interval::SLOW) },
            // §6.8.3: echo packets do the work.
            rx: if echo_runs { rx.max(Interval::SLOW) } else { rx },
        }
    }
}

/// A Poll Sequence (§6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    /// None runs.
    Idle,
    /// One is due; no packet with P has left yet, so an F that comes answers nothing.
    Due,
    /// P has left.
    Asked {
        /// The intervals changed after P had left: the answer may be to the former ones, so
        /// that another sequence follows.
        stale: bool,
    },
}

/// What is announced, and what is in force until the peer has confirmed it.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) announced: Intervals,
    pub(super) in_force: Intervals,
    pub(super) poll: Poll,
}

impl Pace {
    pub(super) fn new(intervals: Intervals) -> Self {
        Self { announced: intervals, in_force: intervals, poll: Poll::Idle }
    }

    /// Other intervals are wanted, or the state is another one. `confirmed_by`: whether there
    /// is a peer to ask, and a session that is up and could break.
    pub(super) fn follow(&mut self, wanted: Intervals, peer_known: bool, up: bool) {
        if wanted != self.announced {
            self.announced = wanted;
            self.poll = match (peer_known, self.poll) {
                (false, _) => Poll::Idle,
                (true, Poll::Idle | Poll::Due) => Poll::Due,
                (true, Poll::Asked { .. }) => Poll::Asked { stale: true },
            };
        }
        self.in_force = if up && self.poll != Poll::Idle {
            // §6.8.3: until the peer has answered, it counts on packets as often as before,
            // and sends no more often than it did.
            Intervals { tx: self.in_force.tx.min(wanted.tx), rx: self.in_force.rx.max(wanted.rx) }
        } else {
            wanted
        };
    }

    /// A packet with P leaves.
    pub(super) fn asked(&mut self) {
        if self.poll == Poll::Due {
            self.poll = Poll::Asked { stale: false };
        }
    }

    /// F came.
    pub(super) fn answered(&mut self) {
        self.poll = match self.poll {
            Poll::Idle | Poll::Asked { stale: false } => Poll::Idle,
            Poll::Due | Poll::Asked { stale: true } => Poll::Due,
        };
    }

    /// The peer is forgotten: nobody is left to ask.
    pub(super) fn forget(&mut self) {
        self.poll = Poll::Idle;
    }
}

/// Whether nothing may be sent before the peer is heard (§6.8.7).
pub(super) fn waits_for_peer(role: Role, peer_known: bool) -> bool {
    role == Role::Passive && !peer_known
}

/// §6.8.7: each interval is shortened at random by up to a quarter; with a multiplier of
/// one by a tenth at least, so that a single packet in time is enough.
#[derive(Debug)]
pub(super) struct Jitter(u32);

impl Jitter {
    pub(super) fn draw(random: &mut Random, multiplier: u8) -> Self {
        let most = if multiplier == 1 { WHOLE * 9 / 10 } else { WHOLE };
        Self(random.between(WHOLE * 3 / 4, most))
    }

    pub(super) fn apply(&self, interval: std::time::Duration) -> std::time::Duration {
        interval * self.0 / WHOLE
    }
}
