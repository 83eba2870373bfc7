//! Asking the wire who has an address, and seeing every answer.
//!
//! Packet sockets, not the kernel's neighbour table: a second answer from
//! another machine, an answer's time and its absence all have to be seen.

mod wire;

use crate::addressing::Station;
use crate::netns::Netns;
use anyhow::{Context, Result, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The hardware address that the answer names (ARP sender, NDP target
    /// link-layer option).
    pub mac: [u8; 6],
    /// The hardware address that the frame came from.
    pub from: [u8; 6],
    /// From before the question was sent until the answer was read.
    pub took: Duration,
    /// When the answer was read.
    pub at: Instant,
}

/// Asks from a client's `eth0`.
#[derive(Debug)]
pub struct Prober {
    me: Station,
    arp: File,
    ipv6: File,
}

impl Prober {
    /// Opens the sockets in a client's namespace; `me` is that client.
    ///
    /// # Errors
    /// When packet sockets are refused.
    pub fn new(netns: &Netns, me: Station) -> Result<Self> {
        let open = || -> Result<(File, File)> {
            Ok((packet_socket(libc::ETH_P_ARP)?, packet_socket(libc::ETH_P_IPV6)?))
        };
        let (arp, ipv6) = netns.run(open)?.context("packet socket")?;
        Ok(Self { me, arp, ipv6 })
    }

    /// Asks once (ARP request or neighbour solicitation, to all) and returns the
    /// first answer.
    ///
    /// # Errors
    /// When the frame cannot be sent.
    pub fn ask(&self, target: IpAddr, timeout: Duration) -> Result<Option<Answer>> {
        Ok(self.collect(target, timeout, true)?.into_iter().next())
    }

    /// Asks once and returns all answers that come within `window`.
    ///
    /// # Errors
    /// When the frame cannot be sent.
    pub fn ask_all(&self, target: IpAddr, window: Duration) -> Result<Vec<Answer>> {
        self.collect(target, window, false)
    }

    /// Asks every `interval` on a thread of its own until the watch is stopped.
    pub fn watch(self, target: IpAddr, interval: Duration) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (stopped, record) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let sent = Instant::now();
                let answers = self.ask_all(target, interval)?;
                record.lock().map_err(|_| anyhow!("poisoned"))?.push(Sample { sent, answers });
            }
            Ok(())
        });
        Watch { stop, samples, thread }
    }

    fn collect(&self, target: IpAddr, window: Duration, first: bool) -> Result<Vec<Answer>> {
        let (mut socket, frame) = match target {
            IpAddr::V4(target) => (&self.arp, wire::arp_request(&self.me, target)),
            IpAddr::V6(target) => (&self.ipv6, wire::neighbour_solicitation(&self.me, target)),
        };
        // Answers to earlier questions are not answers to this one.
        let mut buffer = [0; 2048];
        while receive(socket, &mut buffer, Duration::ZERO)?.is_some() {}
        let begin = Instant::now();
        match socket.write(&frame) {
            Ok(_) => {}
            // The interface has no carrier just now: the question is lost, as on a wire.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Err(error) => return Err(error).context("send"),
        }
        let mut answers = Vec::new();
        loop {
            let left = window.saturating_sub(begin.elapsed());
            let Some(length) = receive(socket, &mut buffer, left)? else { return Ok(answers) };
            let at = Instant::now();
            if let Some((mac, from)) = wire::answer(&buffer[..length], target) {
                answers.push(Answer { mac, from, took: at - begin, at });
                if first {
                    return Ok(answers);
                }
            }
        }
    }
}

/// The next frame within `timeout`.
fn receive(mut socket: &File, buffer: &mut [u8], timeout: Duration) -> Result<Option<usize>> {
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Rounded up, so that the last millisecond is waited for and not spun.
        let millis = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(millis)).context("poll")? > 0 {
            match socket.read(buffer) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) => return Err(error).context("receive"),
            }
        }
        if Instant::now() >= end {
            return Ok(None);
        }
    }
}

/// A packet socket on `eth0` of the calling thread's namespace, for one protocol.
fn packet_socket(protocol: i32) -> Result<File> {
    let protocol = u16::try_from(protocol).context("protocol")?.to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a plain socket(2); the result is checked below.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol)) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error()).context("socket");
    }
    // SAFETY: a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let index = nix::net::if_::if_nametoindex("eth0").context("eth0")?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).context("family")?,
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(index).context("interface")?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).context("length")?;
    // SAFETY: `address` is a sockaddr_ll and `length` its size.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    if bound != 0 {
        return Err(std::io::Error::last_os_error()).context("bind");
    }
    Ok(File::from(fd))
}

/// One question of a [`Watch`] and all that answered it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was asked.
    pub sent: Instant,
    /// The answers within the watch's interval.
    pub answers: Vec<Answer>,
}

/// A prober that keeps asking.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: JoinHandle<Result<()>>,
}

impl Watch {
    /// The first answer after `since` that names another MAC than `old`.
    pub fn first_other(&self, since: Instant, old: [u8; 6]) -> Option<Answer> {
        let samples = self.samples.lock().ok()?;
        let answers = samples.iter().filter(|s| s.sent >= since).flat_map(|s| &s.answers);
        answers.filter(|a| a.mac != old).min_by_key(|a| a.at).copied()
    }

    /// How many questions were asked since.
    pub fn asked_since(&self, since: Instant) -> usize {
        self.samples.lock().map_or(0, |samples| samples.iter().filter(|s| s.sent >= since).count())
    }

    /// Ends the watch and returns all samples.
    ///
    /// # Errors
    /// When the prober failed meanwhile.
    pub fn stop(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the prober panicked"))??;
        let mut samples = self.samples.lock().map_err(|_| anyhow!("poisoned"))?;
        Ok(std::mem::take(&mut *samples))
    }
}
