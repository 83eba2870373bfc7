//! Builders of frames, written for reading rather than speed.
//!
//! The checksum here is the textbook's, 16 bits at a time in network order, so
//! that it does not share a mistake with the program's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A MAC.
pub type Mac = [u8; 6];

/// Every station.
pub const BROADCAST: Mac = [0xff; 6];

/// Ethernet types and IPv6's next header of ICMPv6.
pub const ARP: u16 = 0x0806;
/// IPv4.
pub const IPV4: u16 = 0x0800;
/// IPv6.
pub const IPV6: u16 = 0x86dd;
/// Next header of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Shortest Ethernet frame without its check sequence; shorter ones are padded.
pub const SHORTEST: usize = 60;

/// An Ethernet frame with any number of tags (type, control), padded as a sender does.
#[must_use]
pub fn ethernet(to: Mac, from: Mac, tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = unpadded(to, from, tags, ether_type, payload);
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// The same without padding.
#[must_use]
pub fn unpadded(to: Mac, from: Mac, tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [to, from].concat();
    for (kind, control) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An ARP packet, every field open to be wrong.
#[derive(Debug, Clone, Copy)]
pub struct Arp {
    /// Hardware type; 1 is Ethernet.
    pub hardware: u16,
    /// Protocol type; 0x0800 is IPv4.
    pub protocol: u16,
    /// Lengths of hardware and protocol addresses.
    pub lengths: [u8; 2],
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who sends.
    pub sender: (Mac, Ipv4Addr),
    /// Who is meant.
    pub target: (Mac, Ipv4Addr),
}

impl Arp {
    /// "Who has `address`? Tell `sender`."
    #[must_use]
    pub fn request(sender: (Mac, Ipv4Addr), address: Ipv4Addr) -> Self {
        Self { hardware: 1, protocol: IPV4, lengths: [6, 4], operation: 1, sender, target: ([0; 6], address) }
    }

    /// "`sender` has its address", to `target`.
    #[must_use]
    pub fn reply(sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        Self { operation: 2, target, ..Self::request(sender, target.1) }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.hardware.to_be_bytes());
        bytes.extend(self.protocol.to_be_bytes());
        bytes.extend(self.lengths);
        bytes.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            bytes.extend(mac);
            bytes.extend(address.octets());
        }
        bytes
    }
}

/// A neighbour solicitation or advertisement in IPv6, every field open to be wrong.
#[derive(Debug, Clone)]
pub struct Neighbor {
    /// First byte of the IPv6 header: version and upper traffic class.
    pub version: u8,
    /// Next header.
    pub next: u8,
    /// Hop limit; must be 255.
    pub hops: u8,
    /// IPv6 source.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// 135 asks, 136 answers.
    pub kind: u8,
    /// Must be 0.
    pub code: u8,
    /// First byte of the flags: router 0x80, solicited 0x40, override 0x20.
    pub flags: u8,
    /// The address in question.
    pub target: Ipv6Addr,
    /// Options, as bytes.
    pub options: Vec<u8>,
    /// Added to the right checksum.
    pub checksum_error: u16,
    /// Added to the right payload length.
    pub length_error: i16,
}

/// A link-layer address option: 1 = source, 2 = target.
#[must_use]
pub fn link_layer(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

/// The solicited-node group of an address (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b)
}

/// The MAC of an IPv6 group (RFC 2464 §7).
#[must_use]
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

impl Neighbor {
    /// A solicitation to the solicited-node group, with the source's MAC.
    #[must_use]
    pub fn solicitation(source: (Mac, Ipv6Addr), target: Ipv6Addr) -> Self {
        Self {
            version: 0x60,
            next: ICMPV6,
            hops: 255,
            source: source.1,
            destination: solicited_node(target),
            kind: 135,
            code: 0,
            flags: 0,
            target,
            options: link_layer(1, source.0),
            checksum_error: 0,
            length_error: 0,
        }
    }

    /// An advertisement of `target` at `mac`.
    #[must_use]
    pub fn advertisement(target: Ipv6Addr, mac: Mac, destination: Ipv6Addr, flags: u8) -> Self {
        Self {
            source: target,
            destination,
            kind: 136,
            flags,
            options: link_layer(2, mac),
            ..Self::solicitation((mac, target), target)
        }
    }

