//! OPEN (RFC 4271 §4.2) and its capabilities (RFC 5492).

use std::net::Ipv4Addr;
use std::time::Duration;

use clarion_core::{Asn, Family, RouterId};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities as ng;
use netgauze_bgp_pkt::open::{BgpOpenMessage, BgpOpenMessageParameter};
use netgauze_iana::address_family::{AddressFamily, AddressType};
use netgauze_parse_utils::WritablePdu;

use super::error::WireError;
use super::reader::{Reader, Short};
use super::{MAX_MESSAGE, UNICAST, family};

/// Optional parameter "Capabilities" (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// Marks parameters with 16-bit lengths (RFC 9072 §2).
const EXTENDED: u8 = 255;

/// A capability. What we do not know survives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// RFC 4760 §8, for the families spoken here.
    Multiprotocol(Family),
    /// RFC 2918.
    RouteRefresh,
    /// RFC 8950 §4: IPv4 unicast with IPv6 next hops.
    ExtendedNextHop,
    /// RFC 8654.
    ExtendedMessage,
    /// RFC 4724 §3, RFC 8538 §2.
    GracefulRestart {
        /// R: the sender has restarted.
        restarted: bool,
        /// N: NOTIFICATION does not end forwarding either.
        notification: bool,
        /// How long to keep routes, 0..=4095 s.
        time: u16,
        /// Families and whether their forwarding state was preserved.
        families: Vec<RestartFamily>,
    },
    /// RFC 6793.
    FourOctetAs(u32),
    /// Any other, or one of the above with a value it cannot have.
    Unknown(u8, Vec<u8>),
}

/// One family of [`Capability::GracefulRestart`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartFamily {
    /// Which.
    pub family: Family,
    /// F: forwarding went on during the restart.
    pub forwarding: bool,
}

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS: of the four-octet capability if there, else of the header.
    pub asn: Asn,
    /// Proposed hold time in seconds: 0 or 3..=65535.
    pub hold_time: u16,
    /// BGP identifier.
    pub id: RouterId,
    /// In the order received.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The hold time as a duration; zero = none.
    #[must_use]
    pub fn hold_time(&self) -> Duration {
        Duration::from_secs(self.hold_time.into())
    }

    /// The message's octets. The two-octet field holds AS_TRANS for numbers that
    /// do not fit (RFC 6793 §4.2.2). `None` if the capabilities do not fit into 255
    /// octets; the ones we offer always do.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let capabilities: Vec<_> = self.capabilities.iter().map(to_library).collect();
        let length: usize = capabilities.iter().map(WritablePdu::len).sum();
        if length > 253 {
            return None;
        }
        let open = BgpMessage::Open(BgpOpenMessage::new(
            u16::try_from(self.asn.get()).unwrap_or(Asn::TRANS),
            self.hold_time,
            self.id.get(),
            vec![BgpOpenMessageParameter::new_capabilities(capabilities)],
        ));
        let mut octets = Vec::with_capacity(MAX_MESSAGE);
        open.write(&mut octets).ok()?;
        Some(octets)
    }

    /// Reads the body and checks what RFC 4271 §6.2 asks of the values alone.
    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let malformed = |_: Short| WireError::MalformedOpen;
        let version = reader.u8().map_err(malformed)?;
        if version != 4 {
            return Err(WireError::UnsupportedVersion(version));
        }
        let short_as = reader.u16().map_err(malformed)?;
        let hold_time = reader.u16().map_err(malformed)?;
        let id = Ipv4Addr::from(reader.array::<4>().map_err(malformed)?);
        // RFC 6286 §2.1 asks for nothing but non-zero.
        let id = RouterId::new(id).ok_or(WireError::BadIdentifier(id))?;
        if matches!(hold_time, 1 | 2) {
            return Err(WireError::UnacceptableHoldTime(hold_time));
        }
        let capabilities = parameters(reader)?;
        let four_octets = capabilities.iter().rev().find_map(|c| match c {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        // RFC 6793 §4.1: the capability's number counts. RFC 7607 §2: zero is an error.
        let asn = Asn::new(four_octets.unwrap_or(short_as.into())).ok_or(WireError::ZeroAs)?;
        Ok(Self { asn, hold_time, id, capabilities })
    }
}

