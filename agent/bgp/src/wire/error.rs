//! What can be wrong with a message, and how each fault is answered.

use std::net::Ipv4Addr;

use super::Notification;

/// A message that cannot be accepted as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// RFC 4271 §6.1.
    #[error("the 16 octets of the marker are not all ones: this is no BGP, or octets were lost")]
    NotSynchronized,
    /// RFC 4271 §6.1, RFC 8654 §4.
    #[error("a message of {0} octets is too short or too long for its type")]
    BadLength(u16),
    /// RFC 4271 §6.1.
    #[error("unknown message type {0}")]
    BadType(u8),
    /// RFC 4271 §6.2.
    #[error("BGP version {0}, not 4")]
    UnsupportedVersion(u8),
    /// RFC 4271 §6.2, RFC 7607 §2.
    #[error("OPEN names AS 0")]
    ZeroAs,
    /// RFC 6286 §2.1.
    #[error("BGP identifier {0} cannot be one")]
    BadIdentifier(Ipv4Addr),
    /// RFC 4271 §6.2.
    #[error("hold time {0} s: must be 0 or at least 3")]
    UnacceptableHoldTime(u16),
    /// RFC 4271 §6.2.
    #[error("unknown optional parameter {0} in OPEN")]
    UnsupportedParameter(u8),
    /// RFC 4271 §6.2: recognized but malformed, subcode 0.
    #[error("malformed optional parameters in OPEN")]
    MalformedOpen,
    /// RFC 4271 §6.3, RFC 7606 §3 (b): the lengths inside an UPDATE contradict each other.
    #[error("the lengths inside an UPDATE contradict each other")]
    MalformedUpdate,
    /// RFC 4271 §6.3: mandatory to understand, and nobody knows it.
    #[error("unknown well-known attribute {0}")]
    UnknownWellKnown(u8),
    /// RFC 7606 §5.3: prefixes that cannot be read.
    #[error("an UPDATE holds a prefix that cannot be read")]
    InvalidNetwork,
    /// RFC 7606 §3 (g): MP_REACH_NLRI or MP_UNREACH_NLRI twice, or unreadable (§5.3).
    #[error("multiprotocol attribute {0} is malformed or there twice")]
    MalformedMultiprotocol(u8),
    /// RFC 7606 §2: tolerated, the routes count as withdrawn.
    #[error("path attribute {code} {fault}: its routes are treated as withdrawn")]
    TreatAsWithdraw {
        /// Attribute type.
        code: u8,
        /// What is wrong.
        fault: AttributeFault,
    },
    /// RFC 7606 §2: tolerated, the attribute is ignored.
    #[error("path attribute {code} {fault}: it is ignored")]
    DiscardAttribute {
        /// Attribute type.
        code: u8,
        /// What is wrong.
        fault: AttributeFault,
    },
    /// RFC 7313 §5.
    #[error("ROUTE-REFRESH of wrong length")]
    BadRefreshLength,
    /// RFC 4271 §4.5: too short to hold a code. No NOTIFICATION answers one.
    #[error("NOTIFICATION without a code")]
    ShortNotification,
}

/// What is wrong with a path attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttributeFault {
    /// Its value has another length than its type demands.
    #[error("has a wrong length")]
    Length,
    /// Optional or transitive bit against its type (RFC 7606 §3 (c)).
    #[error("has wrong flags")]
    Flags,
    /// A value that its type does not know.
    #[error("has an invalid value")]
    Value,
    /// Mandatory beside these routes (RFC 7606 §3 (d)).
    #[error("is missing")]
    Missing,
    /// Runs past the attributes (RFC 7606 §4).
    #[error("is cut off")]
    Truncated,
}

impl WireError {
    /// The NOTIFICATION that ends the session (RFC 4271 §6, the one place that
    /// maps); `None` for what is tolerated and for what must not be answered.
    #[must_use]
    pub fn notification(&self) -> Option<Notification> {
        let answer = Notification::new;
        Some(match self {
            Self::NotSynchronized => answer(1, 1),
            // The data is the erroneous length, the erroneous type (RFC 4271 §6.1).
            Self::BadLength(length) => answer(1, 2).with_data(length.to_be_bytes()),
            Self::BadType(kind) => answer(1, 3).with_data([*kind]),
            // The data is the largest version we speak (RFC 4271 §6.2).
            Self::UnsupportedVersion(_) => answer(2, 1).with_data(4_u16.to_be_bytes()),
            Self::ZeroAs => answer(2, 2),
            Self::BadIdentifier(_) => answer(2, 3),
            Self::UnsupportedParameter(_) => answer(2, 4),
            Self::UnacceptableHoldTime(_) => answer(2, 6),
            Self::MalformedOpen => answer(2, 0),
            Self::MalformedUpdate => answer(3, 1),
            Self::UnknownWellKnown(code) => answer(3, 2).with_data([*code]),
            Self::MalformedMultiprotocol(_) => answer(3, 9),
            Self::InvalidNetwork => answer(3, 10),
            Self::BadRefreshLength => answer(7, 1),
            Self::TreatAsWithdraw { .. } | Self::DiscardAttribute { .. } | Self::ShortNotification => {
                return None;
            }
        })
    }
}
