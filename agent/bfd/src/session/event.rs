//! What a session tells: typed, so that logs, status, metrics and BGP say the same.

use std::fmt;
use std::time::Duration;

use crate::wire::{Diagnostic, State};

/// Why a session changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A packet with the peer's state let it rise.
    Heard(State),
    /// The peer has told that its side is down, and why.
    NeighborDown(Diagnostic),
    /// The peer is held down by its operator. RFC 5882 §4.2: that says nothing about the path.
    NeighborAdminDown(Diagnostic),
    /// Nothing was heard for this long.
    DetectionTimeExpired(Duration),
    /// Our echo packets have not come back for this long.
    EchoFailed(Duration),
    /// We hold it down.
    Disabled,
    /// We no longer hold it down.
    Enabled,
}

impl Cause {
    /// What the peer is told by it.
    #[must_use]
    pub fn diagnostic(self) -> Diagnostic {
        match self {
            Self::Heard(_) | Self::Enabled => Diagnostic::None,
            Self::NeighborDown(_) | Self::NeighborAdminDown(_) => Diagnostic::NeighborSignaledDown,
            Self::DetectionTimeExpired(_) => Diagnostic::ControlDetectionTimeExpired,
            Self::EchoFailed(_) => Diagnostic::EchoFailed,
            Self::Disabled => Diagnostic::AdministrativelyDown,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard(state) => write!(f, "the peer is heard, in state {state}"),
            Self::NeighborDown(Diagnostic::None) => f.write_str("the peer says that its side is down"),
            Self::NeighborDown(theirs) => write!(f, "the peer says that its side is down: {theirs}"),
            Self::NeighborAdminDown(_) => f.write_str("the peer's operator has switched the session off"),
            Self::DetectionTimeExpired(after) => {
                write!(f, "control detection time expired: nothing heard for {after:?}")
            }
            Self::EchoFailed(after) => write!(f, "echo function failed: no echo came back for {after:?}"),
            Self::Disabled => f.write_str("switched off here"),
            Self::Enabled => f.write_str("switched on here"),
        }
    }
}

/// What both sides together agree on at the moment (RFC 5880 §6.8.2, §6.8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between our packets, before jitter.
    pub transmit: Duration,
    /// Between the peer's, before jitter.
    pub receive: Duration,
    /// Nothing heard for so long: down.
    pub detection: Duration,
    /// Between our echo packets, if they run.
    pub echo: Option<Duration>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Another state. The path is alive in [`State::Up`] alone.
    Changed {
        /// The state left.
        from: State,
        /// The state entered.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// The session is up and runs at another pace than was told before.
    Paced(Timing),
}
