//! Each datagram once: what was heard from a sender before, or long ago, is
//! dropped. The last [`KEPT`] times of sending are remembered; whatever is not
//! newer than all of them was overtaken by so many that it says nothing new.

use std::collections::BTreeMap;

use clarion_fence::{NodeId, Peer};

use super::timing::MS;

const KEPT: usize = 32;
/// The kernel heard a stamp of the sender this much newer: a replay from before
/// our agent started.
const LONG_AGO: u64 = 5_000 * MS;

#[derive(Debug, Clone, Default)]
struct Window {
    inc: u64,
    /// Ascending.
    heard: Vec<u64>,
}

/// The windows of all senders. Only for senders that the plan or the kernel
/// knows: a bounded number.
#[derive(Debug, Clone, Default)]
pub(super) struct Replays(BTreeMap<NodeId, Window>);

impl Replays {
    /// Whether this datagram is the first with its content that comes in time.
    pub(super) fn admit(&mut self, from: NodeId, inc: u64, sent: u64, peer: Option<&Peer>) -> bool {
        let overtaken =
            |peer: &Peer| inc < peer.inc || (inc == peer.inc && sent.saturating_add(LONG_AGO) < peer.stamp);
        if peer.is_some_and(overtaken) {
            return false;
        }
        let window = self.0.entry(from).or_default();
        if inc != window.inc {
            if inc < window.inc {
                return false;
            }
            *window = Window { inc, heard: Vec::with_capacity(KEPT + 1) };
        }
        let full = window.heard.len() >= KEPT;
        match window.heard.binary_search(&sent) {
            Ok(_) => return false,
            Err(0) if full => return false,
            Err(at) => window.heard.insert(at, sent),
        }
        if full {
            window.heard.remove(0);
        }
        true
    }

    pub(super) fn retain(&mut self, known: impl Fn(NodeId) -> bool) {
        self.0.retain(|node, _| known(*node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_datagram_is_admitted_once_and_late_ones_in_any_order() {
        let (mut replays, from) = (Replays::default(), NodeId(1));
        for sent in [10, 30, 20] {
            assert!(replays.admit(from, 1, sent, None));
            assert!(!replays.admit(from, 1, sent, None), "doubled");
        }
        for sent in 100..=200 {
            assert!(replays.admit(from, 1, sent, None));
        }
        assert!(!replays.admit(from, 1, 40, None), "overtaken by more than are remembered");
        assert!(replays.admit(from, 2, 5, None), "a new boot's clock starts low");
        assert!(!replays.admit(from, 1, 300, None), "the boot before");
        assert!(replays.admit(NodeId(2), 1, 40, None), "each sender has its own");
    }

    #[test]
    fn a_restarted_agent_takes_nothing_from_long_ago() {
        let peer = Peer { inc: 4, stamp: LONG_AGO + 100, ..Peer::new(0) };
        let mut replays = Replays::default();
        assert!(!replays.admit(NodeId(1), 4, 99, Some(&peer)));
        assert!(!replays.admit(NodeId(1), 3, LONG_AGO, Some(&peer)));
        assert!(replays.admit(NodeId(1), 4, 100, Some(&peer)));
    }
}
