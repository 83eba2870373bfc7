//! The socket that one session sends from: TTL 255, and a source port that no other session
//! of the host has (RFC 5881 §4, §5).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clarion_bfd::transport::{Hops, TTL, source_ports};
use socket2::{Domain, Protocol, Socket, Type};

/// Network control, as routers mark it: it is not dropped first where a link is full.
const CLASS: u32 = 0xc0;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransmitError {
    #[error("cannot open a UDP socket")]
    Open(#[source] io::Error),
    #[error("cannot set TTL 255 and the class of network control")]
    Mark(#[source] io::Error),
    #[error("cannot bind to device {0}: is it there, and does the agent have CAP_NET_RAW?")]
    Device(String, #[source] io::Error),
    #[error("spec.sourceAddress {0} and spec.peerAddress are of different families")]
    SourceFamily(IpAddr),
    #[error("cannot use spec.sourceAddress {0}: it must be an address of this node")]
    Source(IpAddr, #[source] io::Error),
    #[error("all UDP ports from 49152 on are taken on this node")]
    NoPort,
}

/// One session's socket.
pub(super) struct Transmitter {
    socket: std::net::UdpSocket,
    to: SocketAddr,
}

impl Transmitter {
    /// `seed` chooses the port.
    pub(super) fn open(
        peer: IpAddr,
        source: Option<IpAddr>,
        device: Option<&str>,
        hops: Hops,
        seed: u64,
    ) -> Result<Self, TransmitError> {
        let to = SocketAddr::new(peer, hops.port());
        let from = source.unwrap_or(match peer {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        if from.is_ipv4() != peer.is_ipv4() {
            return Err(TransmitError::SourceFamily(from));
        }
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
            .map_err(TransmitError::Open)?;
        match peer {
            IpAddr::V4(_) => socket.set_ttl_v4(TTL.into()).and_then(|()| socket.set_tos_v4(CLASS)),
            IpAddr::V6(_) => {
                socket.set_unicast_hops_v6(TTL.into()).and_then(|()| socket.set_tclass_v6(CLASS))
            }
        }
        .map_err(TransmitError::Mark)?;
        if let Some(device) = device {
            let refused = |error| TransmitError::Device(device.to_owned(), error);
            socket.bind_device(Some(device.as_bytes())).map_err(refused)?;
        }
        for port in source_ports(seed) {
            match socket.bind(&SocketAddr::new(from, port).into()) {
                Ok(()) => return Ok(Self { socket: socket.into(), to }),
                Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {}
                Err(error) => return Err(TransmitError::Source(from, error)),
            }
        }
        Err(TransmitError::NoPort)
    }

    /// Sends one packet. What does not fit into the socket's buffer is lost, as it would be
    /// on the wire; the next one follows soon.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        match self.socket.send_to(octets, self.to) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}
