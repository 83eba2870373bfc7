//! Addresses, families and the ranges that pools are made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::{Deserialize, Serialize};

/// An address family, in Kubernetes' words and order (IPv4 before IPv6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// `IPv4`.
    #[serde(rename = "IPv4")]
    V4,
    /// `IPv6`.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// First to last address of one family, both included: one entry of a pool's
/// `addresses`. As numbers, so that neither a /8 nor a /64 is ever walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// An entry of `addresses` that cannot be read. The words are MetalLB's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeError {
    /// Neither a prefix nor a range.
    Garbage(String),
    /// A range whose ends are of different families.
    MixedFamilies(String),
    /// A range that ends before it starts.
    Reversed(String),
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbage(text) => write!(
                f,
                "invalid CIDR {text:?}: write a prefix (192.0.2.0/24, one address as 192.0.2.1/32) or a range (192.0.2.10-192.0.2.20)"
            ),
            Self::MixedFamilies(text) => {
                write!(f, "invalid IP range {text:?}: start and end are of different families")
            }
            Self::Reversed(text) => {
                write!(f, "invalid IP range {text:?}: start is after end; write the lower address first")
            }
        }
    }
}

impl std::error::Error for RangeError {}

impl AddressRange {
    /// First to last, both included.
    ///
    /// # Errors
    /// Ends of different families, or in the wrong order.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let text = || format!("{first}-{last}");
        match (first, last) {
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(RangeError::MixedFamilies(text()))
            }
            _ if first > last => Err(RangeError::Reversed(text())),
            _ => Ok(Self { first, last }),
        }
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of all its addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether the address lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// Whether any address lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// How many addresses, saturating at `u128::MAX` (only `::/0` is larger).
    #[must_use]
    pub fn size(&self) -> u128 {
        (as_number(self.last) - as_number(self.first)).saturating_add(1)
    }

    /// The fewest prefixes that cover exactly these addresses, in order.
    pub fn prefixes(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => Ipv4Subnets::new(a, b, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(a), IpAddr::V6(b)) => Ipv6Subnets::new(a, b, 0).map(IpNet::V6).collect(),
            // `new` admits one family only.
            _ => Vec::new(),
        }
    }
}

impl From<IpNet> for AddressRange {
    fn from(net: IpNet) -> Self {
        let net = net.trunc();
        // Network and broadcast address are ordinary members: a pool is no subnet.
        Self { first: net.network(), last: net.broadcast() }
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    /// `192.0.2.0/24`, `2001:db8::/120`, or `first-last` with blanks around the dash.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let garbage = || RangeError::Garbage(text.to_owned());
        match text.split_once('-') {
            Some((first, last)) => {
                let ip = |t: &str| t.trim().parse().map_err(|_| garbage());
                Self::new(ip(first)?, ip(last)?)
            }
            None => text.trim().parse::<IpNet>().map(Self::from).map_err(|_| garbage()),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefixes().as_slice() {
            [one] => one.fmt(f),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

fn as_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

/// The addresses of one Service: one of a family, or one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct VipSet {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl VipSet {
    /// The set of these addresses; `None` if two are of one family.
    #[must_use]
    pub fn from_addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let mut set = Self::default();
        for address in addresses {
            let twice = match address {
                IpAddr::V4(a) => set.v4.replace(a).is_some(),
                IpAddr::V6(a) => set.v6.replace(a).is_some(),
            };
            if twice {
                return None;
            }
        }
        Some(set)
    }

    /// IPv4 first, as MetalLB writes `status.loadBalancer.ingress` (contract §2.6).
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// The address of that family.
    #[must_use]
    pub fn get(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    /// Whether this is one of the addresses.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.iter().any(|own| own == address)
    }

    /// Whether there is no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_read_as_users_write_them() {
        let table = [
            ("192.168.2.0/24", "192.168.2.0", "192.168.2.255", 256),
            ("192.168.2.77/24", "192.168.2.0", "192.168.2.255", 256),
            ("10.0.0.100/32", "10.0.0.100", "10.0.0.100", 1),
            ("192.168.1.200-192.168.1.250", "192.168.1.200", "192.168.1.250", 51),
            (" 192.168.1.200 - 192.168.1.250 ", "192.168.1.200", "192.168.1.250", 51),
            ("2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", 1 << 64),
            ("2001:db8::a-2001:db8::b", "2001:db8::a", "2001:db8::b", 2),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255", 1 << 32),
        ];
        for (text, first, last, size) in table {
            let range: AddressRange = text.parse().unwrap();
            assert_eq!(
                (range.first().to_string(), range.last().to_string()),
                (first.into(), last.into()),
                "{text}"
            );
            assert_eq!(range.size(), size, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_remedy() {
        for text in [
            "",
            "192.168.1.0/99",
            "192.168.1.1",
            "hello",
            "1.2.3.4-",
            "-",
            "1.2.3.4-1.2.3.5-1.2.3.6",
            "1.2.3/24",
        ] {
            assert!(matches!(text.parse::<AddressRange>(), Err(RangeError::Garbage(_))), "{text:?}");
        }
        assert!(matches!("10.0.0.9-10.0.0.1".parse::<AddressRange>(), Err(RangeError::Reversed(_))));
        assert!(matches!("10.0.0.9-2001:db8::1".parse::<AddressRange>(), Err(RangeError::MixedFamilies(_))));
        assert_eq!("::/0".parse::<AddressRange>().unwrap().size(), u128::MAX);
    }

    #[test]
    fn a_service_has_at_most_one_address_of_a_family() {
        let ip = |t: &str| t.parse::<IpAddr>().unwrap();
        let set = VipSet::from_addresses([ip("2001:db8::1"), ip("192.0.2.1")]).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [ip("192.0.2.1"), ip("2001:db8::1")]);
        assert!(VipSet::from_addresses([ip("192.0.2.1"), ip("192.0.2.2")]).is_none());
    }

    proptest! {
        #[test]
        fn prefixes_cover_exactly_the_range(a: u32, b: u32) {
            let (first, last) = (a.min(b), a.max(b));
            let range = AddressRange::new(Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into()).unwrap();
            let sizes: u128 = range.prefixes().iter().map(|p| AddressRange::from(*p).size()).sum();
            prop_assert_eq!(sizes, range.size());
            prop_assert!(range.prefixes().iter().all(|p| range.contains(p.network()) && range.contains(p.broadcast())));
        }

        #[test]
        fn overlap_is_symmetric_and_agrees_with_contains(a: u32, b: u32, c: u32, d: u32) {
            let range = |x: u32, y: u32| {
                AddressRange::new(Ipv4Addr::from(x.min(y)).into(), Ipv4Addr::from(x.max(y)).into()).unwrap()
            };
            let (left, right) = (range(a, b), range(c, d));
            prop_assert_eq!(left.overlaps(&right), right.overlaps(&left));
            let shared = left.contains(right.first()) || right.contains(left.first());
            prop_assert_eq!(left.overlaps(&right), shared);
        }
    }
}