fn parameters(mut reader: Reader<'_>) -> Result<Vec<Capability>, WireError> {
    let malformed = |_: Short| WireError::MalformedOpen;
    let length = reader.u8().map_err(malformed)?;
    // RFC 9072 §2: 255 as type of the first parameter announces longer lengths,
    // whatever the length octet says (255 there, unless it is an old speaker's).
    let extended = length != 0 && reader.peek() == Some(EXTENDED);
    let mut list = if extended {
        reader.u8().map_err(malformed)?;
        let length = reader.u16().map_err(malformed)?;
        reader.sub(length.into()).map_err(malformed)?
    } else {
        reader.sub(length.into()).map_err(malformed)?
    };
    if !reader.is_empty() {
        return Err(WireError::MalformedOpen);
    }
    let mut capabilities = Vec::new();
    while !list.is_empty() {
        let kind = list.u8().map_err(malformed)?;
        let length = if extended { list.u16() } else { list.u8().map(u16::from) }.map_err(malformed)?;
        let value = list.sub(length.into()).map_err(malformed)?;
        if kind != CAPABILITIES {
            return Err(WireError::UnsupportedParameter(kind));
        }
        capability_list(value, &mut capabilities)?;
    }
    Ok(capabilities)
}

fn capability_list(mut list: Reader<'_>, into: &mut Vec<Capability>) -> Result<(), WireError> {
    while !list.is_empty() {
        let mut next = || {
            let (code, length) = (list.u8()?, list.u8()?);
            Ok((code, list.take(length.into())?))
        };
        let (code, value) = next().map_err(|_: Short| WireError::MalformedOpen)?;
        into.push(known(code, value).unwrap_or_else(|| Capability::Unknown(code, value.to_vec())));
    }
    Ok(())
}

/// A capability that we know, with a value that it can have. Anything else is
/// ignored as RFC 5492 §3 demands, not answered with an error.
fn known(code: u8, value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let capability = match code {
        1 => {
            let (afi, _reserved, safi) = (reader.u16().ok()?, reader.u8().ok()?, reader.u8().ok()?);
            Capability::Multiprotocol(family(afi, safi)?)
        }
        2 => Capability::RouteRefresh,
        5 => {
            let mut found = false;
            while !reader.is_empty() {
                let tuple = (reader.u16().ok()?, reader.u16().ok()?, reader.u16().ok()?);
                found |= tuple == (1, u16::from(UNICAST), 2);
            }
            return found.then_some(Capability::ExtendedNextHop);
        }
        6 => Capability::ExtendedMessage,
        64 => {
            let head = reader.u16().ok()?;
            let mut families = Vec::new();
            while !reader.is_empty() {
                let (afi, safi, flags) = (reader.u16().ok()?, reader.u8().ok()?, reader.u8().ok()?);
                if let Some(family) = family(afi, safi) {
                    families.push(RestartFamily { family, forwarding: flags & 0x80 != 0 });
                }
            }
            Capability::GracefulRestart {
                restarted: head & 0x8000 != 0,
                notification: head & 0x4000 != 0,
                time: head & 0x0fff,
                families,
            }
        }
        65 => Capability::FourOctetAs(reader.u32().ok()?),
        _ => return None,
    };
    reader.is_empty().then_some(capability)
}

fn address_type(family: Family) -> AddressType {
    match family {
        Family::V4 => AddressType::Ipv4Unicast,
        Family::V6 => AddressType::Ipv6Unicast,
    }
}

fn to_library(capability: &Capability) -> ng::BgpCapability {
    match capability {
        Capability::Multiprotocol(family) => ng::BgpCapability::MultiProtocolExtensions(
            ng::MultiProtocolExtensionsCapability::new(address_type(*family)),
        ),
        Capability::RouteRefresh => ng::BgpCapability::RouteRefresh,
        Capability::ExtendedNextHop => {
            ng::BgpCapability::ExtendedNextHopEncoding(ng::ExtendedNextHopEncodingCapability::new([
                ng::ExtendedNextHopEncoding::new(AddressType::Ipv4Unicast, AddressFamily::IPv6),
            ]))
        }
        Capability::ExtendedMessage => ng::BgpCapability::ExtendedMessage,
        Capability::GracefulRestart { restarted, notification, time, families } => {
            let families: Vec<_> = families
                .iter()
                .map(|f| ng::GracefulRestartAddressFamily::new(f.forwarding, address_type(f.family)))
                .collect();
            ng::BgpCapability::GracefulRestartCapability(ng::GracefulRestartCapability::new(
                *restarted,
                *notification,
                time & 0x0fff,
                families,
            ))
        }
        Capability::FourOctetAs(asn) => ng::BgpCapability::FourOctetAs(ng::FourOctetAsCapability::new(*asn)),
        Capability::Unknown(code, value) => {
            ng::BgpCapability::Unrecognized(ng::UnrecognizedCapability::new(*code, value.clone()))
        }
    }
}
