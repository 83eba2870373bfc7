//! A piece of a pool without holes: which of its addresses are free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clarion_core::{AddressRange, Family};

use crate::gaps::Gaps;

/// One piece of a pool: a range of it, or what `excludeAddresses` leaves of one. Its
/// addresses are numbered without holes, so that the ones that `avoidBuggyIPs` leaves
/// out cost nothing, however many there are.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) range: AddressRange,
    numbering: Numbering,
    /// First and last number; `None` if nothing is left of the range.
    numbers: Option<(u128, u128)>,
    free: Gaps,
    assigned: u64,
}

/// How addresses become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbering {
    /// As they are.
    Plain,
    /// IPv4 without .0 and .255: 254 numbers for each 256 addresses.
    WithoutEnds,
}

/// Usable addresses of each 256 under `avoidBuggyIPs`.
const USABLE: u32 = 254;

impl Span {
    pub(crate) fn new(range: AddressRange, avoid_buggy_ips: bool) -> Self {
        let numbering = match range.family() {
            Family::V4 if avoid_buggy_ips => Numbering::WithoutEnds,
            _ => Numbering::Plain,
        };
        let numbers = match (range.first(), range.last(), numbering) {
            (IpAddr::V4(first), IpAddr::V4(last), Numbering::WithoutEnds) => dense_ends(first, last),
            (first, last, _) => Some((plain(first), plain(last))),
        };
        let free = numbers.map_or_else(Gaps::default, |(first, last)| Gaps::full(first, last));
        Self { range, numbering, numbers, free, assigned: 0 }
    }

    /// The number of an address; `None` if it may not be given away from here.
    fn number(&self, address: IpAddr) -> Option<u128> {
        if !self.range.contains(address) {
            return None;
        }
        match (self.numbering, address) {
            (Numbering::WithoutEnds, IpAddr::V4(v4)) => dense(v4),
            _ => Some(plain(address)),
        }
    }

    fn address(&self, number: u128) -> Option<IpAddr> {
        match (self.numbering, self.range.family()) {
            (_, Family::V6) => Some(IpAddr::V6(Ipv6Addr::from(number))),
            (Numbering::Plain, Family::V4) => {
                u32::try_from(number).ok().map(|n| IpAddr::V4(Ipv4Addr::from(n)))
            }
            (Numbering::WithoutEnds, Family::V4) => {
                let number = u32::try_from(number).ok()?;
                // The highest block's number times 256 fits: it came from an address.
                let base = (number / USABLE).checked_mul(256)?;
                Some(IpAddr::V4(Ipv4Addr::from(base + number % USABLE + 1)))
            }
        }
    }

    /// Whether the address may be given away from here, free or not.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.number(address).is_some()
    }

    /// The lowest free address.
    pub(crate) fn lowest_free(&self) -> Option<IpAddr> {
        self.free.lowest().and_then(|number| self.address(number))
    }

    /// Marks an address as held.
    pub(crate) fn take(&mut self, address: IpAddr) {
        if self.number(address).is_some_and(|number| self.free.take(number)) {
            self.assigned += 1;
        }
    }

    /// Marks an address as free.
    pub(crate) fn give(&mut self, address: IpAddr) {
        if self.number(address).is_some_and(|number| self.free.give(number)) {
            self.assigned = self.assigned.saturating_sub(1);
        }
    }

    /// How many of its addresses are held.
    pub(crate) fn assigned(&self) -> u64 {
        self.assigned
    }

    /// How many addresses it may give away, held or not; `i64::MAX` from 2^62 on.
    pub(crate) fn capacity(&self) -> i64 {
        const ENORMOUS: u128 = 1 << 62;
        match self.numbers {
            None => 0,
            Some((first, last)) => match (last - first).saturating_add(1) {
                size if size >= ENORMOUS => i64::MAX,
                size => i64::try_from(size).unwrap_or(i64::MAX),
            },
        }
    }
}

fn plain(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The number of an IPv4 address among those that do not end in .0 or .255.
fn dense(address: Ipv4Addr) -> Option<u128> {
    let (block, last) = (u32::from(address) / 256, u32::from(address) % 256);
    (1..=USABLE).contains(&last).then(|| u128::from(block) * u128::from(USABLE) + u128::from(last - 1))
}

/// The first and last such number in a range; `None` if there is none.
fn dense_ends(first: Ipv4Addr, last: Ipv4Addr) -> Option<(u128, u128)> {
    let up = |n: u32| n.checked_add(1).map(Ipv4Addr::from);
    let down = |n: u32| n.checked_sub(1).map(Ipv4Addr::from);
    // Two unusable addresses can follow each other (.255 and .0), never three.
    let mut low = Some(first);
    while let Some(address) = low.filter(|a| dense(*a).is_none()) {
        low = up(u32::from(address));
    }
    let mut high = Some(last);
    while let Some(address) = high.filter(|a| dense(*a).is_none()) {
        high = down(u32::from(address));
    }
    let (low, high) = (low?, high?);
    (first <= low && low <= high && high <= last).then_some((dense(low)?, dense(high)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_each_others_inverse() {
        for (range, avoid) in
            [("10.0.0.250-10.0.2.5", true), ("10.0.0.250-10.0.2.5", false), ("255.255.255.0/24", true)]
        {
            let span = Span::new(range.parse().unwrap(), avoid);
            let (first, last) = span.numbers.unwrap();
            let mut previous = None;
            for number in first..=last {
                let address = span.address(number).unwrap();
                assert_eq!(span.number(address), Some(number), "{address}");
                assert!(previous < Some(address), "{address}");
                previous = Some(address);
            }
        }
    }

    #[test]
    fn a_full_slash_eight_without_its_ends_is_still_one_gap() {
        let mut span = Span::new("10.0.0.0/8".parse().unwrap(), true);
        for expected in ["10.0.0.1", "10.0.0.2"] {
            assert_eq!(span.lowest_free(), Some(expected.parse().unwrap()));
            span.take(expected.parse().unwrap());
        }
        for last in 3..=254 {
            span.take(IpAddr::from([10, 0, 0, last]));
        }
        assert_eq!(span.lowest_free(), Some("10.0.1.1".parse().unwrap()));
        assert_eq!(span.assigned(), 254);
    }
}
