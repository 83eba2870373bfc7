//! Why a packet is discarded, in the order of RFC 5880 §6.8.6.

use super::values::State;

/// A packet that is discarded without any effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// §6.8.6, first rule.
    #[error("BFD version {0}, not 1")]
    Version(u8),
    /// The Length field is below 24, or 26 with authentication; or the datagram ends before it.
    #[error("a length of {0} octets is too short for a control packet")]
    TooShort(u8),
    /// The Length field says more than there is.
    #[error("{length} octets are announced, {payload} are there")]
    LengthBeyondPayload {
        /// What the packet says.
        length: u8,
        /// What came.
        payload: usize,
    },
    /// Detect Mult is zero.
    #[error("the detect multiplier is 0")]
    ZeroMultiplier,
    /// The M bit, which is always zero.
    #[error("the multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("the peer's own discriminator is 0")]
    ZeroMyDiscriminator,
    /// Your Discriminator names no session here: the peer's memory of a former one.
    #[error("no session has the discriminator {0:#010x}")]
    UnknownDiscriminator(u32),
    /// Your Discriminator is zero in a state in which the peer must know it.
    #[error("the peer is in state {0} and does not name our session")]
    MissingYourDiscriminator(State),
    /// Your Discriminator is zero, and no session has such a peer.
    #[error("no session has this peer on this interface")]
    NoSession,
    /// RFC 5881 §5, RFC 5883 §5: it comes from too far away.
    #[error("TTL {got}, at least {least} is required")]
    Ttl {
        /// The packet's.
        got: u8,
        /// What the session demands.
        least: u8,
    },
    /// A session over one hop is addressed at the port for several, or the reverse.
    #[error("sent to the port for the other kind of session")]
    WrongPort,
    /// The A bit is set, and authentication is not in use.
    #[error("the packet is authenticated, the session is not")]
    Authenticated,
    /// An echo packet that is not one of ours, or came back twice or too late.
    #[error("not an echo packet that this session waits for")]
    ForeignEcho,
}

impl Refused {
    /// Labels of all, in the order of [`Self::index`].
    pub const LABELS: [&str; 13] = [
        "version",
        "tooShort",
        "lengthBeyondPayload",
        "zeroMultiplier",
        "multipoint",
        "zeroMyDiscriminator",
        "unknownDiscriminator",
        "missingYourDiscriminator",
        "noSession",
        "ttl",
        "wrongPort",
        "authenticated",
        "foreignEcho",
    ];

    /// Its place in [`Self::LABELS`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Version(_) => 0,
            Self::TooShort(_) => 1,
            Self::LengthBeyondPayload { .. } => 2,
            Self::ZeroMultiplier => 3,
            Self::Multipoint => 4,
            Self::ZeroMyDiscriminator => 5,
            Self::UnknownDiscriminator(_) => 6,
            Self::MissingYourDiscriminator(_) => 7,
            Self::NoSession => 8,
            Self::Ttl { .. } => 9,
            Self::WrongPort => 10,
            Self::Authenticated => 11,
            Self::ForeignEcho => 12,
        }
    }

    /// A word for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }
}
