//! The socket that gratuitous frames leave by.
//!
//! One packet socket for all interfaces, bound to protocol 0 so that it receives
//! nothing: the kernel would otherwise copy every frame of the host into it.

use std::io;
use std::net::IpAddr;

use clarion_l2::frames::{Gratuitous, gratuitous_arp, unsolicited_na};
use socket2::{Domain, Protocol, Socket, Type};

use super::packet::link_address;
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
