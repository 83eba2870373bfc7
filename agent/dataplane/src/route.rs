//! The few rtnetlink messages that attaching needs: which XDP programs an interface has,
//! and the classifier below clsact, which no `bpf(2)` call knows (linux/rtnetlink.h,
//! linux/pkt_sched.h, linux/pkt_cls.h).
//!
//! aya attaches classifiers too, but cannot say which one is attached, and detaches
//! when a value goes; ours must outlive the process, and be found by the next.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use clarion_abi::names;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const DUMP: u16 = 0x300;

const IFLA_MTU: u16 = 4;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
/// `RTEXT_FILTER_SKIP_STATS`: an interface's counters are most of its description.
const SKIP_STATISTICS: u32 = 1 << 3;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// `TCA_BPF_FLAG_ACT_DIRECT`: what the program returns is what becomes of the frame.
const DIRECT: u32 = 1;

/// `TC_H_CLSACT`, its handle, and its two hooks.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// The first priority, all protocols (`ETH_P_ALL`, in network order).
const PRIORITY_AND_PROTOCOL: u32 = 1 << 16 | (3_u16.to_be() as u32);
/// Any number that others hardly choose; with the priority it names the filter.
const HANDLE: u32 = 0xc1a0;

const HEADER: usize = 16;
/// Room for one datagram of the kernel's: a dump comes in pieces of up to 32 KiB.
const BUFFER: usize = 64 * 1024;
/// The kernel answers before the call returns; this is for a defect.
const PATIENCE: i64 = 2;

/// A socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Route {
    socket: OwnedFd,
}

/// What an interface is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LinkNow {
    pub(crate) mtu: u32,
    /// Ids of XDP programs in the driver or the stack. One in the NIC itself is in
    /// nobody's way.
    pub(crate) xdp: BTreeSet<u32>,
}

impl Route {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
        Ok(Self { socket })
    }

    /// An interface; `None`: there is none of that index.
    pub(crate) fn link(&self, ifindex: u32) -> io::Result<Option<LinkNow>> {
        let mut message = Message::new(RTM_GETLINK, 0);
        message.bytes.extend([0; 4]);
        message.word(ifindex).word(0).word(0).attribute(IFLA_EXT_MASK, &SKIP_STATISTICS.to_ne_bytes());
        let mut found = None;
        let asked = self.ask(message, |body| found = body.get(16..).map(link_now));
        match asked {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            result => result.map(|()| found),
        }
    }

    /// The program (id) of our classifier on an interface, if it is there.
    pub(crate) fn classifier(&self, ifindex: u32) -> io::Result<Option<u32>> {
        let mut found = None;
        self.filters(ifindex, INGRESS, |options| {
            let text =
                |value: &[u8]| value.split(|byte| *byte == 0).next() == Some(names::PROGRAM_TC.as_bytes());
            if attributes(options).any(|(kind, value)| kind == TCA_BPF_NAME && text(value)) {
                found =
                    attributes(options).find(|(kind, _)| *kind == TCA_BPF_ID).and_then(|(_, id)| number(id));
            }
        })?;
        Ok(found)
    }

    /// Lets a program be our classifier on an interface, in the place of the one that is.
    /// `true`: clsact was made for it.
    pub(crate) fn put_classifier(&self, ifindex: u32, program: BorrowedFd<'_>) -> io::Result<bool> {
        let mut discipline = tc(RTM_NEWQDISC, CREATE | EXCLUSIVE, ifindex, CLSACT_HANDLE, CLSACT, 0);
        discipline.attribute(TCA_KIND, b"clsact\0");
        let made = match self.order(discipline) {
            // Somebody else's, who has programs there, or our own of before.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => false,
            result => result.map(|()| true)?,
        };
        let mut filter = our_filter(RTM_NEWTFILTER, CREATE | REPLACE, ifindex);
        let mut options = Message { bytes: Vec::new() };
        options
            .attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes())
            .attribute(TCA_BPF_NAME, format!("{}\0", names::PROGRAM_TC).as_bytes())
            .attribute(TCA_BPF_FLAGS, &DIRECT.to_ne_bytes());
        filter.attribute(TCA_OPTIONS, &options.bytes);
        let put = self.order(filter);
        if put.is_err() && made {
            // As it was: what failed is reported, not what follows from it.
            drop(self.remove_discipline(ifindex));
        }
        put.map(|()| made)
    }

    /// Removes our classifier, and clsact if it was `made` for it and nobody else came to
    /// use it. What is not there is fine.
    pub(crate) fn remove_classifier(&self, ifindex: u32, made: bool) -> io::Result<()> {
        if self.classifier(ifindex)?.is_some() {
            gone(self.order(our_filter(RTM_DELTFILTER, 0, ifindex)))?;
        }
        let mut others = 0_usize;
        for hook in [INGRESS, EGRESS] {
            self.filters(ifindex, hook, |_| others += 1)?;
        }
        if made && others == 0 { self.remove_discipline(ifindex) } else { Ok(()) }
    }

    fn remove_discipline(&self, ifindex: u32) -> io::Result<()> {
        let mut discipline = tc(RTM_DELQDISC, 0, ifindex, CLSACT_HANDLE, CLSACT, 0);
        discipline.attribute(TCA_KIND, b"clsact\0");
        gone(self.order(discipline))
    }

    /// Each filter at a hook: its options.
    fn filters(&self, ifindex: u32, hook: u32, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let message = tc(RTM_GETTFILTER, DUMP, ifindex, 0, hook, 0);
        let asked = self.ask(message, |body| {
            let all = body.get(20..).unwrap_or_default();
            if let Some((_, options)) = attributes(all).find(|(kind, _)| *kind == TCA_OPTIONS) {
                each(options);
            }
        });
        gone(asked)
    }

    fn order(&self, message: Message) -> io::Result<()> {
        self.ask(message, |_| ())
    }

    /// Sends a request and hands over the body of each message that comes back.
    fn ask(&self, message: Message, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let request = message.finish();
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                received => received?,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((kind, body, after)) = next(rest) {
                rest = after;
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = number(body).unwrap_or_default().cast_signed();
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => each(body),
                }
            }
        }
    }
}

