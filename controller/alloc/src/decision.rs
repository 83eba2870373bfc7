//! Answers and their reasons. The words are those that MetalLB's users search for.

use std::fmt;
use std::net::IpAddr;

use clarion_core::{Family, PoolName, ServiceKey, VipSet};

use crate::pool::Barred;
use crate::request::{Families, Port, WishError};
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
    /// PreferDualStack: new, one address; no second family can be had.
    AssignedSingle {
        /// Its one address.
        grant: Grant,
        /// Why not two.
        why: Refusal,
    },
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
            | Self::AssignedSingle { grant, .. }
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
    /// No pool gives these addresses away, or no single one both.
    NotAllowed(VipSet, Unfit),
    /// The pool's `serviceAllocation` is not for this Service.
    NotCompatible(PoolName),
    /// It asks for addresses and for a pool that they are not in.
    PoolMismatch(VipSet, PoolName),
    /// It asks for a pool that does not exist.
    UnknownPool(PoolName),
    /// The pool it must use has nothing free for it.
    PoolExhausted(PoolName, Lack),
    /// No automatic pool has anything free for it.
    NoneAvailable(Lack),
    /// Others hold the address and do not share it on these terms.
    SharingKey {
        /// Who would hold it too.
        service: ServiceKey,
        /// The address.
        address: IpAddr,
        /// Who holds it, in order.
        holders: Vec<ServiceKey>,
        /// What does not match.
        why: Discord,
    },
    /// Others share the address and one of them listens on this port.
    PortTaken {
        /// The port.
        port: Port,
        /// The address.
        address: IpAddr,
        /// Who listens on it.
        holder: Option<ServiceKey>,
    },
}

/// Why addresses are not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// An address is in no pool.
    Unknown,
    /// A pool has an address in its ranges and does not give it away.
    Barred {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: PoolName,
        /// What of the pool's configuration says so.
        by: Barred,
    },
    /// They are of two pools.
    TwoPools,
}

/// What pools lack that have no available address for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Free addresses.
    Addresses,
    /// Addresses of the families it needs, free or not.
    Families(Families),
    /// There are pools, but none of them is for it.
    PoolsForIt,
    /// There are no pools.
    Pools,
}

/// Why two Services may not share an address (contract §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discord {
    /// Whoever holds it has no sharing key.
    Theirs,
    /// The other has no sharing key.
    Ours,
    /// The sharing keys differ.
    Keys,
    /// Their traffic policies, or their selectors under Local, differ.
    Backends,
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
            Self::NotAllowed(addresses, why) => {
                write!(f, "{} is not allowed in config{why}", quoted(addresses.iter()))
            }
            Self::NotCompatible(pool) => write!(f, "pool {pool} not compatible for ip assignment"),
            Self::PoolMismatch(addresses, pool) => write!(
                f,
                "requested loadBalancer IP(s) {} is not compatible with requested address pool {pool}",
                quoted(addresses.iter())
            ),
            Self::UnknownPool(pool) => write!(f, "unknown pool {:?}", pool.as_str()),
            Self::PoolExhausted(pool, lack) => write!(f, "no available IPs in pool {pool}{lack}"),
            Self::NoneAvailable(lack) => write!(f, "no available IPs{lack}"),
            Self::SharingKey { service, address, holders, why } => {
                write!(f, "can't change sharing key for \"{service}\", address also in use by ")?;
                for (i, holder) in holders.iter().take(MOST_HOLDERS_NAMED).enumerate() {
                    write!(f, "{}{holder}", if i == 0 { "" } else { "," })?;
                }
                match holders.len().saturating_sub(MOST_HOLDERS_NAMED) {
                    0 => {}
                    more => write!(f, " and {more} more")?,
                }
                write!(f, ": {address}: {why}")
            }
            Self::PortTaken { port, address, holder } => {
                write!(f, "port {port} is already in use on \"{address}\"")?;
                holder.as_ref().map_or(Ok(()), |holder| write!(f, " by {holder}"))
            }
        }
    }
}

/// As it goes on after MetalLB's words.
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Barred { address, by: Barred::Excluded, .. } if nowhere(*address) => {
                write!(f, ": no host can have {address}")
            }
            Self::Barred { address, pool, by: Barred::Excluded } => {
                write!(f, ": pool {pool} has {address} in its excludeAddresses")
            }
            Self::Barred { address, pool, by: Barred::Buggy } => {
                write!(f, ": pool {pool} leaves {address} out, for it has avoidBuggyIPs")
            }
            Self::TwoPools => f.write_str(": they are of two pools, and a service gets both of one"),
        }
    }
}

