//! The kernel's half as the agent sees it: maps of this host, no network.
//!
//! A trait and no snapshot, since a grant is only worth what was read *after* it
//! was stored (see `clarion_fence::answer`).

use std::net::IpAddr;

use clarion_fence::{Asked, Leases, NodeId, Own, Peer};

/// An address's entry: what the program answers with, and as which incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The epoch under which we own it.
    pub epoch: u64,
    /// The incarnation that took it. Of any other it is not answered.
    pub inc: u64,
    /// Whose MAC is in the answer: our own, or, while we hand over, the next owner's.
    pub station: NodeId,
}

/// The maps. They outlive the agent and end with the boot.
pub trait Kernel {
    /// What we last wrote about ourselves; `None` on the first start since boot.
    fn own(&self) -> Option<Own>;
    /// Replaces it.
    fn set_own(&mut self, own: Own);
    /// Our leases.
    fn leases(&self) -> Leases;
    /// What was heard of a peer; `None` if it is not watched.
    fn peer(&self, node: NodeId) -> Option<Peer>;
    /// The peers watched.
    fn peers(&self) -> Vec<NodeId>;
    /// Watches a node from now on ([`Peer::new`]); one that is watched stays as it is.
    fn watch(&mut self, node: NodeId, now: u64);
    /// Ends that, and what was promised about it.
    fn unwatch(&mut self, node: NodeId);
    /// When the newest stamp of the peer's that a probe of ours granted a lease
    /// was heard; 0 = never.
    fn granted(&self, node: NodeId) -> u64;
    /// Replaces it. On return the program sees it.
    fn set_granted(&mut self, node: NodeId, heard: u64);
    /// Has our own kernel promise us something about a peer
    /// (`clarion_fence::ask`); a node that is not watched is not suspect.
    fn ask(&mut self, about: NodeId, inc: u64, now: u64) -> Asked;
    /// All entries.
    fn entries(&self) -> Vec<(IpAddr, Entry)>;
    /// Writes one.
    fn set_entry(&mut self, address: IpAddr, entry: Entry);
    /// Deletes one.
    fn delete_entry(&mut self, address: IpAddr);
}
