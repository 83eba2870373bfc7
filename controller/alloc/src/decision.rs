//! Answers and their reasons. The words are those that MetalLB's users search for.

use std::fmt;
use std::net::IpAddr;

use clarion_core::{PoolName, ServiceKey, VipSet};

use crate::request::{Port, WishError};
use crate::text::quoted;

/// What became of a Service: what it lost, and what it has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Addresses it had and had to give back.
    pub cleared: Option<Cleared>,
    /// What it has now.
    pub outcome: Outcome,
}

/// Addresses that were taken from a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// The addresses.
    pub addresses: VipSet,
    /// Why the configuration no longer allows them; `None` if the Service's owner
    /// asked for something else, which needs no explanation.
    pub why: Option<Refusal>,
}

/// What a Service holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its addresses, at least one.
    pub addresses: VipSet,
    /// The one pool they are all from.
    pub pool: PoolName,
}

/// What a Service has after a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What it had before, or the family it still needs of that.
    Kept(Grant),
    /// New addresses.
    Assigned(Grant),
    /// What it had before, and one of the family that was missing.
    Extended {
        /// All of its addresses.
        grant: Grant,
        /// The new one.
        added: IpAddr,
    },
    /// PreferDualStack: what it had before; no second family can be had.
    KeptSingle {
        /// Its one address.
        grant: Grant,
        /// Why not two.
        why: Refusal,
    },
    /// What it had before: what it asks for now cannot be understood.
    KeptDespite {
        /// Its addresses.
        grant: Grant,
        /// What is wrong with the wish.
        why: WishError,
    },
    /// Nothing.
    Refused(Refusal),
}

impl Outcome {
    /// What it holds, if anything.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Kept(grant)
            | Self::Assigned(grant)
            | Self::Extended { grant, .. }
            | Self::KeptSingle { grant, .. }
            | Self::KeptDespite { grant, .. } => Some(grant),
            Self::Refused(_) => None,
        }
    }
}

/// Why a Service does not get an address (contract §2.3, §2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What it asks for cannot be understood.
    Wish(WishError),
    /// It asks for addresses of other families than it needs.
    FamilyMismatch(VipSet),
    /// No pool holds these addresses, or no single one holds both.
    NotAllowed(VipSet),
    /// The pool's `serviceAllocation` is not for this Service.
    NotCompatible(PoolName),
    /// It asks for addresses and for a pool that they are not in.
    PoolMismatch(VipSet, PoolName),
    /// It asks for a pool that does not exist.
    UnknownPool(PoolName),
    /// The pool it must use has nothing free for it.
    PoolExhausted(PoolName),
    /// No automatic pool has anything free for it.
    NoneAvailable,
    /// Others hold the address and do not share it on these terms.
    SharingKey {
        /// The address.
        address: IpAddr,
        /// Who holds it, in order.
        holders: Vec<ServiceKey>,
    },
    /// Others share the address and one of them listens on this port.
    PortTaken {
        /// The port.
        port: Port,
        /// The address.
        address: IpAddr,
    },
}

/// Holders named in a message: an event's message may have 1 KiB.
const MOST_HOLDERS_NAMED: usize = 8;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wish(error) => error.fmt(f),
            Self::FamilyMismatch(addresses) => write!(
                f,
                "requested loadBalancer IP(s) {} does not match the ipFamily of the service",
                quoted(addresses.iter())
            ),
            Self::NotAllowed(addresses) => write!(f, "{} is not allowed in config", quoted(addresses.iter())),
            Self::NotCompatible(pool) => write!(f, "pool {pool} not compatible for ip assignment"),
            Self::PoolMismatch(addresses, pool) => write!(
                f,
                "requested loadBalancer IP(s) {} is not compatible with requested address pool {pool}",
                quoted(addresses.iter())
            ),
            Self::UnknownPool(pool) => write!(f, "unknown pool {:?}", pool.as_str()),
            Self::PoolExhausted(pool) => write!(f, "no available IPs in pool {pool}"),
            Self::NoneAvailable => f.write_str("no available IPs"),
            Self::SharingKey { address, holders } => {
                write!(f, "can't change sharing key for \"{address}\", address also in use by ")?;
                for (i, holder) in holders.iter().take(MOST_HOLDERS_NAMED).enumerate() {
                    write!(f, "{}{holder}", if i == 0 { "" } else { "," })?;
                }
                match holders.len().saturating_sub(MOST_HOLDERS_NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::PortTaken { port, address } => write!(f, "port {port} is already in use on \"{address}\""),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Protocol;

    #[test]
    fn refusals_are_worded_as_in_metallb() {
        let both =
            VipSet::from_addresses(["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]).unwrap();
        let one = VipSet::from_addresses(["192.0.2.1".parse().unwrap()]).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        let gold = PoolName::from("gold");
        let table = [
            (
                Refusal::FamilyMismatch(one),
                r#"requested loadBalancer IP(s) ["192.0.2.1"] does not match the ipFamily of the service"#,
            ),
            (Refusal::NotAllowed(both), r#"["192.0.2.1" "2001:db8::1"] is not allowed in config"#),
            (Refusal::NotCompatible(gold.clone()), "pool gold not compatible for ip assignment"),
            (
                Refusal::PoolMismatch(one, gold.clone()),
                r#"requested loadBalancer IP(s) ["192.0.2.1"] is not compatible with requested address pool gold"#,
            ),
            (Refusal::UnknownPool(gold.clone()), r#"unknown pool "gold""#),
            (Refusal::PoolExhausted(gold), "no available IPs in pool gold"),
            (Refusal::NoneAvailable, "no available IPs"),
            (
                Refusal::SharingKey {
                    address,
                    holders: vec![ServiceKey::new("a", "x"), ServiceKey::new("b", "y")],
                },
                r#"can't change sharing key for "192.0.2.1", address also in use by a/x,b/y"#,
            ),
            (
                Refusal::PortTaken { port: Port { protocol: Protocol::Tcp, number: 80 }, address },
                r#"port TCP/80 is already in use on "192.0.2.1""#,
            ),
        ];
        for (refusal, words) in table {
            assert_eq!(refusal.to_string(), words);
        }
    }

    #[test]
    fn a_crowded_address_gives_a_short_message() {
        let holders = (0..5000).map(|i| ServiceKey::new("ns", format!("svc-{i}"))).collect();
        let text = Refusal::SharingKey { address: "192.0.2.1".parse().unwrap(), holders }.to_string();
        assert!(text.ends_with("ns/svc-7 and 4992 more"), "{text}");
    }
}
