//! What the machine notes: a line of the log where an operator acts on it, a counter
//! everywhere. The network cannot make the log grow: what a lossy link does to and
//! fro is for debugging only.

use std::collections::BTreeMap;

use clarion_fence::NodeId;
use clarion_l2::machine::{DecodeError, Event, Record, Why};

use super::name_of;
use crate::desired::owners::Fellow;

/// Counters since the agent began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Events, by kind.
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// Datagrams that were not taken in, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    /// Datagrams that could not be sent.
    pub(crate) unsent: u64,
}

impl Told {
    /// Takes note of an event.
    pub(super) fn event(&mut self, event: Event, fellows: &BTreeMap<NodeId, Fellow>) {
        let name = |node| name_of(fellows, node);
        let kind = match event {
            Event::Stalled(nanoseconds) => {
                tracing::warn!(
                    ms = nanoseconds / 1_000_000,
                    "the agent did not run for a while: the node is short of processor time, or was suspended"
                );
                "stalled"
            }
            Event::Whole => {
                tracing::info!("this node's leases are a majority: its kernel answers");
                "whole"
            }
            Event::Fenced => {
                tracing::warn!(
                    "this node's leases are no majority: its kernel answers for no layer 2 address"
                );
                "fenced"
            }
            Event::Contact(node) => {
                tracing::debug!(node = name(node), "in contact");
                "contact"
            }
            Event::NoContact(node) => {
                tracing::debug!(node = name(node), "no contact");
                "noContact"
            }
            Event::Resigned(inc) => {
                tracing::info!(inc, "fenced for long: this node owns nothing and begins anew");
                "resigned"
            }
            Event::LastStanding => {
                tracing::warn!(
                    "most of this node's voters are silent and its segment lives: it serves as the last node standing"
                );
                "lastStanding"
            }
            Event::NotAlone => {
                tracing::info!("this node's voters are back");
                "notAlone"
            }
            Event::Collecting(node, _) => {
                tracing::debug!(node = name(node), "collecting promises about a silent node");
                "collecting"
            }
            Event::Deposed(node, addresses) => {
                tracing::warn!(
                    node = name(node),
                    addresses,
                    "a node is silent: its layer 2 addresses go to others"
                );
                "deposed"
            }
            Event::Assigning(address, epoch, node) => {
                tracing::debug!(%address, epoch, node = name(node), "assigning");
                "assigning"
            }
            Event::NoTarget(address) => {
                tracing::debug!(%address, "nobody can take it");
                "noTarget"
            }
            Event::Took(address, epoch) => {
                tracing::debug!(%address, epoch, "took");
                "took"
            }
            Event::Occupied(address) => {
                tracing::debug!(%address, "not taken: somebody answers for it");
                "occupied"
            }
            Event::NoSegment(address) => {
                tracing::debug!(%address, "not taken: the segment is silent");
                "noSegment"
            }
            Event::Yielded(address, record) => {
                let Record { epoch, node, .. } = record;
                tracing::debug!(%address, epoch, node = name(node), "given up to a greater claim");
                "yielded"
            }
            Event::GaveUp(address) => {
                tracing::debug!(%address, "given up");
                "gaveUp"
            }
        };
        let count = self.events.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// All counters.
    pub(super) fn with_dropped(&self, dropped: &BTreeMap<Why, u64>, unsent: u64) -> Self {
        let mut told = self.clone();
        told.unsent = unsent;
        for (why, count) in dropped {
            *told.dropped.entry(word(*why)).or_default() += count;
        }
        told
    }
}

fn word(why: Why) -> &'static str {
    match why {
        Why::Unreadable(DecodeError::Length) => "length",
        Why::Unreadable(DecodeError::Foreign) => "foreign",
        Why::Unreadable(DecodeError::UnknownKey) => "unknownKey",
        Why::Unreadable(DecodeError::BadTag) => "badTag",
        Why::Rejected(_) => "badVote",
        Why::Misdirected => "misdirected",
        Why::Stranger => "stranger",
        Why::Replayed => "replayed",
    }
}
