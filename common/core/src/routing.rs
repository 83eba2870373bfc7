//! Values of the routing protocols.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An autonomous system number, four octets (RFC 6793). Zero is not one (RFC 7607).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Asn(u32);

impl Asn {
    /// What a four-octet number is sent as to a speaker that knows only two (RFC 6793 §9).
    pub const TRANS: u16 = 23456;

    /// `None` for zero, which RFC 7607 §2 reserves.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BGP identifier: any four octets but zero (RFC 6286 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouterId(Ipv4Addr);

impl RouterId {
    /// `None` for 0.0.0.0, which no speaker accepts (RFC 6286 §2.1).
    #[must_use]
    pub fn new(id: Ipv4Addr) -> Option<Self> {
        (!id.is_unspecified()).then_some(Self(id))
    }

    /// The identifier as an address.
    #[must_use]
    pub fn get(self) -> Ipv4Addr {
        self.0
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A community as users write it: `65000:100` (RFC 1997) or `large:65000:1:2` (RFC 8092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Community {
    /// Two 16-bit halves.
    Standard(u16, u16),
    /// Global administrator and two local parts, 32 bits each.
    Large(u32, u32, u32),
}

/// A community that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunityError(String);

impl fmt::Display for CommunityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid community {:?}: write N:N (0 to 65535 each), large:N:N:N (0 to 4294967295 each) or the name of an alias",
            self.0
        )
    }
}

impl std::error::Error for CommunityError {}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        let bad = || CommunityError(text.to_owned());
        let mut parts = text.split(':');
        let community = if text.starts_with("large:") {
            parts.next();
            let mut part = || parts.next().and_then(|p| p.parse().ok()).ok_or_else(bad);
            Self::Large(part()?, part()?, part()?)
        } else {
            let mut part = || parts.next().and_then(|p| p.parse().ok()).ok_or_else(bad);
            Self::Standard(part()?, part()?)
        };
        if parts.next().is_some() { Err(bad()) } else { Ok(community) }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_read_as_they_are_written() {
        for text in ["0:0", "64500:100", "large:4294967295:0:7"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        for bad in
            ["", "1", "65536:1", "1:2:3", "large:1:2", "large:1:2:3:4", "no-export", "large:1:2:4294967296"]
        {
            assert!(bad.parse::<Community>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reserved_numbers_are_refused() {
        assert!(Asn::new(0).is_none());
        assert!(RouterId::new(Ipv4Addr::UNSPECIFIED).is_none());
    }
}
