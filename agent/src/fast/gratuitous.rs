//! The socket that gratuitous frames leave by.
//!
//! One packet socket for all interfaces, bound to protocol 0 so that it receives
//! nothing: the kernel would otherwise copy every frame of the host into it.

use std::io;
use std::net::IpAddr;

use clarion_l2::frames::{Gratuitous, gratuitous_arp, unsolicited_na};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::plan::Announcement;

/// Sends gratuitous frames.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Socket,
}

impl Sender {
    /// Opens the socket (CAP_NET_RAW).
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        // A full queue loses a frame that is repeated anyway; waiting for it would
        // hold up ownership.
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Sends one round for an address on an interface; how many frames left.
    pub(super) fn round(&self, ifindex: u32, address: IpAddr, how: Announcement) -> io::Result<u64> {
        let to = link_address(ifindex)?;
        match address {
            IpAddr::V4(v4) => {
                self.socket.send_to(&gratuitous_arp(Gratuitous::Request, how.mac, v4), &to)?;
                self.socket.send_to(&gratuitous_arp(Gratuitous::Reply, how.mac, v4), &to)?;
                Ok(2)
            }
            IpAddr::V6(v6) => {
                let source = how.source.unwrap_or(v6);
                self.socket.send_to(&unsolicited_na(how.mac, source, v6), &to)?;
                Ok(1)
            }
        }
    }
}

/// A `sockaddr_ll` that names an interface and nothing else: the frame brings its
/// own header.
pub(super) fn link_address(ifindex: u32) -> io::Result<SockAddr> {
    packet_address(ifindex, 0)
}

/// A `sockaddr_ll` that names a protocol on all interfaces, to be bound to.
pub(super) fn protocol_address(protocol: u16) -> io::Result<SockAddr> {
    packet_address(0, protocol)
}

#[expect(clippy::cast_possible_truncation, reason = "a family of 17 and a length of 20")]
fn packet_address(ifindex: u32, protocol: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a socket address of family AF_PACKET, any bit
    // pattern is one, and the storage is large enough and aligned for each kind.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as libc::sa_family_t;
    link.sll_protocol = protocol.to_be();
    link.sll_ifindex = index;
    link.sll_halen = 6;
    let len = std::mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds an initialised `sockaddr_ll` of this length.
    Ok(unsafe { SockAddr::new(storage, len) })
}
