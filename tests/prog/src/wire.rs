//! Packet sockets with a deadline: real frames on real (virtual) interfaces.

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::frames::ARP;

const LONGEST: usize = 2048;

/// A raw socket on one interface, for one Ethernet type. It receives what arrives
/// there, not what is sent.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
}

impl Wire {
    /// Opens one on an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// No such interface, or no right to open packet sockets.
    pub fn open(interface: &str, ether_type: u16) -> anyhow::Result<Self> {
        let protocol = ether_type.to_be();
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(protocol))))
            .context("cannot open a packet socket")?;
        socket.bind(&address(if_index(interface)?, protocol)).context("cannot bind a packet socket")?;
        Ok(Self { socket })
    }

    /// From now on only frames that came with this VLAN's tag. The kernel takes the tag off
    /// before a packet socket sees the frame, so that nothing in its bytes tells.
    ///
    /// # Errors
    /// The socket takes no filter.
    pub fn only_vlan(&self, vlan: u16) -> anyhow::Result<()> {
        // Classic BPF with the kernel's extensions (linux/filter.h): is there a tag, and
        // which (the id is the lower 12 bits).
        const TAG_PRESENT: u32 = 0xffff_f000 + 48;
        const TAG: u32 = 0xffff_f000 + 44;
        let step = |code, if_not, value| SockFilter::new(code, 0, if_not, value);
        let program = [
            step(0x20, 0, TAG_PRESENT),
            step(0x15, 4, 1),
            step(0x20, 0, TAG),
            step(0x54, 0, 0x0fff),
            step(0x15, 1, u32::from(vlan)),
            step(0x06, 0, u32::MAX),
            step(0x06, 0, 0),
        ];
        self.socket.attach_filter(&program).context("cannot attach a filter to a packet socket")
    }

    /// Sends a frame and waits for one that `wanted` takes; for measuring, so
    /// with as few system calls as there can be. Time runs from before sending.
    ///
    /// # Errors
    /// None came within `patience`.
    pub fn exchange(
        &self,
        frame: &[u8],
        patience: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> anyhow::Result<Duration> {
        self.socket.set_read_timeout(Some(patience))?;
        let mut buffer = [0; LONGEST];
        let begin = Instant::now();
        (&self.socket).write_all(frame).context("cannot send a frame")?;
        loop {
            let length = (&self.socket).read(&mut buffer).context("no answer")?;
            if wanted(&buffer[..length]) {
                return Ok(begin.elapsed());
            }
            if begin.elapsed() > patience {
                bail!("no answer within {patience:?}");
            }
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down or its queue is full.
    pub fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        (&self.socket).write_all(frame).context("cannot send a frame")
    }

    /// Sends a frame if the interface takes it now; `false`: its queue is full and
    /// the frame never left.
    ///
    /// # Errors
    /// The interface is down.
    pub fn offer(&self, frame: &[u8]) -> anyhow::Result<bool> {
        match (&self.socket).write_all(frame) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => Ok(false),
            Err(error) => Err(error).context("cannot send a frame"),
        }
    }

    /// The first frame that `wanted` takes, or an error that lists what came instead.
    ///
    /// # Errors
    /// None came within `patience`.
    pub fn expect(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        let mut others = Vec::new();
        loop {
            match self.receive(deadline)? {
                Some(frame) if wanted(&frame) => return Ok(frame),
                Some(frame) => others.push(frame),
                None => bail!("no such frame within {patience:?}; {} others: {others:02x?}", others.len()),
            }
        }
    }

    /// The next frame, `None` at the deadline.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(&self, deadline: Instant) -> anyhow::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; LONGEST];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // A timeout of zero would wait for ever.
            self.socket.set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot receive a frame"),
            }
        }
    }
}

/// Counts the ARP replies for one address that an interface receives, without
/// reading them: the kernel counts what a socket's filter takes, also when the
/// socket has no room.
#[derive(Debug)]
pub struct Replies {
    socket: Socket,
}

impl Replies {
    /// Counts from now on, on an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// No such interface, or no right to open packet sockets.
    pub fn count(interface: &str, address: Ipv4Addr) -> anyhow::Result<Self> {
        let protocol = ARP.to_be();
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
            .context("cannot open a packet socket")?;
        // Classic BPF (linux/filter.h): operation 2 at 20, the sender's address at 28.
        let load = |size: u16, at| SockFilter::new(size | 0x20, 0, 0, at);
        let (half, word) = (0x08, 0x00);
        let equal = |value, otherwise| SockFilter::new(0x15, 0, otherwise, value);
        let take = |bytes| SockFilter::new(0x06, 0, 0, bytes);
        let program =
            [load(half, 20), equal(2, 3), load(word, 28), equal(u32::from(address), 1), take(1), take(0)];
        socket.attach_filter(&program).context("cannot attach a filter to a packet socket")?;
        socket.set_recv_buffer_size(0)?;
        socket.bind(&crate::wire::address(if_index(interface)?, protocol))?;
        let replies = Self { socket };
        replies.take()?;
        Ok(replies)
    }

    /// How many came since the last call.
    ///
    /// # Errors
    /// The socket failed.
    pub fn take(&self) -> anyhow::Result<u64> {
        let mut stats = nix::libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = socklen::<nix::libc::tpacket_stats>();
        // SAFETY: the kernel writes at most `length` bytes, a whole structure's.
        let result = unsafe {
            nix::libc::getsockopt(
                self.socket.as_raw_fd(),
                nix::libc::SOL_PACKET,
                nix::libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        nix::errno::Errno::result(result).context("cannot read a packet socket's counters")?;
        // Dropped ones are among them.
        Ok(u64::from(stats.tp_packets))
    }
}

/// The index of an interface in the calling thread's namespace.
///
/// # Errors
/// There is none of this name.
pub fn if_index(interface: &str) -> anyhow::Result<u32> {
    if_nametoindex(interface).with_context(|| format!("no interface {interface}"))
}

/// The MAC of an interface.
///
/// # Errors
/// It cannot be read.
pub fn mac(interface: &str) -> anyhow::Result<[u8; 6]> {
    // /sys shows the namespace of whoever mounted it; netlink's text does not lie.
    let output = std::process::Command::new("ip").args(["-o", "link", "show", "dev", interface]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").context("no Ethernet interface")?;
    let mut mac = [0; 6];
    let parts = words.get(at + 1).context("no MAC")?.split(':');
    for (byte, part) in mac.iter_mut().zip(parts) {
        *byte = u8::from_str_radix(part, 16)?;
    }
    Ok(mac)
}

/// The address of a packet socket: a protocol, in network order, on an interface.
#[expect(clippy::cast_possible_truncation, reason = "a family of 17")]
fn address(ifindex: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` fits the storage and any bytes are valid for it.
    let link = unsafe { storage.view_as::<nix::libc::sockaddr_ll>() };
    link.sll_family = nix::libc::AF_PACKET as u16;
    link.sll_protocol = protocol;
    link.sll_ifindex = ifindex.cast_signed();
    // SAFETY: the storage holds a `sockaddr_ll` of that length.
    unsafe { SockAddr::new(storage, socklen::<nix::libc::sockaddr_ll>()) }
}

#[expect(clippy::cast_possible_truncation, reason = "structures of some bytes")]
fn socklen<T>() -> nix::libc::socklen_t {
    size_of::<T>() as nix::libc::socklen_t
}
