//! A pool: its ranges, what is free in them, and how much that is.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clarion_core::{AddressRange, Family, PoolName};

use crate::span::Span;

/// An IPAddressPool, reduced to what matters for its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name.
    pub name: PoolName,
    /// Its addresses, in the order in which they are given away.
    pub ranges: Vec<AddressRange>,
    /// Addresses of those that nobody is given, asked for or not. In any order, with
    /// overlaps, and with addresses that are in none of the ranges.
    pub exclude: Vec<AddressRange>,
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

/// Why a pool does not give an address of its ranges away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// `excludeAddresses`.
    Excluded,
    /// `avoidBuggyIPs`.
    Buggy,
}

/// A pool with its free addresses.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) spec: PoolSpec,
    /// In the order in which they are given away.
    pub(crate) spans: Vec<Span>,
    /// Spans with a free address, by family: the search skips the full ones.
    open: [BTreeSet<usize>; 2],
}

impl Pool {
    pub(crate) fn new(spec: PoolSpec) -> Self {
        let pieces = spec.ranges.iter().flat_map(|range| without(*range, &spec.exclude));
        let spans = pieces.map(|range| Span::new(range, spec.avoid_buggy_ips)).collect();
        Self { spec, spans, open: Default::default() }
    }

    /// Leaves out the spans that are not wanted. To be called once, before anything is taken.
    pub(crate) fn settle(&mut self, mut wanted: impl FnMut(&AddressRange) -> bool) {
        self.spans.retain(|span| wanted(&span.range));
        for (at, span) in self.spans.iter().enumerate() {
            if span.lowest_free().is_some() {
                self.open[slot(span.range.family())].insert(at);
            }
        }
    }

    /// The first free address of a family, in the order written, and its span.
    pub(crate) fn first_free(&self, family: Family) -> Option<(usize, IpAddr)> {
        let at = *self.open[slot(family)].first()?;
        Some((at, self.spans[at].lowest_free()?))
    }

    /// Marks an address of a span as held.
    pub(crate) fn take(&mut self, at: usize, address: IpAddr) {
        let span = &mut self.spans[at];
        span.take(address);
        if span.lowest_free().is_none() {
            self.open[slot(span.range.family())].remove(&at);
        }
    }

    /// Marks an address of a span as free.
    pub(crate) fn give(&mut self, at: usize, address: IpAddr) {
        let span = &mut self.spans[at];
        let was_full = span.lowest_free().is_none();
        span.give(address);
        if was_full {
            self.open[slot(span.range.family())].insert(at);
        }
    }

    /// Whether any address of a family may be given away, free or not.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.spans.iter().any(|span| span.range.family() == family && span.capacity() > 0)
    }

    /// Why an address of its ranges is not given away; `None` if it is, or is in none.
    pub(crate) fn bars(&self, address: IpAddr) -> Option<Barred> {
        if !self.spec.ranges.iter().any(|range| range.contains(address)) {
            return None;
        }
        if self.spec.exclude.iter().any(|range| range.contains(address)) {
            return Some(Barred::Excluded);
        }
        let buggy = matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
        (self.spec.avoid_buggy_ips && buggy).then_some(Barred::Buggy)
    }

    pub(crate) fn counters(&self) -> PoolCounters {
        let sum = |family: Family| {
            let spans = || self.spans.iter().filter(move |s| s.range.family() == family);
            let capacity = spans().fold(0_i64, |sum, s| sum.saturating_add(s.capacity()));
            let assigned = spans().fold(0_u64, |sum, s| sum.saturating_add(s.assigned()));
            let assigned = i64::try_from(assigned).unwrap_or(i64::MAX);
            // What is more than a number can say does not get less.
            let available = if capacity == i64::MAX { capacity } else { capacity.saturating_sub(assigned) };
            (assigned, available)
        };
        let ((assigned_v4, available_v4), (assigned_v6, available_v6)) = (sum(Family::V4), sum(Family::V6));
        PoolCounters { assigned_v4, assigned_v6, available_v4, available_v6 }
    }
}

