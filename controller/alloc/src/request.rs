//! What a Service asks for, reduced to what matters for its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::{Family, PoolName, VipSet};

use crate::text::quoted;

/// Everything about a Service that decides its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which families it needs.
    pub families: Families,
    /// What its owner asked for by name.
    pub wish: Wish,
    /// On what terms it would share an address.
    pub claim: Arc<Claim>,
    /// The pools it may use. Many Services share one value.
    pub eligible: Arc<Eligible>,
    /// When it was created, in seconds since 1970: of those that wait for the same address the
    /// oldest gets it.
    pub created_s: i64,
    /// Of the addresses it holds those that are in no pool, but in one that is set aside, with
    /// its name: it may keep them, whoever that pool is for. Nobody is given any.
    pub set_aside: BTreeMap<IpAddr, PoolName>,
}

/// The families a Service needs, from its ClusterIPs and policy (contract §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Families {
    /// One ClusterIP: its family.
    One(Family),
    /// Two ClusterIPs and RequireDualStack (or no policy that would allow less).
    Both,
    /// Two ClusterIPs and PreferDualStack: both if one pool has both, else one.
    Prefer {
        /// `ipFamilies[0]`, tried before the other where only one can be had.
        first: Family,
    },
}

impl Families {
    /// Whether an address of this family is of use.
    pub(crate) fn want(self, family: Family) -> bool {
        match self {
            Self::One(one) => one == family,
            Self::Both | Self::Prefer { .. } => true,
        }
    }

    /// Whether the Service can use one of each.
    pub(crate) fn may_be_two(self) -> bool {
        !matches!(self, Self::One(_))
    }
}

/// What the Service's owner asked for: `spec.loadBalancerIP`, `loadBalancerIPs`, `address-pool`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Wish {
    /// Nothing: any address of an automatic pool.
    #[default]
    Any,
    /// Any address of this pool, automatic or not.
    Pool(PoolName),
    /// Exactly these addresses.
    Addresses {
        /// The addresses; one, or one of each family.
        addresses: VipSet,
        /// The pool they must be in, if one was named too.
        pool: Option<PoolName>,
    },
    /// Cannot be understood. Whoever has addresses keeps them meanwhile.
    Unreadable(WishError),
}

/// A wish that cannot be read, in MetalLB's words (contract §2.3 rule 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WishError {
    /// Both the annotation and the field of the spec are set.
    Both,
    /// The annotation's value.
    Annotation(String),
    /// The field's value.
    Spec(String),
    /// More than one address of a family, or more than two.
    Families(Vec<IpAddr>),
}

impl fmt::Display for WishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both => f.write_str(
                "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
            ),
            Self::Annotation(text) => write!(f, "invalid metallb.io/loadBalancerIPs: {text:?}"),
            Self::Spec(text) => write!(f, "invalid spec.loadBalancerIP {text:?}"),
            Self::Families(addresses) => write!(
                f,
                "invalid metallb.io/loadBalancerIPs: {}: write one address, or one of each family",
                quoted(addresses.iter().copied())
            ),
        }
    }
}

impl std::error::Error for WishError {}

impl Wish {
    /// Reads the three places where users write. Empty texts count as not written.
    ///
    /// - `spec_address`: `spec.loadBalancerIP`, one address
    /// - `annotation`: `metallb.io/loadBalancerIPs`, a comma list
    /// - `pool`: `metallb.io/address-pool`
    #[must_use]
    pub fn read(spec_address: &str, annotation: &str, pool: &str) -> Self {
        let pool = (!pool.is_empty()).then(|| PoolName::new(pool));
        let read = match (spec_address.is_empty(), annotation.is_empty()) {
            (true, true) => return pool.map_or(Self::Any, Self::Pool),
            (false, false) => Err(WishError::Both),
            (false, true) => spec_address
                .parse::<IpAddr>()
                .map(|address| vec![address])
                .map_err(|_| WishError::Spec(shortened(spec_address))),
            (true, false) => annotation
                .split(',')
                .map(|part| part.trim().parse::<IpAddr>())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| WishError::Annotation(shortened(annotation))),
        };
        let set = read.and_then(|addresses| {
            let addresses: Vec<_> = addresses.into_iter().map(|a| a.to_canonical()).collect();
            VipSet::from_addresses(addresses.iter().copied())
                .ok_or_else(|| WishError::Families(addresses.into_iter().take(MOST_QUOTED).collect()))
        });
        match set {
            Ok(addresses) => Self::Addresses { addresses, pool },
            Err(error) => Self::Unreadable(error),
        }
    }
}