    /// The packet's bytes, from the IPv6 header on.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0, self.flags, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        let length = u16::try_from(message.len()).expect("a message fits 64 KiB");
        let announced = length.wrapping_add_signed(self.length_error);
        let mut summed = [self.source.octets(), self.destination.octets()].concat();
        summed.extend(u32::from(announced).to_be_bytes());
        summed.extend([0, 0, 0, self.next]);
        summed.extend(&message);
        let checksum = checksum(&summed).wrapping_add(self.checksum_error);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());

        let mut packet = vec![self.version, 0, 0, 0];
        packet.extend(announced.to_be_bytes());
        packet.extend([self.next, self.hops]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(message);
        packet
    }
}

/// The Internet checksum of some bytes (RFC 1071 §1).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// UDP, every field open to be wrong.
#[derive(Debug, Clone)]
pub struct Udp {
    /// Ethernet destination and source.
    pub stations: [Mac; 2],
    /// Tags: type, control.
    pub tags: Vec<(u16, u16)>,
    /// Source and destination: both IPv4, or both IPv6.
    pub ends: [IpAddr; 2],
    /// Source and destination.
    pub ports: [u16; 2],
    /// First byte of an IPv4 header: version and length.
    pub first: u8,
    /// Flags and fragment offset of an IPv4 header.
    pub fragment: u16,
    /// Added to the right length in the IP header.
    pub ip_length_error: i16,
    /// Added to the right length in the UDP header.
    pub udp_length_error: i16,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Udp {
    /// A datagram without mistakes.
    #[must_use]
    pub fn new(stations: [Mac; 2], ends: [IpAddr; 2], ports: [u16; 2], payload: &[u8]) -> Self {
        Self {
            stations,
            tags: Vec::new(),
            ends,
            ports,
            first: 0x45,
            fragment: 0x4000,
            ip_length_error: 0,
            udp_length_error: 0,
            payload: payload.to_vec(),
        }
    }

    /// The datagram back, with another payload.
    #[must_use]
    pub fn back(&self, payload: &[u8]) -> Self {
        let ([to, from], [source, destination], [here, there]) = (self.stations, self.ends, self.ports);
        Self {
            tags: self.tags.clone(),
            ..Self::new([from, to], [destination, source], [there, here], payload)
        }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let length = u16::try_from(8 + self.payload.len()).expect("a datagram fits 64 KiB");
        let announced = length.wrapping_add_signed(self.udp_length_error);
        let mut datagram = [self.ports[0].to_be_bytes(), self.ports[1].to_be_bytes()].concat();
        datagram.extend(announced.to_be_bytes());
        datagram.extend([0; 2]);
        datagram.extend(&self.payload);
        let octets = |end| match end {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let mut summed = self.ends.map(octets).concat();
        summed.extend([0, 17]);
        summed.extend(announced.to_be_bytes());
        summed.extend(&datagram);
        let sum = match checksum(&summed) {
            0 => 0xffff,
            sum => sum,
        };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut packet;
        let ether_type = if self.ends[0].is_ipv4() {
            packet = vec![self.first, 0];
            packet.extend((length + 20).wrapping_add_signed(self.ip_length_error).to_be_bytes());
            packet.extend([0x12, 0x34]);
            packet.extend(self.fragment.to_be_bytes());
            packet.extend([64, 17, 0, 0]);
            packet.extend(self.ends.map(octets).concat());
            let sum = checksum(&packet).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
            IPV4
        } else {
            packet = vec![0x60, 0, 0, 0];
            packet.extend(length.wrapping_add_signed(self.ip_length_error).to_be_bytes());
            packet.extend([17, 64]);
            packet.extend(self.ends.map(octets).concat());
            IPV6
        };
        packet.extend(datagram);
        unpadded(self.stations[0], self.stations[1], &self.tags, ether_type, &packet)
    }
}

/// TCP over IPv4 or IPv6 between documentation addresses: other people's traffic.
#[must_use]
pub fn tcp(v6: bool) -> Vec<u8> {
    let (to, from) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let segment = [0x5a_u8; 20 + 1000];
    if v6 {
        let mut packet = vec![0x60, 0, 0, 0, 0x03, 0xfc, 6, 64];
        packet.extend("2001:db8::1".parse::<Ipv6Addr>().expect("valid").octets());
        packet.extend("2001:db8::2".parse::<Ipv6Addr>().expect("valid").octets());
        packet.extend(segment);
        return ethernet(to, from, &[], IPV6, &packet);
    }
    let mut packet = vec![0x45, 0, 0x04, 0x10, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet.extend(segment);
    ethernet(to, from, &[], IPV4, &packet)
}
