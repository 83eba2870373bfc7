//! Reads foreign UPDATEs as far as RFC 7606 asks for: which routes come and go,
//! and what a fault in one means for the session. Nothing is kept.

use std::net::{Ipv4Addr, Ipv6Addr};

use clarion_core::Family;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Route;
use crate::wire::error::{AttributeFault, WireError};
use crate::wire::family;
use crate::wire::reader::{Reader, Short};

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const LOCAL_PREF: u8 = 5;
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// What an UPDATE brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceivedUpdate {
    /// Prefixes announced; zero if they are to be treated as withdrawn.
    pub announced: u32,
    /// Prefixes withdrawn, those included that a fault turned into withdrawals.
    pub withdrawn: u32,
    /// It is the End-of-RIB marker of this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// The gravest fault that does not end the session (RFC 7606 §2).
    pub tolerated: Option<WireError>,
}

/// Reads UPDATEs of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateReader {
    /// AS numbers in AS_PATH have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The peer is internal: LOCAL_PREF is mandatory, not to be ignored.
    pub internal: bool,
}

#[derive(Default)]
struct Attributes<'a> {
    seen: [u64; 4],
    count: usize,
    reach: Option<Reader<'a>>,
    unreach: Option<Reader<'a>>,
    withdraw: Option<WireError>,
    discard: Option<WireError>,
}

impl Attributes<'_> {
    fn has(&self, code: u8) -> bool {
        self.seen[usize::from(code >> 6)] & (1 << (code & 63)) != 0
    }

    fn mark(&mut self, code: u8) {
        self.seen[usize::from(code >> 6)] |= 1 << (code & 63);
    }

    fn treat_as_withdraw(&mut self, code: u8, fault: AttributeFault) {
        self.withdraw.get_or_insert(WireError::TreatAsWithdraw { code, fault });
    }
}

impl UpdateReader {
    /// Reads a body and calls `route` for every prefix, routes that a fault turned
    /// into withdrawals as such.
    ///
    /// # Errors
    /// What ends the session: lengths that contradict each other (RFC 7606 §3 (b)),
    /// prefixes that cannot be read (§5.3), unknown well-known attributes (RFC 4271 §6.3).
    pub fn read(self, body: &[u8], mut route: impl FnMut(Route)) -> Result<ReceivedUpdate, WireError> {
        let malformed = |_: Short| WireError::MalformedUpdate;
        let mut reader = Reader::new(body);
        let length = reader.u16().map_err(malformed)?;
        let withdrawn = reader.sub(length.into()).map_err(malformed)?;
        let length = reader.u16().map_err(malformed)?;
        let list = reader.sub(length.into()).map_err(malformed)?;
        let announced = reader;

        let mut attributes = self.attributes(list)?;
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        prefixes(Family::V4, withdrawn, &mut gone)?;
        prefixes(Family::V4, announced, &mut come)?;
        let plain = !come.is_empty();
        let unreach = attributes.unreach.map(|value| unreach(value, &mut gone)).transpose()?;
        if let Some(value) = attributes.reach {
            reach(value, &mut come)?;
        }
        if !come.is_empty() {
            self.mandatory(&mut attributes, plain);
        }

        let mut update = ReceivedUpdate::default();
        if come.is_empty() && gone.is_empty() && attributes.withdraw.is_none() {
            // RFC 4724 §2: nothing at all, or an empty MP_UNREACH_NLRI alone.
            update.end_of_rib = match (attributes.count, unreach) {
                (0, _) => Some(Family::V4),
                (1, Some(family)) => family,
                _ => None,
            };
        }
        if attributes.withdraw.is_some() {
            gone.append(&mut come);
        }
        let count = |routes: &[IpNet]| u32::try_from(routes.len()).unwrap_or(u32::MAX);
        (update.announced, update.withdrawn) = (count(&come), count(&gone));
        update.tolerated = attributes.withdraw.or(attributes.discard);
        gone.into_iter().for_each(|prefix| route(Route::Withdrawn(prefix)));
        come.into_iter().for_each(|prefix| route(Route::Announced(prefix)));
        Ok(update)
    }

