//! The times of the protocol, in nanoseconds of the boot clock.
//!
//! Two can be set, interval and lease, and what follows from them is computed;
//! the others are properties of a segment and of a scheduler, not of a cluster.

use clarion_fence::Times;

/// A millisecond.
pub const MS: u64 = 1_000_000;

/// Between two ASKs to a voter that has not answered.
pub(super) const ASK_AGAIN: u64 = 5 * MS;
/// Between two ASSIGNs of one job.
pub(super) const ASSIGN_AGAIN: u64 = 10 * MS;
/// After this long without a claim the next node of the list is assigned.
pub(super) const NEXT_TARGET: u64 = 60 * MS;
/// A taker asks the segment for the address at once and again each time this (of an
/// address that is new, half of it) is over; unanswered after the last one, it takes it.
pub(super) const RESOLVE_AGAIN: u64 = 4 * MS;
/// A taker that did not run for this long asks anew: it may have missed answers.
pub(super) const RESOLVE_STALL: u64 = 20 * MS;
/// A taker that needs its segment proven waits for that proof this long at most.
pub(super) const SEGMENT_WAIT: u64 = 25 * MS;
/// A segment that answered within this time lives: five lost questions in a row.
pub(super) const SEGMENT_LIVES: u64 = 550 * MS;
/// Between two looks at a segment, and between two looks at moves that wait.
pub(super) const LOOK_AGAIN: u64 = 100 * MS;
/// Between two probes of a peer when the agent has just stood still: well above a round trip.
pub(super) const HURRY: u64 = 5 * MS;
/// Between two looks at the fence and the peers while something is not as it should be.
pub(super) const WATCH: u64 = 10 * MS;
/// Between two looks at what nobody claims.
pub(super) const ORPHAN_LOOK: u64 = 250 * MS;
/// Nodes of an address's list come so much before all others,
pub(super) const ORPHAN_LAG: u64 = 500 * MS;
/// who have their turns within this time.
pub(super) const ORPHAN_TURNS: u64 = 5000 * MS;
/// Between two looks at what could go home.
pub(super) const HOME_LOOK: u64 = 500 * MS;
/// After a decision that moved nothing (or not all), the next attempt.
pub(super) const HUNT_AGAIN: u64 = 200 * MS;
/// An agent with an older heartbeat is no target while there is a better one,
pub(super) const BEAT_GOOD: u64 = 100 * MS;
/// and one with a heartbeat as old as this is none at all.
pub(super) const BEAT_LIMIT: u64 = 300 * MS;
/// Claims of what was just taken.
pub(super) const TAKEN_ROUNDS: [u64; 3] = [0, 10 * MS, 30 * MS];
/// Claims of everything when contact, the fence or the agent comes back.
pub(super) const CONTACT_ROUNDS: [u64; 3] = [0, 10 * MS, 25 * MS];
/// Claims of everything otherwise.
pub(super) const CLAIM_EVERY: u64 = 1000 * MS;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two probes of a peer.
    pub probe: u64,
    /// A grant's worth. At least three probes, or lost packets fence.
    pub lease: u64,
    /// How long votes may be collected: well above a round trip between agents.
    pub window: u64,
    /// Voters of the second rank wait this much longer than those of the first.
    pub stagger: u64,
    /// Fenced for this long while its voters are heard, a node begins anew.
    pub resign: u64,
    /// How long the kernel goes on without an agent.
    pub grace: u64,
    /// Whether a node that lost its majority serves while its segment lives, and
    /// after which pause (`available`); `None` = never (`consistent`).
    pub available: Option<u64>,
    /// How long the node that the plan names first must have been fit before it is
    /// handed what it lost, and the pause between two such moves; `None` = it never is.
    pub home: Option<u64>,
    /// How long an address is left alone that nobody has claimed for two rounds of claims;
    /// `None` = until the controller places it.
    pub orphan: Option<u64>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            probe: 30 * MS,
            lease: 120 * MS,
            window: 50 * MS,
            stagger: 15 * MS,
            resign: 1000 * MS,
            grace: 120_000 * MS,
            available: Some(1000 * MS),
            home: Some(10_000 * MS),
            orphan: Some(0),
        }
    }
}

impl Timing {
    /// The kernel's share. The margin covers timers, and two clocks of which one
    /// is 500 ppm fast and the other 500 ppm slow.
    #[must_use]
    pub const fn kernel(&self) -> Times {
        Times { lease: self.lease, margin: MS + self.lease / 1000, window: self.window, grace: self.grace }
    }
}