/// An annotation may be 256 KiB long and an event's message 1 KiB.
const MOST_QUOTED_BYTES: usize = 200;
/// The same for lists.
const MOST_QUOTED: usize = 8;

fn shortened(text: &str) -> String {
    if text.len() <= MOST_QUOTED_BYTES {
        return text.to_owned();
    }
    let end = (0..=MOST_QUOTED_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let (head, _) = text.split_at(end);
    format!("{head}…")
}

/// On what terms a Service holds an address (contract §2.5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Claim {
    /// `metallb.io/allow-shared-ip`; empty = shares with nobody.
    pub sharing: String,
    /// Empty for externalTrafficPolicy Cluster, the selector's text for Local.
    pub backend: String,
    /// The ports it listens on.
    pub ports: BTreeSet<Port>,
}

/// One port, as messages write it: `TCP/80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The transport.
    pub protocol: Protocol,
    /// 1..=65535.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.number)
    }
}

/// The transports that a Service's port may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, which is meant when nothing is written.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// The pools a Service may use: `serviceAllocation` and `autoAssign`, already
/// judged against its namespace and labels (contract §2.3 rule 6, §2.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Eligible {
    /// Pools it may hold an address of, asked for or not.
    pub compatible: BTreeSet<PoolName>,
    /// Automatic pools meant for Services like it, best first: tried before the others, so
    /// that one family of these is better than two of those.
    pub pinned: Vec<PoolName>,
    /// Automatic pools meant for everybody.
    pub common: Vec<PoolName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_read_as_users_write_them() {
        let set = |list: &[&str]| VipSet::from_addresses(list.iter().map(|a| a.parse().unwrap())).unwrap();
        let addresses = |list: &[&str], pool: Option<&str>| Wish::Addresses {
            addresses: set(list),
            pool: pool.map(PoolName::from),
        };
        // (spec.loadBalancerIP, annotation, pool, meaning)
        let table = [
            ("", "", "", Wish::Any),
            ("", "", "gold", Wish::Pool("gold".into())),
            ("192.0.2.1", "", "", addresses(&["192.0.2.1"], None)),
            ("192.0.2.1", "", "gold", addresses(&["192.0.2.1"], Some("gold"))),
            ("", "192.0.2.1", "", addresses(&["192.0.2.1"], None)),
            ("", " 2001:db8::1 , 192.0.2.1 ", "", addresses(&["192.0.2.1", "2001:db8::1"], None)),
            // Go's net.IP makes no difference between an address and its mapped form.
            ("::ffff:192.0.2.1", "", "", addresses(&["192.0.2.1"], None)),
        ];
        for (spec, annotation, pool, expected) in table {
            assert_eq!(Wish::read(spec, annotation, pool), expected, "{spec:?} {annotation:?} {pool:?}");
        }
    }

    #[test]
    fn unreadable_wishes_say_why_in_the_words_of_metallb() {
        // (spec.loadBalancerIP, annotation, message)
        let table = [
            (
                "192.0.2.1",
                "192.0.2.1",
                "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
            ),
            ("web.example", "", r#"invalid spec.loadBalancerIP "web.example""#),
            (" 192.0.2.1", "", r#"invalid spec.loadBalancerIP " 192.0.2.1""#),
            ("", "192.0.2.1,", r#"invalid metallb.io/loadBalancerIPs: "192.0.2.1,""#),
            ("", "fe80::1%eth0", r#"invalid metallb.io/loadBalancerIPs: "fe80::1%eth0""#),
            (
                "",
                "192.0.2.1,192.0.2.2",
                r#"invalid metallb.io/loadBalancerIPs: ["192.0.2.1" "192.0.2.2"]: write one address, or one of each family"#,
            ),
        ];
        for (spec, annotation, message) in table {
            match Wish::read(spec, annotation, "") {
                Wish::Unreadable(error) => assert_eq!(error.to_string(), message),
                other => panic!("{spec:?} {annotation:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_huge_annotation_gives_a_short_message() {
        let Wish::Unreadable(error) = Wish::read("", &"é".repeat(100_000), "") else { panic!("readable") };
        assert!(error.to_string().len() < 300, "{}", error.to_string().len());
    }
}
