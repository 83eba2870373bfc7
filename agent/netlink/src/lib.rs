//! The only room with netlink: links and addresses, snapshots and watches.
//!
//! The rest of the agent sees plain values: a [`Snapshot`] of what the host has
//! now, a [`Watch`] that hands out a fresh one whenever the kernel says that
//! something changed, the pure rule [`select`] of which interfaces layer 2 uses
//! (MetalLB's, contract §4.2), and the multicast groups that make switches
//! forward neighbour solicitations ([`Groups`]).
//!
//! Snapshots instead of deltas: the kernel drops notifications when a socket's
//! buffer is full, and a snapshot taken after the loss is right again.

mod groups;
mod model;
mod select;
mod watch;

pub use groups::{GroupChange, GroupError, Groups};
pub use model::{Address, Link, Mac, Snapshot};
pub use select::{Exclusion, Interface, PatternError, SkipReason, select};
pub use watch::{SnapshotError, Watch, WatchError};
