//! Layer 2: who owns an address, and the frames that say so. No sockets, no
//! clock, no tasks: `now` is an argument, a [`Duration`](std::time::Duration)
//! on any clock that never goes back.
//!
//! | module | question |
//! |---|---|
//! | [`order`] | in which order may nodes own an address? |
//! | [`liveness`] | which nodes are alive, as far as this one can tell? |
//! | [`ownership`] | who owns each address now? (by Leases, until [`machine`] takes its place) |
//! | [`machine`] | the ownership protocol: the agent's half of the fence in the kernel |
//! | [`frames`] | which bytes tell the segment? |
//! | [`schedule`] | when are they sent? |

pub mod frames;
pub mod liveness;
pub mod machine;
pub mod order;
pub mod ownership;
pub mod schedule;
