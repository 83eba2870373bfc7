//! Solicited-node multicast groups, held by the kernel.
//!
//! A neighbour solicitation goes to the group of the address asked for (RFC 4291
//! §2.7.1). NICs filter groups nobody joined, and switches with MLD snooping
//! (RFC 4541) do not forward them. A group joined by a socket ends with the
//! socket, so a restart of the agent would make addresses unreachable although
//! the kernel program answers on; and one socket holds about 2,300 only. An
//! address with `IFA_F_MCAUTOJOIN` (what `ip addr add GROUP dev IF autojoin`
//! makes, Linux 4.0) is a join that stays until it is deleted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::Handle;

use crate::{Snapshot, Watch};

/// Joined already (the same number on every Linux architecture we ship).
const EEXIST: i32 = 17;
/// Joined already, though its address is gone: a link that went down takes the
/// address along and leaves the membership behind.
const EADDRINUSE: i32 = 98;
/// Not joined.
const EADDRNOTAVAIL: i32 = 99;

/// Memberships of the calling thread's network namespace, as text.
const MEMBERSHIPS: &str = "/proc/thread-self/net/igmp6";

/// One join or leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupChange {
    /// Join on this interface (index).
    Join(u32, Ipv6Addr),
    /// Leave on this interface (index).
    Leave(u32, Ipv6Addr),
}

/// A group that could not be joined or left.
#[derive(Debug, thiserror::Error)]
#[error("cannot change membership ({change:?}) of a solicited-node group")]
pub struct GroupError {
    /// What was tried.
    pub change: GroupChange,
    #[source]
    source: rtnetlink::Error,
}

/// Joins and leaves groups.
#[derive(Debug, Clone)]
pub struct Groups {
    handle: Handle,
}

impl Groups {
    /// Works over the watch's socket.
    #[must_use]
    pub fn new(watch: &Watch) -> Self {
        Self { handle: watch.handle() }
    }

    /// The changes that lead from what the host has to exactly `wanted` (interface
    /// index, group). Only solicited-node groups are ever left: nothing but us
    /// makes the kernel hold those, other groups are somebody else's.
    #[must_use]
    pub fn plan(snapshot: &Snapshot, wanted: &BTreeSet<(u32, Ipv6Addr)>) -> Vec<GroupChange> {
        let held: BTreeSet<_> = snapshot
            .links
            .values()
            .flat_map(|l| l.groups.iter().filter(|g| is_solicited_node(**g)).map(|g| (l.index, *g)))
            .collect();
        let joins = wanted
            .difference(&held)
            .filter(|(index, _)| snapshot.links.contains_key(index))
            .map(|(index, group)| GroupChange::Join(*index, *group));
        let leaves = held.difference(wanted).map(|(index, group)| GroupChange::Leave(*index, *group));
        joins.chain(leaves).collect()
    }

    /// The same of these groups alone, each with whether it is wanted.
    #[must_use]
    pub fn plan_of(
        snapshot: &Snapshot,
        groups: impl IntoIterator<Item = ((u32, Ipv6Addr), bool)>,
    ) -> Vec<GroupChange> {
        let change = |((index, group), wanted)| {
            let held = snapshot.links.get(&index)?.groups.contains(&group);
            match (held, wanted) {
                (false, true) => Some(GroupChange::Join(index, group)),
                (true, false) => Some(GroupChange::Leave(index, group)),
                _ => None,
            }
        };
        groups.into_iter().filter_map(change).collect()
    }

    /// Memberships in solicited-node groups that no address of their interface asks
    /// for: those whose address went when the interface was switched off. The kernel
    /// offers no way to leave them (tried on Linux 6.18: neither does deleting the
    /// address, which is gone, nor can it be added again); they end with the
    /// interface, at the latest with the next boot. Interface and group.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn stranded(snapshot: &Snapshot) -> std::io::Result<Vec<(String, Ipv6Addr)>> {
        Ok(stranded(&std::fs::read_to_string(MEMBERSHIPS)?, snapshot))
    }

    /// Does one change. Joining what is joined and leaving what is not are no errors.
    ///
    /// # Errors
    /// The kernel refused (CAP_NET_ADMIN is needed).
    pub async fn apply(&self, change: GroupChange) -> Result<(), GroupError> {
        let (result, harmless) = match change {
            GroupChange::Join(index, group) => {
                let mut request = self.handle.address().add(index, IpAddr::V6(group), 128);
                *request.message_mut() = message(index, group);
                (request.execute().await, [EEXIST, EADDRINUSE])
            }
            GroupChange::Leave(index, group) => {
                (self.handle.address().del(message(index, group)).execute().await, [EADDRNOTAVAIL; 2])
            }
        };
        match result {
            Err(rtnetlink::Error::NetlinkError(message))
                if message.code.is_some_and(|code| harmless.contains(&-code.get())) =>
            {
                Ok(())
            }
            other => other.map_err(|source| GroupError { change, source }),
        }
    }
}

