//! Packet sockets with a deadline: real frames on real (virtual) interfaces.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

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
#[expect(clippy::cast_possible_truncation, reason = "a family of 17 and a structure of 20 bytes")]
fn address(ifindex: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` fits the storage and any bytes are valid for it.
    let link = unsafe { storage.view_as::<nix::libc::sockaddr_ll>() };
    link.sll_family = nix::libc::AF_PACKET as u16;
    link.sll_protocol = protocol;
    link.sll_ifindex = ifindex.cast_signed();
    let length = size_of::<nix::libc::sockaddr_ll>() as nix::libc::socklen_t;
    // SAFETY: the storage holds a `sockaddr_ll` of that length.
    unsafe { SockAddr::new(storage, length) }
}
