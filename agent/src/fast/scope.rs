//! What has to be looked at anew: pure. An event costs what it touches, not what there
//! is; with ten thousand addresses that decides whether probes leave in time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Addresses whose place on this host may be another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// These.
    Of(BTreeSet<IpAddr>),
    /// All of them, and the interfaces.
    All,
}

impl Default for Scope {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

impl Scope {
    /// Takes these in, too.
    pub(super) fn add(&mut self, more: impl IntoIterator<Item = IpAddr>) {
        if let Self::Of(addresses) = self {
            addresses.extend(more);
        }
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Of(addresses) if addresses.is_empty())
    }
}

/// The keys under which the two maps differ.
pub(super) fn differing<K: Copy + Ord, V: PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Vec<K> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut keys = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return keys,
        };
        let former = if order.is_le() { old.next() } else { None };
        let latter = if order.is_ge() { new.next() } else { None };
        if former.map(|(_, value)| value) != latter.map(|(_, value)| value) {
            keys.extend(former.or(latter).map(|(key, _)| *key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each map of three keys, of which each is missing or has one of two values.
    fn maps() -> Vec<BTreeMap<u8, u8>> {
        let value = |number: u8, key: u8| (number / 3u8.pow(u32::from(key)) % 3).checked_sub(1);
        (0..27).map(|n| (0..3).filter_map(|key| Some((key, value(n, key)?))).collect()).collect()
    }

    #[test]
    fn maps_differ_where_a_look_at_each_key_finds_a_difference() {
        for old in maps() {
            for new in maps() {
                let expected: Vec<u8> = (0..3).filter(|key| old.get(key) != new.get(key)).collect();
                assert_eq!(differing(&old, &new), expected, "{old:?} {new:?}");
            }
        }
    }

    #[test]
    fn everything_takes_in_more() {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut scope = Scope::default();
        assert!(scope.is_empty());
        scope.add([address]);
        assert_eq!(scope, Scope::Of([address].into()));
        let mut all = Scope::All;
        all.add([address]);
        assert!(all == Scope::All && !all.is_empty());
    }
}
