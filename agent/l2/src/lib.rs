//! Layer 2: who owns an address, and the frames that say so. No sockets, no
//! clock, no tasks: `now` is an argument, a [`Duration`](std::time::Duration)
//! on any clock that never goes back.
//!
//! | module | question |
//! |---|---|
//! | [`machine`] | who owns each address: the agent's half of the protocol, the other half is the kernel's |
//! | [`frames`] | which bytes tell the segment? |
//! | [`questions`] | which bytes ask it? |
//! | [`schedule`] | when are they sent? |

pub mod frames;
pub mod machine;
pub mod questions;
pub mod schedule;