    fn attributes(self, mut list: Reader<'_>) -> Result<Attributes<'_>, WireError> {
        let mut found = Attributes::default();
        while !list.is_empty() {
            let mut header = || {
                let (flags, code) = (list.u8()?, list.u8()?);
                let length = if flags & EXTENDED_LENGTH == 0 { list.u8()?.into() } else { list.u16()? };
                Ok((flags, code, list.sub(length.into())?))
            };
            let Ok::<_, Short>((flags, code, value)) = header() else {
                // RFC 7606 §4: the prefixes can still be found, the attributes cannot.
                found.treat_as_withdraw(0, AttributeFault::Truncated);
                break;
            };
            found.count += 1;
            if found.has(code) {
                // RFC 7606 §3 (g): all but the first are ignored, unless they carry prefixes.
                if matches!(code, MP_REACH | MP_UNREACH) {
                    return Err(WireError::MalformedMultiprotocol(code));
                }
                continue;
            }
            found.mark(code);
            match code {
                MP_REACH => found.reach = Some(value),
                MP_UNREACH => found.unreach = Some(value),
                _ => self.check(flags, code, value, &mut found)?,
            }
        }
        Ok(found)
    }

    /// RFC 7606 §7, attribute by attribute.
    fn check(
        self,
        flags: u8,
        code: u8,
        mut value: Reader<'_>,
        found: &mut Attributes<'_>,
    ) -> Result<(), WireError> {
        let octets = value.rest();
        let well_known = matches!(code, ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | 6);
        let transitive = well_known || matches!(code, 7 | 8 | 16 | 17 | 18 | 25 | 32 | 35);
        let understood = transitive || matches!(code, 4 | 9 | 10);
        let (optional, is_transitive) = (flags & OPTIONAL != 0, flags & TRANSITIVE != 0);
        if !understood {
            return if optional { Ok(()) } else { Err(WireError::UnknownWellKnown(code)) };
        }
        if optional == well_known || is_transitive != transitive {
            found.treat_as_withdraw(code, AttributeFault::Flags);
            return Ok(());
        }
        let multiple = |size: usize| !octets.is_empty() && octets.len().is_multiple_of(size);
        // Meant for internal peers only: from others they are ignored (§7.5, §7.9, §7.10).
        let foreign = !self.internal && matches!(code, LOCAL_PREF | 9 | 10);
        let sound = match code {
            _ if foreign => true,
            ORIGIN => octets.len() == 1,
            AS_PATH => segments(octets, if self.four_octet_as { 4 } else { 2 }),
            NEXT_HOP | 4 | LOCAL_PREF | 9 => octets.len() == 4,
            6 => octets.is_empty(),
            7 => octets.len() == if self.four_octet_as { 8 } else { 6 },
            8 | 10 => multiple(4),
            16 => multiple(8),
            17 => segments(octets, 4),
            18 => octets.len() == 8,
            25 => multiple(20),
            32 => multiple(12),
            _ => true,
        };
        match code {
            // §7.6, §7.7; RFC 6793 §6.
            6 | 7 | 17 | 18 if !sound => {
                let fault = AttributeFault::Length;
                found.discard.get_or_insert(WireError::DiscardAttribute { code, fault });
            }
            _ if !sound => found.treat_as_withdraw(code, AttributeFault::Length),
            ORIGIN if octets[0] > 2 => found.treat_as_withdraw(code, AttributeFault::Value),
            _ => {}
        }
        Ok(())
    }

    /// RFC 7606 §3 (d): what must accompany reachable prefixes.
    fn mandatory(self, attributes: &mut Attributes<'_>, plain: bool) {
        let demanded = [(ORIGIN, true), (AS_PATH, true), (NEXT_HOP, plain), (LOCAL_PREF, self.internal)];
        for (code, demanded) in demanded {
            if demanded && !attributes.has(code) {
                attributes.treat_as_withdraw(code, AttributeFault::Missing);
            }
        }
    }
}

/// Whether AS_PATH segments fill the value exactly (RFC 7606 §7.2).
fn segments(octets: &[u8], size: usize) -> bool {
    let mut reader = Reader::new(octets);
    while !reader.is_empty() {
        let mut next = || {
            let (kind, count) = (reader.u8()?, reader.u8()?);
            reader.take(usize::from(count) * size)?;
            Ok::<_, Short>((1..=4).contains(&kind) && count > 0)
        };
        if next() != Ok(true) {
            return false;
        }
    }
    true
}

/// RFC 4760 §3.
fn reach(mut value: Reader<'_>, into: &mut Vec<IpNet>) -> Result<(), WireError> {
    let mut header = || {
        let (afi, safi, length) = (value.u16()?, value.u8()?, value.u8()?);
        value.take(length.into())?;
        value.u8()?;
        Ok((afi, safi, length))
    };
    let (afi, safi, length) = header().map_err(|_: Short| WireError::MalformedMultiprotocol(MP_REACH))?;
    let Some(family) = family(afi, safi) else { return Ok(()) };
    // One address, or for IPv6 a global and a link-local one (RFC 2545 §3, RFC 8950 §3).
    let possible = matches!((family, length), (Family::V4, 4) | (_, 16 | 32));
    if !possible {
        return Err(WireError::MalformedMultiprotocol(MP_REACH));
    }
    prefixes(family, value, into)
}

/// RFC 4760 §4. The family, if it is one of ours.
fn unreach(mut value: Reader<'_>, into: &mut Vec<IpNet>) -> Result<Option<Family>, WireError> {
    let mut header = || Ok((value.u16()?, value.u8()?));
    let (afi, safi) = header().map_err(|_: Short| WireError::MalformedMultiprotocol(MP_UNREACH))?;
    let family = family(afi, safi);
    if let Some(family) = family {
        prefixes(family, value, into)?;
    }
    Ok(family)
}

/// A list of prefixes. At most one message's worth, so the vector is bounded.
fn prefixes(family: Family, mut list: Reader<'_>, into: &mut Vec<IpNet>) -> Result<(), WireError> {
    while !list.is_empty() {
        into.push(prefix(family, &mut list).ok_or(WireError::InvalidNetwork)?);
    }
    Ok(())
}

fn prefix(family: Family, list: &mut Reader<'_>) -> Option<IpNet> {
    let length = list.u8().ok()?;
    let octets = list.take(usize::from(length.div_ceil(8))).ok()?;
    // Bits past the length mean nothing (RFC 4271 §4.3).
    match family {
        Family::V4 => {
            let mut address = [0; 4];
            address.get_mut(..octets.len())?.copy_from_slice(octets);
            Ipv4Net::new(Ipv4Addr::from(address), length).ok().map(|net| net.trunc().into())
        }
        Family::V6 => {
            let mut address = [0; 16];
            address.get_mut(..octets.len())?.copy_from_slice(octets);
            Ipv6Net::new(Ipv6Addr::from(address), length).ok().map(|net| net.trunc().into())
        }
    }
}
