//! BGP messages as values, and their octets.
//!
//! Two codecs meet here, each checked against the other in the tests:
//!
//! * What we **send** is encoded by `netgauze-bgp-pkt` (several authors, used in
//!   production). None of its types leaves this module.
//! * What we **receive** is read by the bounded reader here. A node of a cluster
//!   counts foreign routes and drops them, so it needs no value per route; it needs
//!   what a general decoder does not give: RFC 7606's classes of errors (a library
//!   returns the first error of a message, but whether an UPDATE may be tolerated
//!   depends on what else can still be read in it), capabilities and NOTIFICATION
//!   codes that are unknown and must survive, and RFC 9072's long parameters.
//!
//! Which error is answered with which NOTIFICATION stands in one place: [`WireError::notification`].

mod error;
mod frame;
mod notification;
mod open;
mod reader;
mod refresh;
mod update;

#[cfg(test)]
mod tests;

use clarion_core::Family;

pub use error::{AttributeFault, WireError};
pub use frame::{Framer, MessageType, decode, encode_keepalive};
pub use notification::Notification;
pub use open::{Capability, Open, RestartFamily};
pub use refresh::RouteRefresh;
pub use update::{PathAttributes, ReceivedUpdate, Route, UpdateEncoder, UpdateReader};

/// Marker, length and type (RFC 4271 §4.1).
pub const HEADER: usize = 19;
/// The longest message without RFC 8654 (RFC 4271 §4.1).
pub const MAX_MESSAGE: usize = 4096;
/// The longest message with RFC 8654 (§3). OPEN and KEEPALIVE stay below [`MAX_MESSAGE`].
pub const MAX_EXTENDED: usize = 65535;

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 §4.2.
    Open(Open),
    /// RFC 4271 §4.3, counted and dropped.
    Update(ReceivedUpdate),
    /// RFC 4271 §4.5.
    Notification(Notification),
    /// RFC 4271 §4.4.
    Keepalive,
    /// RFC 2918.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// The message's name as the RFCs write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "OPEN",
            Self::Update(_) => "UPDATE",
            Self::Notification(_) => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh(_) => "ROUTE-REFRESH",
        }
    }
}

/// AFI of a family (RFC 4760, IANA address family numbers).
fn afi(family: Family) -> u16 {
    match family {
        Family::V4 => 1,
        Family::V6 => 2,
    }
}

/// SAFI 1, unicast (RFC 4760 §6): the only one spoken here.
const UNICAST: u8 = 1;

/// The family of an AFI and SAFI; `None` for those not spoken here.
fn family(afi: u16, safi: u8) -> Option<Family> {
    match (afi, safi) {
        (1, UNICAST) => Some(Family::V4),
        (2, UNICAST) => Some(Family::V6),
        _ => None,
    }
}
