//! Which interfaces layer 2 is spoken on: MetalLB's rule (contract §4.2) as a
//! pure function of the snapshot.

use std::net::Ipv6Addr;

use regex_lite::RegexBuilder;

use crate::{Link, Mac, Snapshot};

/// MetalLB's `announcedInterfacesToExclude` as shipped.
const DEFAULT_PATTERNS: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

/// A compiled pattern may not take more memory than this; the list comes from users.
const PATTERN_SIZE_LIMIT: usize = 64 * 1024;

/// Interface names that layer 2 keeps away from. A name is excluded if any
/// pattern is found anywhere in it, as MetalLB's `(p1)|(p2)` does: anchors are
/// the user's to write.
#[derive(Debug, Clone)]
pub struct Exclusion {
    patterns: Vec<regex_lite::Regex>,
}

/// A pattern of `announcedInterfacesToExclude` that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("announcedInterfacesToExclude: {pattern:?} is no regular expression; correct or remove it")]
pub struct PatternError {
    /// The text as written.
    pub pattern: String,
    #[source]
    source: regex_lite::Error,
}

impl Exclusion {
    /// The exclusion of these patterns.
    ///
    /// # Errors
    /// The first pattern that is no regular expression, or a gigantic one.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern)
                .size_limit(PATTERN_SIZE_LIMIT)
                .build()
                .map_err(|source| PatternError { pattern: pattern.to_owned(), source })
        };
        Ok(Self { patterns: patterns.into_iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// Whether layer 2 keeps away from an interface of this name.
    #[must_use]
    pub fn excludes(&self, name: &str) -> bool {
        self.patterns.iter().any(|p| p.is_match(name))
    }
}

impl Default for Exclusion {
    /// MetalLB's list.
    fn default() -> Self {
        Self::new(DEFAULT_PATTERNS).unwrap_or_else(|_| Self { patterns: Vec::new() })
    }
}

/// Why an interface takes no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// Its name is on the exclusion list.
    ExcludedByName,
    /// It is switched off.
    Down,
    /// It has no carrier: nobody would hear.
    NoCarrier,
    /// It is part of a bridge, bond or VRF; that one speaks.
    Enslaved,
    /// `IFF_NOARP`: it has no neighbours.
    NoArp,
    /// No Ethernet address.
    NoMac,
    /// Neither broadcast nor an IPv6 link-local address.
    NoFamily,
}

impl SkipReason {
    /// The word for logs and `/state`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExcludedByName => "excludedByName",
            Self::Down => "down",
            Self::NoCarrier => "noCarrier",
            Self::Enslaved => "enslaved",
            Self::NoArp => "noARP",
            Self::NoMac => "noMAC",
            Self::NoFamily => "noFamily",
        }
    }
}

/// An interface that layer 2 is spoken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number.
    pub index: u32,
    /// Its name, which L2Advertisements select by.
    pub name: String,
    /// The address that answers carry.
    pub mac: Mac,
    /// ARP is answered here.
    pub arp: bool,
    /// NDP is answered here; the source of unsolicited advertisements.
    pub ndp: Option<Ipv6Addr>,
}

/// The interfaces layer 2 uses, and why the others are left alone; both in order of index.
#[must_use]
pub fn select(snapshot: &Snapshot, exclusion: &Exclusion) -> (Vec<Interface>, Vec<(String, SkipReason)>) {
    let (mut used, mut skipped) = (Vec::new(), Vec::new());
    for link in snapshot.links.values() {
        match judge(link, exclusion) {
            Ok(interface) => used.push(interface),
            Err(reason) => skipped.push((link.name.clone(), reason)),
        }
    }
    (used, skipped)
}

fn judge(link: &Link, exclusion: &Exclusion) -> Result<Interface, SkipReason> {
    if exclusion.excludes(&link.name) {
        return Err(SkipReason::ExcludedByName);
    }
    if link.master.is_some() {
        return Err(SkipReason::Enslaved);
    }
    if !link.up {
        return Err(SkipReason::Down);
    }
    // MetalLB reads IFF_UP alone; a link without carrier reaches nobody, and a
    // bridge or tap without ports shows the same way.
    if !link.running {
        return Err(SkipReason::NoCarrier);
    }
    if link.no_arp {
        return Err(SkipReason::NoArp);
    }
    let mac = link.mac.ok_or(SkipReason::NoMac)?;
    let ndp = link.link_local();
    if !link.broadcast && ndp.is_none() {
        return Err(SkipReason::NoFamily);
    }
    Ok(Interface { index: link.index, name: link.name.clone(), mac, arp: link.broadcast, ndp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::link;

    #[test]
    fn the_default_list_is_metallbs() {
        let list = Exclusion::default();
        for name in [
            "lo",
            "docker0",
            "cbr0",
            "dummy0",
            "virbr0",
            "lxcbr0",
            "veth12ab",
            "cali1",
            "tunl0",
            "flannel.1",
            "kube-ipvs0",
            "cni0",
            "nodelocaldns",
            "lxc1234",
        ] {
            assert!(list.excludes(name), "{name}");
        }
        for name in ["eth0", "lo1", "eno1", "bond0", "br0", "wlan0", "eth0.100", "mycali"] {
            assert!(!list.excludes(name), "{name}");
        }
        assert_eq!(list.patterns.len(), DEFAULT_PATTERNS.len());
    }

    #[test]
    fn users_patterns_match_anywhere_and_bad_ones_are_named() {
        let list = Exclusion::new(["wlan", "^eth1$"]).unwrap();
        assert!(list.excludes("mywlan0") && list.excludes("eth1") && !list.excludes("eth10"));
        let error = Exclusion::new(["eth(", "x"]).unwrap_err();
        assert_eq!(error.pattern, "eth(");
        assert!(Exclusion::new(["(a{1000}){1000}"]).is_err(), "a small text must not become a large program");
    }

    #[test]
    fn each_reason_to_leave_an_interface_alone() {
        type Edit = fn(&mut Link);
        let table: [(Edit, SkipReason); 7] = [
            (|l| l.name = "veth0".into(), SkipReason::ExcludedByName),
            (|l| l.up = false, SkipReason::Down),
            (|l| l.running = false, SkipReason::NoCarrier),
            (|l| l.master = Some(9), SkipReason::Enslaved),
            (|l| l.no_arp = true, SkipReason::NoArp),
            (|l| l.mac = None, SkipReason::NoMac),
            (
                |l| {
                    l.broadcast = false;
                    l.addresses.clear();
                },
                SkipReason::NoFamily,
            ),
        ];
        for (edit, reason) in table {
            let mut one = link(3, "eth0");
            edit(&mut one);
            let snapshot = Snapshot { links: [(3, one.clone())].into() };
            assert_eq!(select(&snapshot, &Exclusion::default()), (vec![], vec![(one.name, reason)]));
        }
    }

    #[test]
    fn families_follow_the_link() {
        let mut only_v4 = link(4, "eth1");
        // Duplicate address detection still runs: no NDP yet.
        only_v4.addresses[0].tentative = true;
        let mut only_v6 = link(5, "eth2");
        only_v6.broadcast = false;
        let snapshot = Snapshot { links: [(3, link(3, "eth0")), (4, only_v4), (5, only_v6)].into() };
        let (used, skipped) = select(&snapshot, &Exclusion::default());
        let families: Vec<_> = used.iter().map(|i| (i.name.as_str(), i.arp, i.ndp.is_some())).collect();
        assert_eq!(families, [("eth0", true, true), ("eth1", true, false), ("eth2", false, true)]);
        assert_eq!(skipped, []);
    }
}
