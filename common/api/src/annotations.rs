//! Annotations of Services, and the one reader that knows both prefixes.
//!
//! MetalLB renamed `metallb.universe.tf/` to `metallb.io/` and reads both, the new one
//! first (contract §2.1). Whoever used the old one is told so by an event, hence
//! [`Found::deprecated_key`].

use std::collections::BTreeMap;
use std::fmt;

/// An annotation that Clarion reads from, or writes to, a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceAnnotation {
    /// `address-pool`: the pool to allocate from, autoAssign or not.
    AddressPool,
    /// `loadBalancerIPs`: one address, or one of each family separated by a comma.
    LoadBalancerIps,
    /// `allow-shared-ip`: Services with the same key may share an address.
    AllowSharedIp,
    /// `ip-allocated-from-pool`: **written** by the controller, with the new prefix only.
    IpAllocatedFromPool,
}

/// What was found on a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The annotation's value as written.
    pub value: &'a str,
    /// The deprecated key when the value came from it; the remedy is
    /// [`ServiceAnnotation::key`].
    pub deprecated_key: Option<&'static str>,
}

impl ServiceAnnotation {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AddressPool, Self::LoadBalancerIps, Self::AllowSharedIp, Self::IpAllocatedFromPool];

    /// The full key, `metallb.io/…`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::AddressPool => "metallb.io/address-pool",
            Self::LoadBalancerIps => "metallb.io/loadBalancerIPs",
            Self::AllowSharedIp => "metallb.io/allow-shared-ip",
            Self::IpAllocatedFromPool => "metallb.io/ip-allocated-from-pool",
        }
    }

    /// The full key with the prefix MetalLB deprecated, `metallb.universe.tf/…`.
    #[must_use]
    pub const fn deprecated_key(self) -> &'static str {
        match self {
            Self::AddressPool => "metallb.universe.tf/address-pool",
            Self::LoadBalancerIps => "metallb.universe.tf/loadBalancerIPs",
            Self::AllowSharedIp => "metallb.universe.tf/allow-shared-ip",
            Self::IpAllocatedFromPool => "metallb.universe.tf/ip-allocated-from-pool",
        }
    }

    /// Reads it from `metadata.annotations`. With both keys present the new one wins.
    #[must_use]
    pub fn read<'a>(self, annotations: &'a BTreeMap<String, String>) -> Option<Found<'a>> {
        let get = |key: &str| annotations.get(key).map(String::as_str);
        match get(self.key()) {
            Some(value) => Some(Found { value, deprecated_key: None }),
            None => get(self.deprecated_key())
                .map(|value| Found { value, deprecated_key: Some(self.deprecated_key()) }),
        }
    }
}

impl fmt::Display for ServiceAnnotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_new_prefix_is_read_and_is_not_deprecated() {
        let on_service = annotations(&[("metallb.io/address-pool", "a")]);
        let found = ServiceAnnotation::AddressPool.read(&on_service).unwrap();
        assert_eq!(found, Found { value: "a", deprecated_key: None });
    }

    #[test]
    fn the_old_prefix_is_read_and_named() {
        let on_service = annotations(&[("metallb.universe.tf/loadBalancerIPs", "192.0.2.1")]);
        let found = ServiceAnnotation::LoadBalancerIps.read(&on_service).unwrap();
        assert_eq!(found.value, "192.0.2.1");
        assert_eq!(found.deprecated_key, Some("metallb.universe.tf/loadBalancerIPs"));
    }

    #[test]
    fn the_new_prefix_wins_when_both_are_there() {
        let on_service = annotations(&[
            ("metallb.universe.tf/allow-shared-ip", "old"),
            ("metallb.io/allow-shared-ip", "new"),
        ]);
        let found = ServiceAnnotation::AllowSharedIp.read(&on_service).unwrap();
        assert_eq!(found, Found { value: "new", deprecated_key: None });
    }

    #[test]
    fn both_keys_of_each_differ_by_the_prefix_alone() {
        for annotation in ServiceAnnotation::ALL {
            let name = annotation.key().strip_prefix("metallb.io/").unwrap();
            assert_eq!(annotation.deprecated_key().strip_prefix("metallb.universe.tf/"), Some(name));
            assert_eq!(annotation.read(&BTreeMap::new()), None);
        }
    }
}
