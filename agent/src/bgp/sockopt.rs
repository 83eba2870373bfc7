//! The socket of a session, with the options that no safe crate has.
//!
//! The one place of the driver with `unsafe`.

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::config::PeerConfig;

/// Longest TCP-MD5 key the kernel takes, octets (`TCP_MD5SIG_MAXKEYLEN`).
const MAX_KEY: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// Why a socket could not be made as the BGPPeer asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("cannot open a TCP socket")]
    Open(#[source] io::Error),
    #[error("spec.password has {0} octets: TCP-MD5 takes 1 to {MAX_KEY}")]
    KeyLength(usize),
    #[error("the kernel refuses the TCP-MD5 password (is CONFIG_TCP_MD5SIG on?)")]
    Key(#[source] io::Error),
    #[error("cannot set the TTL")]
    Ttl(#[source] io::Error),
    #[error("cannot bind to device {0}: is it there, and does the agent have CAP_NET_RAW?")]
    Device(String, #[source] io::Error),
    #[error("spec.sourceAddress {0} and spec.peerAddress are of different families")]
    SourceFamily(IpAddr),
    #[error("cannot use spec.sourceAddress {0}: it must be an address of this node")]
    Source(IpAddr, #[source] io::Error),
}

/// A socket that is ready to connect to the peer.
pub(super) fn open(peer: &PeerConfig) -> Result<Socket, SocketError> {
    let domain = Domain::for_address(peer.address);
    let socket =
        Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP)).map_err(SocketError::Open)?;
    match peer.address {
        SocketAddr::V4(_) => socket.set_ttl_v4(peer.ttl()),
        SocketAddr::V6(_) => socket.set_unicast_hops_v6(peer.ttl()),
    }
    .map_err(SocketError::Ttl)?;
    // An UPDATE must not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true).map_err(SocketError::Open)?;
    if let Some(device) = &peer.device {
        let refused = |error| SocketError::Device(device.clone(), error);
        socket.bind_device(Some(device.as_bytes())).map_err(refused)?;
    }
    if let Some(source) = peer.source {
        if source.is_ipv4() != peer.address.is_ipv4() {
            return Err(SocketError::SourceFamily(source));
        }
        let refused = |error| SocketError::Source(source, error);
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(refused)?;
    }
    if let Some(password) = &peer.password {
        set_md5_key(&socket, peer.address, password.as_bytes())?;
    }
    Ok(socket)
}

/// `struct tcp_md5sig` of linux/tcp.h; libc does not have it.
#[repr(C)]
struct Md5Signature {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: c_int,
    key: [u8; MAX_KEY],
}

/// Signs every segment to and from `peer` (RFC 2385).
fn set_md5_key(socket: &Socket, peer: SocketAddr, key: &[u8]) -> Result<(), SocketError> {
    let wrong = || SocketError::KeyLength(key.len());
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(wrong());
    }
    let mut padded = [0; MAX_KEY];
    padded[..key.len()].copy_from_slice(key);
    let mut option = Md5Signature {
        // SAFETY: sockaddr_storage consists of integers; all zeros is a value of it.
        address: unsafe { std::mem::zeroed() },
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(key.len()).map_err(|_| wrong())?,
        interface: 0,
        key: padded,
    };
    let address = SockAddr::from(peer);
    let length = usize::try_from(address.len()).unwrap_or_default().min(size_of::<libc::sockaddr_storage>());
    // SAFETY: both sides are valid for `length` octets: the source is a SockAddr of
    // that length, the destination a sockaddr_storage, which is not smaller (`min`);
    // they do not overlap, since one was just made on the stack.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            std::ptr::from_mut(&mut option.address).cast::<u8>(),
            length,
        );
    }
    let size = libc::socklen_t::try_from(size_of::<Md5Signature>()).map_err(|_| wrong())?;
    // SAFETY: the descriptor is open for the whole call since `socket` is borrowed;
    // the pointer leads to `size` initialised octets in the kernel's layout.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            std::ptr::from_ref(&option).cast(),
            size,
        )
    };
    if result == 0 { Ok(()) } else { Err(SocketError::Key(io::Error::last_os_error())) }
}

/// The address without a mapping (`::ffff:192.0.2.1` is 192.0.2.1).
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn the_kernel_knows_the_layout_of_the_key() {
        assert_eq!(size_of::<Md5Signature>(), 216);
    }

    #[test]
    fn mapped_addresses_lose_their_mapping() {
        let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(canonical("::ffff:192.0.2.1".parse().unwrap()), v4);
        assert_eq!(canonical(IpAddr::V6(Ipv6Addr::LOCALHOST)), IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
}
