//! What is in the maps, and who writes it.
//!
//! Words only, so that a CPU reads each whole while another writes. A structure
//! has one writer: user space replaces map values as a whole, and would undo what
//! the program stored meanwhile.

use bytemuck::{Pod, Zeroable};
use core::mem::size_of;

/// Most voters of a node.
pub const VOTERS: usize = 4;

/// In [`Own::needs`]: fenced whatever is held (no plan is known yet).
pub const NEVER: u64 = u64::MAX;

/// In [`Own::flags`]: the node can serve addresses (its segment's carrier is
/// there, it does not drain), and may be chosen for more.
pub const ABLE: u64 = 1;

/// A node, as messages and maps name it: a hash of its name, never 0.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct NodeId(pub u64);

impl NodeId {
    /// No node.
    pub const NOBODY: Self = Self(0);
}

/// The times that the kernel's rules depend on, in nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Times {
    /// How long a grant is worth, from the stamp that it echoes.
    pub lease: u64,
    /// What a voter waits beyond a lease before it suspects: the difference of
    /// two clocks over one lease, and then some.
    pub margin: u64,
    /// How long a promise is bound to its asker, and a collection may last.
    pub window: u64,
    /// How long after the agent's last heartbeat the kernel goes on.
    pub grace: u64,
}

/// This node. Written by the agent.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Own {
    /// Who we are.
    pub id: NodeId,
    /// Our incarnation: greater at each boot and at each resignation. An entry of
    /// another incarnation is not answered.
    pub inc: u64,
    /// The agent's last heartbeat.
    pub heartbeat: u64,
    /// Whose leases count; `NOBODY` where there are fewer than four.
    pub voters: [NodeId; VOTERS],
    /// How many of them must be valid; 0 = none (one or two nodes, or the last
    /// node standing), [`NEVER`] = fenced.
    pub needs: u64,
    /// [`ABLE`].
    pub flags: u64,
    /// The times in force.
    pub times: Times,
}

impl Own {
    /// Whether the agent's heartbeat is within the grace. Otherwise the node is as
    /// if without Clarion.
    #[inline(always)]
    #[must_use]
    pub const fn alive(&self, now: u64) -> bool {
        self.heartbeat != 0 && now.saturating_sub(self.heartbeat) <= self.times.grace
    }

    /// The heartbeat's age in milliseconds, as messages carry it.
    #[inline(always)]
    #[must_use]
    pub const fn beat_ms(&self, now: u64) -> u16 {
        let age = now.saturating_sub(self.heartbeat) / 1_000_000;
        if self.heartbeat == 0 || age > 0xffff { 0xffff } else { (age & 0xffff) as u16 }
    }
}

/// One voter's lease.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Lease {
    /// Who granted it.
    pub voter: NodeId,
    /// For which of our incarnations.
    pub inc: u64,
    /// Until when: our own stamp, which the voter echoed, and the lease's time.
    pub until: u64,
}

/// Our leases; entry `i` is that of [`Own::voters`]`[i]`. Written by the kernel.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Leases(pub [Lease; VOTERS]);

/// What was promised about another node. Votes are the kernel's, so that a dead
/// agent costs its node nothing but the node's own place among the takers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Promise {
    /// The incarnation that is granted no lease any more; 0 = no promise.
    pub inc: u64,
    /// To whom that was promised.
    pub by: NodeId,
    /// When.
    pub at: u64,
    /// When another node last asked for such a promise; 0 = never.
    pub asked: u64,
}

impl Promise {
    /// Nothing was promised.
    pub const NONE: Self = Self { inc: 0, by: NodeId::NOBODY, at: 0, asked: 0 };
}

/// What the kernel knows of another node. Written by the kernel, but for the
/// first value, which the agent puts there ([`Peer::new`]). The agent's own word
/// about a peer is one number in a map of its own: when the newest stamp that a
/// probe of the agent's echoed with a grant was heard (as [`Peer::granted`]).
///
/// What a new incarnation clears does not lie side by side: the BPF compiler would
/// call a function to clear two words in a row.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Peer {
    /// Its newest incarnation heard; 0 = never heard.
    pub inc: u64,
    /// Its newest stamp, of its own clock.
    pub stamp: u64,
    /// When that was heard.
    pub heard: u64,
    /// The newest stamp of ours that it echoed: a round trip.
    pub rt: u64,
    /// When the newest stamp that our kernel echoed with a grant was heard.
    pub granted: u64,
    /// The newest stamp of ours that it echoed while it said "ok".
    pub ok_echo: u64,
    /// When its agent's heart last beat, by our clock.
    pub beat: u64,
    /// Flags of its newest message ([`crate::FLAG_OK`] and the others).
    pub flags: u64,
    /// An incarnation of ours that it knows and that is greater than ours (our
    /// boot had a wrong clock); 0 = none.
    pub ahead: u64,
    /// Our promise about it.
    pub promise: Promise,
}

impl Peer {
    /// A node that nothing was heard of, known since `now`: it has a whole lease's
    /// time before it is suspected.
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Self {
            inc: 0,
            stamp: 0,
            heard: now,
            granted: now,
            rt: 0,
            ok_echo: 0,
            beat: 0,
            flags: 0,
            ahead: 0,
            promise: Promise::NONE,
        }
    }
}

const _: () = {
    assert!(size_of::<Times>() == 32 && size_of::<Own>() == 104);
    assert!(size_of::<Leases>() == 96 && size_of::<Peer>() == 104);
};
