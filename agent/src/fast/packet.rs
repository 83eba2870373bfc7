//! Addresses of packet sockets (`packet(7)`).

use std::io;

use socket2::{SockAddr, SockAddrStorage};

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
