//! Which nodes are alive, judged by their Leases.
//!
//! Clocks of other machines are never read (client-go's rule): what counts is
//! when *this* node last saw a Lease change, on its own monotonic clock. A Lease
//! that did not change for [`Timing::stale`] belongs to a dead node, unless it is
//! our own view that broke: an API server that is away renews nobody. Therefore a
//! node is declared dead only after some other renewal, mostly our own, came back
//! through the same watch well after the dead node's last one. And when renewals
//! return after a pause, everybody who was alive gets the full time again.

use std::collections::BTreeMap;
use std::time::Duration;

use clarion_core::NodeName;

/// The times that liveness is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A Lease unchanged for this long is stale: somewhat more than three renewals,
    /// so that two may get lost and the third be late.
    pub stale: Duration,
    /// A node must have been silent for at least this long when another one was
    /// heard: somewhat more than two renewals.
    pub missed: Duration,
    /// Nobody heard for longer than this is a broken view. Between one renewal and
    /// two: a single node hears at least itself.
    pub pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            stale: Duration::from_secs(3),
            missed: Duration::from_secs(2),
            pause: Duration::from_millis(1500),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Whatever changes at each renewal, as text.
    renewal: String,
    /// When it last changed, or when we began to count again.
    since: Duration,
    /// It changed under our eyes: what a dead node left behind never does.
    heard: bool,
}

/// What this node knows of the others' Leases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Liveness {
    timing: Timing,
    nodes: BTreeMap<NodeName, Seen>,
    /// When any renewal last came through the watch.
    evidence: Option<Duration>,
    /// When the first Lease was seen: the initial list comes then.
    started: Option<Duration>,
}

