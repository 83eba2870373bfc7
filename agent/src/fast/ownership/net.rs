//! The socket by which agents speak to one another, and by which probes leave.
//!
//! Probes are answered by the peers' kernels and their answers are taken in by
//! ours: neither reaches this socket where the program is attached to the
//! interface that they come by. What comes elsewhere is handed to the program.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clarion_fence::{LEN, Wire};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// More than any datagram of ours: what is longer is none.
const LARGEST: usize = 2048;
/// Bytes that wait for the agent: some hundred datagrams of an agent that claims thousands.
const BUFFER: usize = 1 << 20;
/// How every signal begins.
const SIGNAL: [u8; 2] = [0xc1, 0xf3];

/// Something that came.
#[derive(Debug)]
pub(super) enum Heard {
    /// Of another agent.
    Datagram(Vec<u8>),
    /// Of another kernel or agent, for our kernel.
    Signal(Wire, SocketAddr),
}

/// The socket.
#[derive(Debug)]
pub(super) struct Net {
    socket: UdpSocket,
    port: u16,
    v6: bool,
    buffer: Vec<u8>,
    /// Datagrams that could not be sent.
    pub(super) unsent: u64,
}

impl Net {
    /// Listens on all addresses of the host.
    ///
    /// # Errors
    /// Somebody else has the port.
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        // A host without IPv6 has IPv4 alone.
        let v6 = Self::bind(any[0], port);
        let (socket, v6) = match v6 {
            Ok(socket) => (socket, true),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => (Self::bind(any[1], port)?, false),
        };
        Ok(Self { socket, port, v6, buffer: vec![0; LARGEST], unsent: 0 })
    }

    fn bind(address: IpAddr, port: u16) -> io::Result<UdpSocket> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((address, port)).into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Waits until something may have come.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The next thing that came; what is none of ours by its size is left out.
    pub(super) fn next(&mut self) -> Option<Heard> {
        loop {
            let (length, from) = match self.socket.try_recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // What an ICMP message says of a datagram sent earlier is no news here.
                Err(_) => continue,
            };
            let bytes = self.buffer.get(..length).unwrap_or_default();
            if length == LEN && bytes.starts_with(&SIGNAL) {
                return Some(Heard::Signal(bytemuck::pod_read_unaligned(bytes), from));
            }
            if length < LARGEST {
                return Some(Heard::Datagram(bytes.to_vec()));
            }
        }
    }

    /// Sends to a node's port. What cannot be sent now is lost, as on the wire.
    pub(super) fn send(&mut self, to: IpAddr, bytes: &[u8]) {
        let to = match to {
            IpAddr::V4(v4) if self.v6 => v4.to_ipv6_mapped().into(),
            other => other,
        };
        self.send_to(SocketAddr::new(to, self.port), bytes);
    }

    /// Sends to whoever something came from.
    pub(super) fn send_to(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.socket.try_send_to(bytes, to).is_err() {
            self.unsent = self.unsent.saturating_add(1);
        }
    }
}
