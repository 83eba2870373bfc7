//! Asking the segment: who has an address, and does anybody live there?
//!
//! Packet sockets with filters, so that the host's other frames are not copied: a
//! storm of ARP requests must not reach this thread.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clarion_l2::frames::Mac;
use clarion_l2::questions::{answer, question};
use clarion_netlink::{Interface, Snapshot};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::super::packet::{link_address, protocol_address};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// Neighbours that are asked for a sign of life at a time, gateways first.
const NEIGHBOURS: usize = 6;
/// More than any answer; the rest of a longer frame is not read.
const LONGEST: u8 = 128;

/// The sockets.
#[derive(Debug)]
pub(super) struct Segment {
    arp: AsyncFd<Socket>,
    ipv6: AsyncFd<Socket>,
}

impl Segment {
    /// Opens them (CAP_NET_RAW).
    pub(super) fn open() -> io::Result<Self> {
        // Loads from the Ethernet header on: an ARP reply; a neighbour advertisement.
        let half = |offset| SockFilter::new(0x28, 0, 0, offset);
        let byte = |offset| SockFilter::new(0x30, 0, 0, offset);
        let is = |value, otherwise| SockFilter::new(0x15, 0, otherwise, value);
        let end = |length| SockFilter::new(0x06, 0, 0, length);
        let arp = [half(20), is(2, 1), end(LONGEST.into()), end(0)];
        let ipv6 = [byte(20), is(58, 3), byte(54), is(136, 1), end(LONGEST.into()), end(0)];
        Ok(Self { arp: socket(ARP, &arp)?, ipv6: socket(IPV6, &ipv6)? })
    }

    /// Waits until something may have come.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let mut guard = tokio::select! {
            guard = self.arp.readable() => guard?,
            guard = self.ipv6.readable() => guard?,
        };
        // Cleared first, then everything is read: nothing that comes meanwhile is missed.
        guard.clear_ready();
        Ok(())
    }

    /// The next station that says that it has an address.
    pub(super) fn next(&self) -> Option<(Mac, IpAddr)> {
        [&self.arp, &self.ipv6].into_iter().find_map(|socket| {
            let mut buffer = [0; LONGEST as usize];
            loop {
                let length = io::Read::read(&mut socket.get_ref(), &mut buffer).ok()?;
                if let Some(found) = buffer.get(..length).and_then(answer) {
                    return Some(found);
                }
            }
        })
    }

    /// Asks, as one who is not its owner, who has an address.
    pub(super) fn resolve(&self, interface: &Interface, address: IpAddr) {
        self.send(interface, &question(interface.mac, None, address));
    }

    /// Asks gateways and some other neighbours for a sign of life.
    pub(super) fn prove(&self, interfaces: &[Interface], snapshot: &Snapshot) {
        let neighbours = Neighbours::read();
        let mut asked = BTreeSet::new();
        for (name, address) in neighbours.all() {
            let Some(interface) = interfaces.iter().find(|i| i.name == name) else { continue };
            if asked.len() < NEIGHBOURS && asked.insert(address) {
                let source = source(interface, snapshot, address);
                self.send(interface, &question(interface.mac, source, address));
            }
        }
    }

    fn send(&self, interface: &Interface, frame: &[u8]) {
        let Ok(to) = link_address(interface.index) else { return };
        // Lost like any frame, and asked again.
        drop(self.arp.get_ref().send_to(frame, &to));
    }
}

/// An address of the interface that may ask for another.
fn source(interface: &Interface, snapshot: &Snapshot, target: IpAddr) -> Option<IpAddr> {
    if target.is_ipv6() {
        return interface.ndp.map(IpAddr::V6);
    }
    let link = snapshot.links.get(&interface.index)?;
    link.addresses.iter().map(|held| held.address).find(IpAddr::is_ipv4)
}

fn socket(protocol: u16, filter: &[SockFilter]) -> io::Result<AsyncFd<Socket>> {
    // Bound to no protocol until the filter is there: nothing unwanted ever waits in it.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.attach_filter(filter)?;
    socket.set_nonblocking(true)?;
    socket.bind(&protocol_address(protocol)?)?;
    // SAFETY: the socket owns its one descriptor, and nothing exchanges it.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Who is likely to answer, as the kernel's tables have it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Interface and address.
    gateways: Vec<(String, IpAddr)>,
    others: Vec<(String, IpAddr, Mac)>,
}

impl Neighbours {
    /// Reads the tables; what cannot be read is empty.
    pub(super) fn read() -> Self {
        let text = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        Self::parse(&text("/proc/net/route"), &text("/proc/net/ipv6_route"), &text("/proc/net/arp"))
    }

    fn parse(route: &str, ipv6_route: &str, arp: &str) -> Self {
        let mut found = Self::default();
        // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
        for line in route.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if let [name, "00000000", gateway, ..] = fields[..]
                && let Ok(word) = u32::from_str_radix(gateway, 16)
                && word != 0
            {
                found.gateways.push((name.to_owned(), Ipv4Addr::from(word.to_ne_bytes()).into()));
            }
        }
        // destination length source length gateway metric refcnt use flags interface
        for line in ipv6_route.lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            if let [_, "00", _, _, gateway, _, _, _, _, name] = fields[..]
                && let Ok(word) = u128::from_str_radix(gateway, 16)
                && word != 0
            {
                found.gateways.push((name.to_owned(), Ipv6Addr::from(word).into()));
            }
        }
        // IP address, HW type, Flags, HW address, Mask, Device
        for line in arp.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if let [address, _, flags, mac, _, name] = fields[..]
                && let (Ok(address), Some(mac)) = (address.parse(), mac_of(mac))
                && flags != "0x0"
            {
                found.others.push((name.to_owned(), address, mac));
            }
        }
        found
    }

    fn all(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let others = self.others.iter().map(|(name, address, _)| (name.as_str(), *address));
        self.gateways.iter().map(|(name, address)| (name.as_str(), *address)).chain(others)
    }

    /// The station that has an address on an interface, as far as is known.
    pub(in crate::fast) fn mac(&self, interface: &str, address: IpAddr) -> Option<Mac> {
        let found = self.others.iter().find(|(name, has, _)| name == interface && *has == address);
        found.map(|(.., mac)| *mac)
    }
}

fn mac_of(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(bytes.next()?, 16).ok()?;
    }
    (bytes.next().is_none() && mac != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_and_neighbours_are_read_from_the_kernels_tables() {
        let route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let ipv6_route = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                          fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
                          00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                          00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        let arp = "IP address       HW type     Flags       HW address            Mask     Device\n\
                   192.168.2.7      0x1         0x2         02:00:00:00:01:07     *        eth0\n\
                   192.168.2.8      0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        let found = Neighbours::parse(route, ipv6_route, arp);
        let all: Vec<_> = found.all().map(|(name, address)| format!("{name} {address}")).collect();
        let swapped = if cfg!(target_endian = "little") { "eth0 192.168.2.1" } else { "eth0 1.2.168.192" };
        assert_eq!(all, [swapped, "eth0 fe80::1", "eth0 192.168.2.7"]);
        assert_eq!(found.mac("eth0", [192, 168, 2, 7].into()), Some([2, 0, 0, 0, 1, 7]));
        assert_eq!(found.mac("eth1", [192, 168, 2, 7].into()), None);
        assert_eq!(Neighbours::parse("", "x", "a\nb c"), Neighbours::default());
    }
}