impl Liveness {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self { timing, ..Self::default() }
    }

    /// A Lease was seen. `renewal` is any text that differs after each renewal.
    /// The first sight of a node counts as a renewal: its clock cannot be asked.
    pub fn observe(&mut self, node: &NodeName, renewal: &str, now: Duration) {
        let heard = match self.nodes.get(node) {
            Some(seen) if seen.renewal == renewal => return,
            // A Lease that appears later was made by a living node.
            known => {
                known.is_some() || now.saturating_sub(*self.started.get_or_insert(now)) > self.timing.pause
            }
        };
        self.count_evidence(now);
        self.nodes.insert(node.clone(), Seen { renewal: renewal.to_owned(), since: now, heard });
    }

    /// Whether the node was heard to renew since we began to look, or to look
    /// again after a broken view. Until then "alive" is only the benefit of the
    /// doubt, and nothing that works is to be given up for it.
    #[must_use]
    pub fn heard(&self, node: &NodeName) -> bool {
        self.nodes.get(node).is_some_and(|seen| seen.heard)
    }

    /// A Lease was deleted: the node said goodbye.
    pub fn forget(&mut self, node: &NodeName) {
        self.nodes.remove(node);
    }

    /// The nodes known, dead or alive.
    pub fn known(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// Whether the node is alive. Nodes never seen are not.
    #[must_use]
    pub fn alive(&self, node: &NodeName, now: Duration) -> bool {
        self.nodes.get(node).is_some_and(|seen| !self.dead(seen, now))
    }

    /// Whether the view itself is silent: nothing came for longer than a pause.
    #[must_use]
    pub fn frozen(&self, now: Duration) -> bool {
        self.evidence.is_none_or(|at| now.saturating_sub(at) > self.timing.pause)
    }

    /// When [`alive`](Self::alive) of some node may change without a further Lease.
    #[must_use]
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.nodes
            .values()
            .filter(|seen| self.missed(seen) && !self.dead(seen, now))
            .map(|seen| seen.since + self.timing.stale)
            .min()
    }

    fn dead(&self, seen: &Seen, now: Duration) -> bool {
        self.missed(seen) && now.saturating_sub(seen.since) >= self.timing.stale
    }

    /// Others were heard long after this one: its silence is its own.
    fn missed(&self, seen: &Seen) -> bool {
        self.evidence.is_some_and(|at| at.saturating_sub(seen.since) >= self.timing.missed)
    }

    fn count_evidence(&mut self, now: Duration) {
        if self.frozen(now) {
            let (timing, evidence) = (self.timing, self.evidence);
            for seen in self.nodes.values_mut() {
                let missed = evidence.is_some_and(|at| at.saturating_sub(seen.since) >= timing.missed);
                let dead = missed && now.saturating_sub(seen.since) >= timing.stale;
                if !dead {
                    (seen.since, seen.heard) = (now, false);
                }
            }
        }
        self.evidence = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn name(text: &str) -> NodeName {
        NodeName::from(text)
    }

    /// Renewals of these nodes each second within `[from, to)` ms.
    fn renew(live: &mut Liveness, nodes: &[&str], from: u64, to: u64) {
        for (tick, millis) in (from..to).step_by(1000).enumerate() {
            for (i, node) in (0u64..).zip(nodes) {
                live.observe(&name(node), &format!("{from}/{tick}"), at(millis + i * 100));
            }
        }
    }

    #[test]
    fn what_a_dead_node_left_behind_is_never_heard() {
        let mut live = Liveness::new(Timing::default());
        live.observe(&name("dead"), "left behind", at(0));
        live.observe(&name("me"), "1", at(10));
        assert!(live.alive(&name("dead"), at(10)) && !live.heard(&name("dead")));
        live.observe(&name("me"), "2", at(900));
        live.observe(&name("dead"), "left behind", at(900));
        assert!(live.heard(&name("me")) && !live.heard(&name("dead")));
        live.observe(&name("new"), "1", at(2000));
        assert!(live.heard(&name("new")), "a Lease that appears is a living node's");
    }

    #[test]
    fn after_a_broken_view_everybody_must_be_heard_again() {
        let mut live = Liveness::new(Timing::default());
        renew(&mut live, &["a", "b"], 0, 3000);
        assert!(live.heard(&name("a")) && live.heard(&name("b")));
        live.observe(&name("a"), "back", at(60_000));
        assert!(live.heard(&name("a")) && !live.heard(&name("b")) && live.alive(&name("b"), at(60_000)));
    }

    #[test]
    fn a_silent_node_is_dead_after_three_seconds() {
        let mut live = Liveness::default();
        renew(&mut live, &["a", "b"], 0, 5000);
        renew(&mut live, &["a"], 5000, 8000);
        // b's last renewal was at 4.1 s.
        assert_eq!(live.next_deadline(at(7000)), Some(at(7100)));
        assert!(live.alive(&name("b"), at(7099)) && !live.alive(&name("b"), at(7100)));
        assert!(live.alive(&name("a"), at(7100)));
        live.observe(&name("b"), "back", at(9000));
        assert!(live.alive(&name("b"), at(9000)));
    }

    #[test]
    fn nobody_is_dead_while_our_own_view_is_silent() {
        let mut live = Liveness::default();
        renew(&mut live, &["a", "b"], 0, 5000);
        assert!(live.frozen(at(60_000)) && !live.frozen(at(5000)));
        assert!(live.alive(&name("a"), at(60_000)) && live.alive(&name("b"), at(60_000)));
        assert_eq!(live.next_deadline(at(60_000)), None);
        // The API server is back; only we have renewed yet. b gets its full time.
        live.observe(&name("a"), "new", at(60_000));
        assert!(live.alive(&name("b"), at(60_000)));
        renew(&mut live, &["a"], 61_000, 63_000);
        assert!(live.alive(&name("b"), at(62_999)) && !live.alive(&name("b"), at(63_000)));
    }

    #[test]
    fn who_was_dead_before_the_view_broke_stays_dead() {
        let mut live = Liveness::default();
        renew(&mut live, &["a", "b"], 0, 2000);
        renew(&mut live, &["a"], 2000, 8000);
        assert!(!live.alive(&name("b"), at(8000)));
        live.observe(&name("a"), "new", at(60_000));
        assert!(!live.alive(&name("b"), at(60_000)));
    }

    #[test]
    fn an_unchanged_lease_seen_again_is_no_renewal() {
        let mut live = Liveness::default();
        renew(&mut live, &["a", "b"], 0, 1000);
        for second in 1..10 {
            live.observe(&name("a"), &second.to_string(), at(second * 1000));
            live.observe(&name("b"), "0/0", at(second * 1000));
        }
        assert!(!live.alive(&name("b"), at(9000)));
    }

    #[test]
    fn a_deleted_lease_is_a_goodbye() {
        let mut live = Liveness::default();
        renew(&mut live, &["a", "b"], 0, 1000);
        live.forget(&name("b"));
        assert!(!live.alive(&name("b"), at(1000)));
    }

    proptest! {
        /// However often the view breaks and returns (with four seconds between): a
        /// node that renews each 900 ms whenever it can is never declared dead.
        #[test]
        fn no_pause_of_the_view_kills_a_node_that_renews(
            pauses in proptest::collection::vec((4000u64..10_000, 100u64..20_000), 0..6),
            phase in 0u64..900,
            jitter in proptest::collection::vec(0u64..80, 120),
        ) {
            let mut end = 0;
            let pauses: Vec<_> = pauses.iter().map(|(wait, len)| {
                let from = end + wait;
                end = from + len;
                from..end
            }).collect();
            let paused = |t: u64| pauses.iter().any(|pause| pause.contains(&t));
            let mut live = Liveness::default();
            let mut events: Vec<(u64, &str)> = (0..120u64)
                .zip(jitter)
                .flat_map(|(s, j)| [(s * 900 + j, "a"), (s * 900 + phase + j, "b")])
                .filter(|(t, _)| !paused(*t))
                .collect();
            events.sort_unstable();
            for (i, (t, node)) in events.iter().enumerate() {
                live.observe(&name(node), &i.to_string(), at(*t));
                let next = events.get(i + 1).map_or(*t, |n| n.0);
                for probe in (*t..next).step_by(50) {
                    // Both were heard once: from then on neither may die.
                    if live.known().count() == 2 {
                        prop_assert!(live.alive(&name("a"), at(probe)), "a at {probe}");
                        prop_assert!(live.alive(&name("b"), at(probe)), "b at {probe}");
                    }
                }
            }
        }
    }
}