fn slot(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// What is left of a range without the excluded addresses, lowest first.
fn without(range: AddressRange, exclude: &[AddressRange]) -> Vec<AddressRange> {
    let mut holes: Vec<_> = exclude.iter().filter(|hole| hole.overlaps(&range)).collect();
    holes.sort();
    let mut left = Vec::with_capacity(holes.len() + 1);
    let mut next = Some(range.first());
    for hole in holes {
        let Some(first) = next else { break };
        if let Some(last) = below(hole.first()).filter(|last| *last >= first)
            && let Ok(piece) = AddressRange::new(first, last)
        {
            left.push(piece);
        }
        // Holes may lie within each other.
        next = above(hole.last()).map(|after| after.max(first)).filter(|after| *after <= range.last());
    }
    left.extend(next.and_then(|first| AddressRange::new(first, range.last()).ok()));
    left
}

fn below(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|n| Ipv6Addr::from(n).into()),
    }
}

fn above(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|n| Ipv6Addr::from(n).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<AddressRange> {
        texts.iter().map(|r| r.parse().unwrap()).collect()
    }

    fn pool(texts: &[&str], exclude: &[&str], avoid_buggy_ips: bool) -> Pool {
        let (ranges, exclude) = (ranges(texts), ranges(exclude));
        let mut pool = Pool::new(PoolSpec { name: "p".into(), ranges, exclude, avoid_buggy_ips });
        pool.settle(|_| true);
        pool
    }

    #[test]
    fn capacities_follow_section_1_1() {
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
            let counters = pool(ranges, &[], avoid).counters();
            assert_eq!((counters.available_v4, counters.available_v6), (v4, v6), "{ranges:?} {avoid}");
        }
    }

    #[test]
    fn excluded_addresses_are_cut_out_and_not_counted() {
        // (range, excluded, what is left)
        let table: [(&str, &[&str], &[&str]); 9] = [
            ("192.0.2.0/24", &[], &["192.0.2.0/24"]),
            ("192.0.2.0/24", &["198.51.100.0/24", "2001:db8::/64"], &["192.0.2.0/24"]),
            ("192.0.2.0/29", &["192.0.2.0/32"], &["192.0.2.1-192.0.2.7"]),
            ("192.0.2.0/29", &["192.0.2.7/32"], &["192.0.2.0-192.0.2.6"]),
            ("192.0.2.0/29", &["192.0.2.3/32"], &["192.0.2.0-192.0.2.2", "192.0.2.4-192.0.2.7"]),
            ("192.0.2.0/29", &["192.0.2.1-192.0.2.6", "192.0.2.2/32"], &["192.0.2.0/32", "192.0.2.7/32"]),
            ("192.0.2.0/29", &["192.0.2.4/31", "192.0.2.5-192.0.2.6"], &["192.0.2.0/30", "192.0.2.7/32"]),
            ("192.0.2.0/29", &["0.0.0.0/0"], &[]),
            ("::/0", &["::/1", "ffff::/16"], &["8000::-fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ];
        for (range, exclude, expected) in table {
            let pool = pool(&[range], exclude, false);
            let left: Vec<_> = pool.spans.iter().map(|span| span.range).collect();
            assert_eq!(left, ranges(expected), "{range} without {exclude:?}");
            let size: u128 = left.iter().map(AddressRange::size).sum();
            if let Ok(size) = i64::try_from(size) {
                let counters = pool.counters();
                assert_eq!(
                    counters.available_v4 + counters.available_v6,
                    size,
                    "{range} without {exclude:?}"
                );
            }
        }
    }

    #[test]
    fn a_pool_says_what_it_bars() {
        let pool = pool(&["192.0.2.0/24"], &["192.0.2.7/32", "192.0.2.255/32"], true);
        let bars = |address: &str| pool.bars(address.parse().unwrap());
        assert_eq!(bars("192.0.2.7"), Some(Barred::Excluded));
        assert_eq!(bars("192.0.2.255"), Some(Barred::Excluded));
        assert_eq!(bars("192.0.2.0"), Some(Barred::Buggy));
        assert_eq!(bars("192.0.2.1"), None);
        assert_eq!(bars("198.51.100.0"), None);
    }

    #[test]
    fn full_ranges_are_skipped_until_something_is_free_again() {
        let mut pool = pool(&["192.0.2.0/32", "192.0.2.4/31"], &[], false);
        let [first, second] = ["192.0.2.0", "192.0.2.4"].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!(pool.first_free(Family::V4), Some((0, first)));
        pool.take(0, first);
        assert_eq!(pool.first_free(Family::V4), Some((1, second)));
        pool.give(0, first);
        assert_eq!(pool.first_free(Family::V4), Some((0, first)));
        assert_eq!(pool.first_free(Family::V6), None);
    }
}