/// The address as `ip addr add GROUP dev IF autojoin` sends it. The library's own
/// builder puts groups into IFA_MULTICAST, which the kernel does not take here.
fn message(index: u32, group: Ipv6Addr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = 128;
    message.header.index = index;
    // No duplicate address detection for a group.
    message.attributes = vec![
        AddressAttribute::Address(IpAddr::V6(group)),
        AddressAttribute::Flags(AddressFlags::Mcautojoin | AddressFlags::Nodad),
    ];
    message
}

/// Each line is: index, interface, group in hexadecimal, users, flags, timer.
fn stranded(memberships: &str, snapshot: &Snapshot) -> Vec<(String, Ipv6Addr)> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let link = snapshot.links.get(&words.next()?.parse().ok()?)?;
        let group = Ipv6Addr::from(u128::from_str_radix(words.nth(1)?, 16).ok()?);
        let asked = link.addresses.iter().any(|held| match held.address {
            IpAddr::V6(address) => solicited_node(address) == group,
            IpAddr::V4(_) => false,
        });
        let strands = is_solicited_node(group) && !asked && !link.groups.contains(&group);
        strands.then(|| (link.name.clone(), group))
    };
    memberships.lines().filter_map(parse).collect()
}

/// The group of an address (RFC 4291 §2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b)
}

fn is_solicited_node(group: Ipv6Addr) -> bool {
    group.octets().starts_with(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::link;

    fn host(groups: &[&str]) -> Snapshot {
        let groups = groups.iter().map(|g| g.parse().unwrap()).collect();
        Snapshot { links: [(2, crate::Link { groups, ..link(2, "eth0") })].into() }
    }

    #[test]
    fn only_memberships_that_no_address_asks_for_are_stranded() {
        // Of fe80::1; held as an address; stranded; all nodes; of another namespace.
        let text = "2    eth0            ff0200000000000000000001ff000001     1 00000004 0\n\
                    2    eth0            ff0200000000000000000001ff000002     1 0000000C 0\n\
                    2    eth0            ff0200000000000000000001ff000003     1 0000000C 0\n\
                    2    eth0            ff020000000000000000000000000001     1 0000000C 0\n\
                    9    eth9            ff0200000000000000000001ff000003     1 0000000C 0\n\
                    no line of the kernel's\n";
        let stranded = stranded(text, &host(&["ff02::1:ff00:2"]));
        assert_eq!(stranded, [("eth0".to_owned(), "ff02::1:ff00:3".parse().unwrap())]);
    }

    #[test]
    fn the_plan_ends_in_exactly_what_is_wanted() {
        let group = |t: &str| t.parse::<Ipv6Addr>().unwrap();
        let wanted = BTreeSet::from([
            (2, group("ff02::1:ff00:1")),
            (2, group("ff02::1:ff00:2")),
            (7, group("ff02::1:ff00:2")),
        ]);
        // ff05::77 is not ours, interface 7 is gone.
        let plan = Groups::plan(&host(&["ff02::1:ff00:2", "ff02::1:ff00:3", "ff05::77"]), &wanted);
        assert_eq!(
            plan,
            [GroupChange::Join(2, group("ff02::1:ff00:1")), GroupChange::Leave(2, group("ff02::1:ff00:3"))]
        );
        let wanted = BTreeSet::from([(2, group("ff02::1:ff00:1"))]);
        assert_eq!(Groups::plan(&host(&["ff02::1:ff00:1"]), &wanted), []);
    }
}