/// What is to be removed may be gone with its interface, or with clsact.
fn gone(result: io::Result<()>) -> io::Result<()> {
    let fine = |error: &io::Error| {
        error.kind() == ErrorKind::NotFound
            || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL | libc::ENOENT))
    };
    match result {
        Err(error) if fine(&error) => Ok(()),
        result => result,
    }
}

fn link_now(body: &[u8]) -> LinkNow {
    let mut link = LinkNow::default();
    for (kind, value) in attributes(body) {
        match kind {
            IFLA_MTU => link.mtu = number(value).unwrap_or_default(),
            IFLA_XDP => {
                let id = |(kind, value): (u16, &[u8])| {
                    matches!(kind, IFLA_XDP_DRV_PROG_ID | IFLA_XDP_SKB_PROG_ID).then(|| number(value))?
                };
                link.xdp = attributes(value).filter_map(id).filter(|id| *id != 0).collect();
            }
            _ => {}
        }
    }
    link
}

/// A request for, or with, a queueing discipline or filter (`struct tcmsg`).
fn tc(kind: u16, flags: u16, ifindex: u32, handle: u32, parent: u32, information: u32) -> Message {
    let mut message = Message::new(kind, flags);
    message.bytes.extend([0; 4]);
    message.word(ifindex).word(handle).word(parent).word(information);
    message
}

fn our_filter(kind: u16, flags: u16, ifindex: u32) -> Message {
    let mut message = tc(kind, flags, ifindex, HANDLE, INGRESS, PRIORITY_AND_PROTOCOL);
    message.attribute(TCA_KIND, b"bpf\0");
    message
}

/// A netlink message under way.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes.splice(4..6, kind.to_ne_bytes());
        bytes.splice(6..8, (REQUEST | ACK | flags).to_ne_bytes());
        Self { bytes }
    }

    fn word(&mut self, word: u32) -> &mut Self {
        self.bytes.extend(word.to_ne_bytes());
        self
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        // All of ours are short.
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.splice(..4, length.to_ne_bytes());
        self.bytes
    }
}

/// The first message: kind, body, and what follows.
fn next(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(number(bytes)?).ok()?;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Attributes, up to the first that is damaged.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = match bytes {
            [a, b, c, d, ..] => (u16::from_ne_bytes([*a, *b]), u16::from_ne_bytes([*c, *d])),
            _ => return None,
        };
        let value = bytes.get(4..length.into())?;
        bytes = bytes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        // Two bits say how the value is encoded.
        Some((kind & 0x3fff, value))
    })
}

/// A word of the machine.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_attributes_and_messages_end_the_reading() {
        let mut message = Message { bytes: Vec::new() };
        message.attribute(TCA_KIND, b"bpf\0").attribute(0x8000 | TCA_OPTIONS, &[1, 2, 3, 4, 5]);
        let read =
            |bytes: &[u8]| attributes(bytes).map(|(kind, value)| (kind, value.len())).collect::<Vec<_>>();
        assert_eq!(read(&message.bytes), [(TCA_KIND, 4), (TCA_OPTIONS, 5)]);
        for length in 0..message.bytes.len() {
            assert!(read(&message.bytes[..length]).len() <= 2);
        }
        assert_eq!(read(&[3, 0, 1, 0]), []);
        assert_eq!(read(&[0; 64]), []);
        let whole = tc(RTM_GETTFILTER, DUMP, 2, 0, INGRESS, 0).finish();
        assert!(next(&whole).is_some_and(|(kind, body, rest)| {
            kind == RTM_GETTFILTER && body.len() == 20 && rest.is_empty()
        }));
        assert!((0..whole.len()).all(|length| next(&whole[..length]).is_none()));
        assert!(next(&[0; 16]).is_none());
    }

    #[test]
    fn xdp_programs_in_driver_and_stack_are_read_and_those_in_the_nic_are_not() {
        let mut programs = Message { bytes: Vec::new() };
        for (kind, id) in [(4, 9_u32), (5, 7), (6, 8), (7, 9)] {
            programs.attribute(kind, &id.to_ne_bytes());
        }
        let mut message = Message { bytes: Vec::new() };
        message.attribute(IFLA_MTU, &1500_u32.to_ne_bytes()).attribute(IFLA_XDP, &programs.bytes);
        assert_eq!(link_now(&message.bytes), LinkNow { mtu: 1500, xdp: [7, 8].into() });
    }
}