/// Addresses that a pool may have in its ranges and `clarion_config` excludes from every one.
fn nowhere(address: IpAddr) -> bool {
    let own_kind = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local(),
    };
    own_kind || address.is_loopback() || address.is_multicast()
}

/// As it goes on after MetalLB's words.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses => Ok(()),
            Self::Families(Families::One(Family::V4)) => f.write_str(": no IPv4 addresses configured for it"),
            Self::Families(Families::One(Family::V6)) => f.write_str(": no IPv6 addresses configured for it"),
            Self::Families(Families::Both) => {
                f.write_str(": no pool with both IPv4 and IPv6 addresses configured for it")
            }
            Self::Families(Families::Prefer { .. }) => f.write_str(": no addresses configured for it"),
            Self::PoolsForIt => f.write_str(
                ": no pool with autoAssign is for this service; see serviceAllocation of the pools, \
                 or ask for one by metallb.io/address-pool",
            ),
            Self::Pools => f.write_str(": there is no IPAddressPool"),
        }
    }
}

/// In MetalLB's words, which it never says.
impl fmt::Display for Discord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Theirs => "existing service does not allow sharing (metallb.io/allow-shared-ip)",
            Self::Ours => "new service does not allow sharing (metallb.io/allow-shared-ip)",
            Self::Keys => "sharing key does not match existing sharing key (metallb.io/allow-shared-ip)",
            Self::Backends => {
                "backends differ: externalTrafficPolicy must be Cluster for both, or Local with equal selectors"
            }
        })
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
        let loopback = VipSet::from_addresses(["127.0.0.1".parse().unwrap()]).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        let gold = PoolName::from("gold");
        let table = [
            (
                Refusal::FamilyMismatch(one),
                r#"requested loadBalancer IP(s) ["192.0.2.1"] does not match the ipFamily of the service"#,
            ),
            (
                Refusal::NotAllowed(both, Unfit::Unknown),
                r#"["192.0.2.1" "2001:db8::1"] is not allowed in config"#,
            ),
            (
                Refusal::NotAllowed(one, Unfit::Barred { address, pool: gold.clone(), by: Barred::Excluded }),
                r#"["192.0.2.1"] is not allowed in config: pool gold has 192.0.2.1 in its excludeAddresses"#,
            ),
            (
                Refusal::NotAllowed(
                    loopback,
                    Unfit::Barred {
                        address: loopback.iter().next().unwrap(),
                        pool: gold.clone(),
                        by: Barred::Excluded,
                    },
                ),
                r#"["127.0.0.1"] is not allowed in config: no host can have 127.0.0.1"#,
            ),
            (Refusal::NotCompatible(gold.clone()), "pool gold not compatible for ip assignment"),
            (
                Refusal::PoolMismatch(one, gold.clone()),
                r#"requested loadBalancer IP(s) ["192.0.2.1"] is not compatible with requested address pool gold"#,
            ),
            (Refusal::UnknownPool(gold.clone()), r#"unknown pool "gold""#),
            (Refusal::PoolExhausted(gold, Lack::Addresses), "no available IPs in pool gold"),
            (Refusal::NoneAvailable(Lack::Addresses), "no available IPs"),
            (
                Refusal::NoneAvailable(Lack::Families(Families::One(Family::V6))),
                "no available IPs: no IPv6 addresses configured for it",
            ),
            (
                Refusal::SharingKey {
                    service: ServiceKey::new("c", "z"),
                    address,
                    holders: vec![ServiceKey::new("a", "x"), ServiceKey::new("b", "y")],
                    why: Discord::Ours,
                },
                r#"can't change sharing key for "c/z", address also in use by a/x,b/y: 192.0.2.1: new service does not allow sharing (metallb.io/allow-shared-ip)"#,
            ),
            (
                Refusal::PortTaken {
                    port: Port { protocol: Protocol::Tcp, number: 80 },
                    address,
                    holder: Some(ServiceKey::new("a", "x")),
                },
                r#"port TCP/80 is already in use on "192.0.2.1" by a/x"#,
            ),
        ];
        for (refusal, words) in table {
            assert_eq!(refusal.to_string(), words);
        }
    }

    #[test]
    fn a_crowded_address_gives_a_short_message() {
        let holders = (0..5000).map(|i| ServiceKey::new("ns", format!("svc-{i}"))).collect();
        let address = "192.0.2.1".parse().unwrap();
        let service = ServiceKey::new("ns", "x");
        let text = Refusal::SharingKey { service, address, holders, why: Discord::Keys }.to_string();
        assert!(text.contains("ns/svc-7 and 4992 more: 192.0.2.1: ") && text.len() < 300, "{text}");
    }
}
