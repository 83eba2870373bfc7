//! What a session is told. All of it may change while the session lives.

use std::num::NonZeroU8;

use crate::wire::Interval;

/// Who speaks first (RFC 5880 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This side, whether the peer is heard or not.
    Active,
    /// The peer: nothing is sent before it is heard.
    Passive,
}

/// What becomes of BFD while the agent restarts (the C bit, RFC 5880 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlPlane {
    /// It stops with the agent.
    Shared,
    /// The kernel goes on answering.
    Independent,
}

/// One session's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// How often this side would like to send while the session is up.
    pub transmit_interval: Interval,
    /// How often this side can take packets. Zero would forbid the peer to send at all
    /// and counts as one microsecond.
    pub receive_interval: Interval,
    /// How many packets of ours may be lost before the peer calls the path down.
    pub multiplier: NonZeroU8,
    /// Who speaks first.
    pub role: Role,
    /// Our echo packets, no more often than this (nor than the peer allows); `None`: none.
    /// While they run, control packets are asked for once a second only (§6.8.3).
    pub echo: Option<Interval>,
    /// How often the peer's echo packets are looped back; `None`: never.
    pub loop_back: Option<Interval>,
    /// Lowest TTL accepted over several hops; over one it is always 255.
    pub minimum_ttl: u8,
    /// The C bit.
    pub control_plane: ControlPlane,
}
