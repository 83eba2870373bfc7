//! A pool: its ranges, what is free in them, and how much that is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clarion_core::{AddressRange, Family, PoolName};

use crate::gaps::Gaps;

/// An IPAddressPool, reduced to what matters for its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name.
    pub name: PoolName,
    /// Its addresses, in the order in which they are given away.
    pub ranges: Vec<AddressRange>,
    /// Leave IPv4 addresses ending in .0 and .255 alone.
    pub avoid_buggy_ips: bool,
}

/// Addresses of a pool in numbers, as in the pool's status (contract §1.1):
/// capacities from 2^62 on count as `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolCounters {
    /// IPv4 addresses that some Service holds; a shared one counts once.
    pub assigned_v4: i64,
    /// IPv6 addresses that some Service holds.
    pub assigned_v6: i64,
    /// IPv4 addresses that nobody holds.
    pub available_v4: i64,
    /// IPv6 addresses that nobody holds.
    pub available_v6: i64,
}

/// A pool with its free addresses.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) spec: PoolSpec,
    pub(crate) spans: Vec<Span>,
}

/// One range of a pool. Its addresses are numbered without holes, so that the ones
/// that `avoidBuggyIPs` leaves out cost nothing, however many there are.
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

impl Pool {
    pub(crate) fn new(spec: PoolSpec) -> Self {
        let spans = spec.ranges.iter().map(|range| Span::new(*range, spec.avoid_buggy_ips)).collect();
        Self { spec, spans }
    }

    pub(crate) fn counters(&self) -> PoolCounters {
        let sum = |family: Family| {
            let spans = || self.spans.iter().filter(move |s| s.range.family() == family);
            let capacity = spans().fold(0_i64, |sum, s| sum.saturating_add(s.capacity()));
            let assigned = spans().fold(0_u64, |sum, s| sum.saturating_add(s.assigned));
            let assigned = i64::try_from(assigned).unwrap_or(i64::MAX);
            // What is more than a number can say does not get less.
            let available = if capacity == i64::MAX { capacity } else { capacity.saturating_sub(assigned) };
            (assigned, available)
        };
        let ((assigned_v4, available_v4), (assigned_v6, available_v6)) = (sum(Family::V4), sum(Family::V6));
        PoolCounters { assigned_v4, assigned_v6, available_v4, available_v6 }
    }
}

impl Span {
    fn new(range: AddressRange, avoid_buggy_ips: bool) -> Self {
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

    fn capacity(&self) -> i64 {
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

    fn pool(ranges: &[&str], avoid_buggy_ips: bool) -> Pool {
        let ranges = ranges.iter().map(|r| r.parse().unwrap()).collect();
        Pool::new(PoolSpec { name: "p".into(), ranges, avoid_buggy_ips })
    }

    #[test]
    fn capacities_follow_the_contract() {
        // (ranges, avoidBuggyIPs, available IPv4, available IPv6)
        let table: [(&[&str], bool, i64, i64); 12] = [
            (&["192.0.2.0/24"], false, 256, 0),
            (&["192.0.2.0/24"], true, 254, 0),
            (&["10.0.0.0/8"], true, 65536 * 254, 0),
            (&["192.0.2.0/25"], true, 127, 0),
            (&["192.0.2.64/26"], true, 64, 0),
            (&["192.0.2.255/32"], true, 0, 0),
            (&["192.0.2.255-192.0.3.0"], true, 0, 0),
            (&["192.0.2.250-192.0.3.1"], true, 6, 0),
            (&["192.0.2.1-192.0.2.3", "2001:db8::/126"], true, 3, 4),
            (&["2001:db8::/67"], false, 0, 1 << 61),
            (&["2001:db8::/66"], false, 0, i64::MAX),
            (&["0.0.0.0/0", "::/0"], true, 16_777_216 * 254, i64::MAX),
        ];
        for (ranges, avoid, v4, v6) in table {
            let counters = pool(ranges, avoid).counters();
            assert_eq!((counters.available_v4, counters.available_v6), (v4, v6), "{ranges:?} {avoid}");
        }
    }

    #[test]
    fn numbers_and_addresses_are_each_others_inverse() {
        for (range, avoid) in
            [("10.0.0.250-10.0.2.5", true), ("10.0.0.250-10.0.2.5", false), ("255.255.255.0/24", true)]
        {
            let pool = pool(&[range], avoid);
            let span = &pool.spans[0];
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
        let mut pool = pool(&["10.0.0.0/8"], true);
        let span = &mut pool.spans[0];
        for expected in ["10.0.0.1", "10.0.0.2"] {
            assert_eq!(span.lowest_free(), Some(expected.parse().unwrap()));
            span.take(expected.parse().unwrap());
        }
        for last in 3..=254 {
            span.take(IpAddr::from([10, 0, 0, last]));
        }
        assert_eq!(span.lowest_free(), Some("10.0.1.1".parse().unwrap()));
        assert_eq!(span.assigned, 254);
    }
}
