//! The sockets that control packets come to: one for each port, family and routing domain,
//! shared by all sessions there. Each datagram comes with its TTL, its interface and the
//! address that it was sent to.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use clarion_bfd::sessions::{Arrival, Domain};
use clarion_bfd::transport::Hops;
use clarion_core::Family;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv4RecvTtl, Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::link::ip;

/// More than any control packet has; what is cut off was none.
pub(super) const DATAGRAM: usize = 256;

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error(
        "UDP port {0} is taken on this node: end the other BFD daemon there (FRR's bfdd, BIRD, MetalLB's FRR), or remove bfdProfile"
    )]
    Taken(u16),
    #[error("cannot bind to device {0}: is it there, and does the agent have CAP_NET_RAW?")]
    Device(String, #[source] io::Error),
    #[error("cannot listen on UDP port {0}")]
    Socket(u16, #[source] io::Error),
}

/// What a listener is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) domain: Domain,
    pub(super) device: Option<String>,
    pub(super) hops: Hops,
    pub(super) family: Family,
}

/// One socket.
pub(super) struct Listener {
    socket: UdpSocket,
    domain: Domain,
    hops: Hops,
}

impl Listener {
    pub(super) fn open(place: &Place) -> Result<Self, ListenError> {
        let port = place.hops.port();
        let failed = |error: io::Error| match error.raw_os_error() {
            Some(libc::EADDRINUSE) => ListenError::Taken(port),
            _ => ListenError::Socket(port, error),
        };
        let (domain, any): (_, IpAddr) = match place.family {
            Family::V4 => (socket2::Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
            Family::V6 => (socket2::Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP)).map_err(failed)?;
        let options = match place.family {
            Family::V4 => {
                setsockopt(&socket, Ipv4RecvTtl, &true).and(setsockopt(&socket, Ipv4PacketInfo, &true))
            }
            Family::V6 => setsockopt(&socket, Ipv6RecvHopLimit, &true).and(setsockopt(
                &socket,
                Ipv6RecvPacketInfo,
                &true,
            )),
        };
        options.map_err(|errno| failed(errno.into()))?;
        if place.family == Family::V6 {
            socket.set_only_v6(true).map_err(failed)?;
        }
        if let Some(device) = &place.device {
            let refused = |error| ListenError::Device(device.clone(), error);
            socket.bind_device(Some(device.as_bytes())).map_err(refused)?;
        }
        // Without SO_REUSEADDR: another daemon there must not get our packets unnoticed.
        socket.bind(&SocketAddr::new(any, port).into()).map_err(failed)?;
        let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
        Ok(Self { socket, domain: place.domain, hops: place.hops })
    }

    /// Waits until there may be something.
    pub(super) async fn readable(&self) {
        // Should this fail, the read that follows says why.
        let _ready = self.socket.readable().await;
    }

    /// The next datagram, if there is one; its payload is at the buffer's begin.
    pub(super) fn receive(&self, buffer: &mut [u8; DATAGRAM]) -> Option<(Arrival, usize)> {
        loop {
            let received = self.socket.try_io(Interest::READABLE, || self.receive_now(buffer));
            match received {
                Ok(Some(datagram)) => return Some(datagram),
                // Not to be placed; the next one may be.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What else the kernel says here is about datagrams that were sent to others.
                Err(_) => return None,
            }
        }
    }

    fn receive_now(&self, buffer: &mut [u8; DATAGRAM]) -> io::Result<Option<(Arrival, usize)>> {
        let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut slices = [IoSliceMut::new(buffer)];
        let message: RecvMsg<'_, '_, SockaddrStorage> =
            recvmsg(self.socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let source = message.address.as_ref().and_then(ip);
        let (mut ttl, mut to) = (None, None);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                    ttl = u8::try_from(value).ok();
                }
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let destination = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                    to = Some((IpAddr::V4(destination), u32::try_from(info.ipi_ifindex).ok()));
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    let destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    to = Some((IpAddr::V6(destination), Some(info.ipi6_ifindex)));
                }
                _ => {}
            }
        }
        let placed = source.zip(ttl).zip(to);
        Ok(placed.and_then(|((source, ttl), (destination, interface))| {
            let (domain, hops) = (self.domain, self.hops);
            Some((Arrival { domain, hops, interface: interface?, source, destination, ttl }, message.bytes))
        }))
    }
}
