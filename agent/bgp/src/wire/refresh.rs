//! ROUTE-REFRESH (RFC 2918).

use clarion_core::Family;

use super::error::WireError;
use super::frame::{MessageType, header};
use super::reader::Reader;
use super::{UNICAST, afi, family};

/// The peer asks for a family's routes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    /// `None`: a family that we do not speak, to be ignored (RFC 2918 §4).
    pub family: Option<Family>,
}

impl RouteRefresh {
    /// Reads the body. The third octet is zero, or a subtype of RFC 7313, which we
    /// do not offer: only zero asks for routes.
    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let mut fields = || Ok((reader.u16()?, reader.u8()?, reader.u8()?));
        let (afi, subtype, safi) = fields().map_err(|_: super::reader::Short| WireError::BadRefreshLength)?;
        if !reader.is_empty() {
            return Err(WireError::BadRefreshLength);
        }
        Ok(Self { family: family(afi, safi).filter(|_| subtype == 0) })
    }

    /// The message's octets; `None` family cannot be asked for and yields nothing.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some(family) = self.family else { return Vec::new() };
        let mut octets = header(MessageType::RouteRefresh, 4);
        octets.extend(afi(family).to_be_bytes());
        octets.extend([0, UNICAST]);
        octets
    }
}
