//! Snapshots, and the notifications that say when to take the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::TryStreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::StreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use crate::{Address, Link, Mac, Snapshot};

/// A snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel refused the list of links.
    #[error("cannot list network interfaces over netlink")]
    Links(#[source] rtnetlink::Error),
    /// The kernel refused the list of addresses.
    #[error("cannot list addresses over netlink")]
    Addresses(#[source] rtnetlink::Error),
}

/// The watch could not be opened, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    /// The connection's task is gone; open a new watch.
    #[error("the netlink connection ended")]
    Ended,
    /// The change could not be read.
    #[error("a change was reported and cannot be read")]
    Snapshot(#[source] SnapshotError),
}

/// Tells when links or addresses change. Opened before the first snapshot is
/// taken, so that no change falls between the two.
#[derive(Debug)]
pub struct Watch {
    handle: Handle,
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Watch {
    /// Opens the socket in the network namespace of the calling thread. Needs a
    /// tokio runtime with IO.
    ///
    /// # Errors
    /// [`WatchError::Open`].
    pub fn open() -> Result<Self, WatchError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(WatchError::Open)?;
        Ok(Self { handle, messages, connection: tokio::spawn(connection) })
    }

    /// The handle that [`Groups`](crate::Groups) works with.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What the host has now.
    ///
    /// # Errors
    /// The kernel refused one of the two lists.
    pub async fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let links: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(SnapshotError::Links)?;
        let addresses: Vec<AddressMessage> =
            self.handle.address().get().execute().try_collect().await.map_err(SnapshotError::Addresses)?;
        let mut snapshot = Snapshot::default();
        for link in links.iter().map(read_link) {
            snapshot.links.insert(link.index, link);
        }
        for message in &addresses {
            if let Some(link) = snapshot.links.get_mut(&message.header.index) {
                add_address(link, message);
            }
        }
        for link in snapshot.links.values_mut() {
            link.addresses.sort();
        }
        Ok(snapshot)
    }

    /// The XDP programs (ids) that interfaces run, in whatever mode, with the indices
    /// of those interfaces.
    ///
    /// # Errors
    /// [`SnapshotError::Links`].
    pub async fn xdp_programs(&self) -> Result<BTreeMap<u32, BTreeSet<u32>>, SnapshotError> {
        let links: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(SnapshotError::Links)?;
        let mut programs = BTreeMap::<u32, BTreeSet<u32>>::new();
        for link in &links {
            for program in link.attributes.iter().flat_map(xdp) {
                programs.entry(program).or_default().insert(link.header.index);
            }
        }
        Ok(programs)
    }

    /// Waits for a change, then returns what the host has. Changes that came
    /// together are one. Safe to cancel: a change that was noticed and not read
    /// is at worst read by the caller's own next [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// [`WatchError::Ended`] when the socket is gone, [`WatchError::Snapshot`].
    pub async fn changed(&mut self) -> Result<(), WatchError> {
        self.messages.next().await.ok_or(WatchError::Ended)?;
        // A burst (an interface that comes up with its addresses) is one change.
        while self.messages.try_recv().is_ok() {}
        Ok(())
    }
}

fn read_link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        broadcast: flags.contains(LinkFlags::Broadcast),
        no_arp: flags.contains(LinkFlags::Noarp),
        master: None,
        kind: None,
        addresses: Vec::new(),
        groups: BTreeSet::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

/// The programs that an attribute names; one in the driver and one in the stack may
/// be there at once.
fn xdp(attribute: &LinkAttribute) -> impl Iterator<Item = u32> {
    let parts = if let LinkAttribute::Xdp(parts) = attribute { parts.as_slice() } else { &[] };
    parts.iter().filter_map(|part| match part {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id),
        _ => None,
    })
}

/// Ethernet only; the loopback's zeros are no address anybody could answer with.
fn mac(bytes: &[u8]) -> Option<Mac> {
    Mac::try_from(bytes).ok().filter(|mac| *mac != [0; 6])
}

fn add_address(link: &mut Link, message: &AddressMessage) {
    // IFA_LOCAL is ours on point-to-point links, where IFA_ADDRESS is the peer's.
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    });
    // The header holds the low eight flags only; IFA_FLAGS has all of them.
    let flags = message
        .attributes
        .iter()
        .find_map(|a| match a {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        })
        .unwrap_or_else(|| AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())));
    match address {
        Some(IpAddr::V6(group)) if group.is_multicast() => {
            link.groups.insert(group);
        }
        Some(address) if message.header.family != AddressFamily::Unspec => link.addresses.push(Address {
            address,
            prefix_len: message.header.prefix_len,
            tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        }),
        _ => {}
    }
}
