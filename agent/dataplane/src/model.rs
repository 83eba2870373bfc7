//! What the caller wants and what the kernel holds, in values that compare.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the program is attached to interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttachMode {
    /// Native where the driver can and nobody else's XDP program is; else TCX, else clsact,
    /// else generic.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// In the network stack: works on every interface, costs a copy on some.
    Generic,
    /// At tc's ingress hook, held by a link; Linux 6.6.
    Tcx,
    /// At tc's ingress hook, by a classifier below clsact.
    Clsact,
}

/// Where the program runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the network stack, after the driver built a socket buffer.
    Generic,
    /// At tc's ingress hook, held by a link.
    Tcx,
    /// At tc's ingress hook, by a classifier below clsact.
    Clsact,
}

impl AttachedMode {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Native, Self::Generic, Self::Tcx, Self::Clsact];

    /// Whether it is XDP, of which an interface takes one program.
    pub(crate) const fn is_xdp(self) -> bool {
        matches!(self, Self::Native | Self::Generic)
    }

    /// The word in pins, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

impl fmt::Display for AttachedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the program runs where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChoiceReason {
    /// The setting leaves no choice.
    Set,
    /// The driver takes XDP: there is nothing better.
    Driver,
    /// Another XDP program is on the interface, or was a moment ago.
    ForeignXdp,
    /// The driver takes no XDP program, as the interface is now.
    DriverRefuses,
    /// It stays where it was, since it could not be had where it should be.
    Kept,
}

impl ChoiceReason {
    /// The word in metrics and `/state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Driver => "driver",
            Self::ForeignXdp => "foreignXdp",
            Self::DriverRefuses => "driverRefuses",
            Self::Kept => "kept",
        }
    }
}

/// In an operator's words.
impl fmt::Display for ChoiceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "--attach-mode says so",
            Self::Driver => "the driver takes it",
            Self::ForeignXdp => "another XDP program is on the interface",
            Self::DriverRefuses => "the driver takes no XDP program",
            Self::Kept => "it was attached so before, and nothing else could be had",
        })
    }
}

/// Settings of a [`crate::Dataplane`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Directory on a BPF file system; pins live in `v<ABI>` below it.
    pub pin_dir: PathBuf,
    /// How to attach.
    pub mode: AttachMode,
    /// How long after the last [`crate::Dataplane::beat`] the kernel goes on
    /// answering and silencing. Longer than 584 years counts as that.
    pub restart_grace: Duration,
    /// How long another's XDP program counts as there after it went. Who replaces theirs
    /// must not find ours in its place.
    pub foreign_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pin_dir: PathBuf::from("/sys/fs/bpf/clarion"),
            mode: AttachMode::Auto,
            restart_grace: Duration::from_secs(120),
            foreign_patience: Duration::from_secs(60),
        }
    }
}

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey {
    /// Index of the interface that requests arrive on.
    pub ifindex: u32,
    /// VLAN id of the frames' tag, 1 to 4094; 0 = untagged.
    pub vlan: u16,
    /// The address. An IPv4-mapped IPv6 address is an IPv6 address here.
    pub address: IpAddr,
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on interface {}", self.address, self.ifindex)?;
        if self.vlan != 0 {
            write!(f, " VLAN {}", self.vlan)?;
        }
        Ok(())
    }
}

/// What the kernel does for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Answer requests.
    Answer {
        /// The MAC to answer with: a station's, never a group's.
        mac: [u8; 6],
        /// Epoch of the ownership, kept for who reads it back.
        epoch: u64,
    },
    /// Answer requests while this node's kernel holds the leases for it
    /// ([`crate::Fence`]), and drop them while it does not.
    Owned {
        /// The MAC that the answer names: `station`, or the next owner's while the
        /// address is handed over.
        mac: [u8; 6],
        /// The MAC of the interface: the answer's Ethernet source.
        station: [u8; 6],
        /// Epoch of the ownership, kept for who reads it back.
        epoch: u64,
        /// The incarnation of this node that took the address; never 0.
        inc: u64,
    },
    /// Drop requests: another node answers them.
    Silence,
}

/// The state that should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Interfaces (by index) that the program should be attached to.
    pub interfaces: BTreeSet<u32>,
    /// Addresses, whatever interface they are on; on one that is not attached
    /// they wait.
    pub addresses: BTreeMap<AddressKey, Entry>,
}

/// The attachment of an interface, as read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Where the program runs.
    pub mode: AttachedMode,
    /// Why there.
    pub reason: ChoiceReason,
    /// Whether it runs the program of this process where it should; else that of a
    /// predecessor, or elsewhere, and goes on answering until it is replaced.
    pub current: bool,
}

/// The state that is, read back from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Live attachments, by interface index.
    pub interfaces: BTreeMap<u32, Attachment>,
    /// Attachments of interfaces that no longer exist: only their pins are left.
    pub gone: BTreeSet<u32>,
    /// Pins of this process's objects that are missing, or hold another object: the
    /// kernel goes on answering, but not beyond the process's end.
    pub unpinned: BTreeSet<PathBuf>,
    /// Addresses in the maps.
    pub addresses: BTreeMap<AddressKey, Entry>,
    /// Whether the filter in front of the maps has exactly the bits of `addresses`.
    pub filter_fits: bool,
}

/// A station that claimed an address that this node answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConflictReport {
    /// MAC of the last one.
    pub mac: [u8; 6],
    /// When, by the boot clock.
    pub last: Duration,
    /// How many frames since this node began to answer for the address.
    pub count: u64,
}

/// Totals over all CPUs since the maps were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Frames by outcome (names of `clarion_abi::Outcome`); every outcome is there.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Requests answered, by address; starts at 0 when an address becomes answered.
    pub answers: BTreeMap<AddressKey, u64>,
    /// Answered addresses that others claimed.
    pub conflicts: BTreeMap<AddressKey, ConflictReport>,
}
