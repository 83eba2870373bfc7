//! What the fields of a packet hold.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// State of a session (RFC 5880 §4.1, Sta).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down by an operator (§6.8.16).
    AdminDown,
    /// The path is down, or nothing is known of it.
    Down,
    /// The peer is heard, but does not hear us as far as we know.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// All of them, by code.
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    pub(super) fn from_code(code: u8) -> Self {
        match code & 0b11 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    /// The word that routers show it by: `Up`, `AdminDown`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a session changed its state last (RFC 5880 §4.1, Diag).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Diagnostic {
    /// 0: it has not gone down.
    None,
    /// 1: nothing was heard for the detection time.
    ControlDetectionTimeExpired,
    /// 2: our echo packets do not come back.
    EchoFailed,
    /// 3: the other side said that it is down.
    NeighborSignaledDown,
    /// 4: the forwarding plane was reset.
    ForwardingPlaneReset,
    /// 5: something below has found the path down.
    PathDown,
    /// 6: a path behind this one is down.
    ConcatenatedPathDown,
    /// 7: an operator holds it down.
    AdministrativelyDown,
    /// 8: the way back of a path behind this one is down.
    ReverseConcatenatedPathDown,
    /// 9..=31: reserved, or assigned later.
    Other(OtherDiagnostic),
}

/// A diagnostic code without a name here: 9..=31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherDiagnostic(u8);

impl Diagnostic {
    /// The diagnostic of a code; of more than five bits the lower five count.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        match code & 0b1_1111 {
            0 => Self::None,
            1 => Self::ControlDetectionTimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborSignaledDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            other => Self::Other(OtherDiagnostic(other)),
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::ControlDetectionTimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborSignaledDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Other(OtherDiagnostic(code)) => code,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no diagnostic",
            Self::ControlDetectionTimeExpired => "control detection time expired",
            Self::EchoFailed => "echo function failed",
            Self::NeighborSignaledDown => "neighbor signaled session down",
            Self::ForwardingPlaneReset => "forwarding plane reset",
            Self::PathDown => "path down",
            Self::ConcatenatedPathDown => "concatenated path down",
            Self::AdministrativelyDown => "administratively down",
            Self::ReverseConcatenatedPathDown => "reverse concatenated path down",
            Self::Other(OtherDiagnostic(code)) => return write!(f, "diagnostic {code}"),
        })
    }
}

/// One side's name for a session: unique among its sessions, never zero (RFC 5880 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Discriminator(NonZeroU32);

impl Discriminator {
    /// `None` for zero, which stands for "not known".
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Discriminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Time between packets in microseconds, as packets carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u32);

impl Interval {
    /// Nothing; as something to receive: "send me none".
    pub const ZERO: Self = Self(0);
    /// A second: no session that is not up sends more often (RFC 5880 §6.8.3).
    pub const SLOW: Self = Self(1_000_000);
    /// What a peer can take that has not said so yet (RFC 5880 §6.8.1, bfd.RemoteMinRxInterval).
    pub const LEAST: Self = Self(1);

    /// From microseconds.
    #[must_use]
    pub const fn from_micros(micros: u32) -> Self {
        Self(micros)
    }

    /// From milliseconds; what does not fit, over 71 minutes, becomes the longest that does.
    #[must_use]
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds.
    #[must_use]
    pub const fn micros(self) -> u32 {
        self.0
    }

    /// The same as a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}
