//! What is worth a line of the log, and why datagrams are dropped.

use std::net::IpAddr;

use clarion_fence::{NodeId, Rejected};

use super::message::DecodeError;
use super::record::Record;

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It could not be read.
    Unreadable(DecodeError),
    /// A vote could not be read.
    Rejected(Rejected),
    /// It is not for this node.
    Misdirected,
    /// Neither plan nor kernel knows the sender.
    Stranger,
    /// It was heard before, or is from long ago.
    Replayed,
}

/// What the machine did or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The agent did not run for so many nanoseconds.
    Stalled(u64),
    /// This node's leases are a majority (again).
    Whole,
    /// They are not: the kernel answers for nothing.
    Fenced,
    /// Round trips to a peer succeed (again).
    Contact(NodeId),
    /// They fail.
    NoContact(NodeId),
    /// Fenced for long with its voters in reach, the node began anew as this
    /// incarnation and owns nothing.
    Resigned(u64),
    /// The majority is lost, the segment lives: this node goes on alone.
    LastStanding,
    /// It no longer needs to.
    NotAlone,
    /// Promises about a peer are being collected.
    Collecting(NodeId, u64),
    /// They were enough: so many addresses go to others.
    Deposed(NodeId, usize),
    /// An address is assigned to a node.
    Assigning(IpAddr, u64, NodeId),
    /// Nobody is left to assign it to.
    NoTarget(IpAddr),
    /// This node took an address under an epoch.
    Took(IpAddr, u64),
    /// It did not: somebody answers for it.
    Occupied(IpAddr),
    /// It did not: its segment is silent.
    NoSegment(IpAddr),
    /// It gave an address up to a greater claim.
    Yielded(IpAddr, Record),
    /// It no longer holds an address.
    GaveUp(IpAddr),
}
