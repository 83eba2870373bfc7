//! What kernels say to one another: 64 bytes of UDP payload, eight little-endian words.
//!
//! | word | what |
//! |---|---|
//! | 0 | magic (2 bytes), version, kind, key, flags, heartbeat's age in ms (2 bytes) |
//! | 1, 2 | sender, receiver |
//! | 3, 4 | sender's stamp and incarnation |
//! | 5, 6 | receiver's newest stamp and incarnation, as the sender knows them |
//! | 7 | SipHash-2-4 of words 0 to 6 |
//!
//! A vote has the nonce in word 3, and in words 5 and 6 the node that is to be
//! deposed and its incarnation; flags and age say nothing.
//!
//! No window: a stamp counts only when it is newer than all before
//! it of the same incarnation, so that a replayed message says nothing; a replayed
//! YES has an old nonce, and a replayed ASK finds a promise only where the peer is
//! suspect anyway.

use bytemuck::{Pod, Zeroable};

use crate::siphash::{Key, tag_words};
use crate::state::NodeId;

/// Bytes of a message.
pub const LEN: usize = 64;
const MAGIC: u64 = 0xf3c1;
const VERSION: u64 = 1;

/// The receiver's newest stamp is granted a lease.
pub const FLAG_GRANT: u8 = 1;
/// The sender's own leases are valid.
pub const FLAG_OK: u8 = 2;
/// The sender can serve addresses.
pub const FLAG_ABLE: u8 = 4;

/// The message as it lies in a frame, where nothing is aligned.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Wire(pub [[u8; 8]; LEN / 8]);

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An answer, at once, from the kernel.
    Probe,
    /// Nothing.
    Answer,
    /// A promise, at once, from the kernel: [`Message::vote`].
    Ask,
    /// Nothing: it was promised. For the agent that asked.
    Yes,
}

/// What a voter is asked to promise: to grant a node nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Which node.
    pub about: NodeId,
    /// Up to which incarnation.
    pub inc: u64,
    /// The collection that the vote is for.
    pub nonce: u64,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Probe or answer.
    pub kind: Kind,
    /// Sender.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// The sender's clock when it sent.
    pub stamp: u64,
    /// The sender's incarnation.
    pub inc: u64,
    /// The receiver's newest stamp heard; 0 = none.
    pub echo: u64,
    /// The receiver's incarnation heard; 0 = none.
    pub echo_inc: u64,
    /// Age of the sender's agent's heartbeat in milliseconds, 65,535 = that or more.
    pub beat_ms: u16,
    /// `FLAG_*`.
    pub flags: u8,
}

impl Message {
    /// Whether a flag is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// A question for a vote.
    #[must_use]
    pub const fn ask(from: NodeId, to: NodeId, inc: u64, vote: Vote) -> Self {
        let (stamp, echo, echo_inc) = (vote.nonce, vote.about.0, vote.inc);
        Self { kind: Kind::Ask, from, to, stamp, inc, echo, echo_inc, beat_ms: 0, flags: 0 }
    }

    /// What an ASK or a YES is about.
    #[inline(always)]
    #[must_use]
    pub const fn vote(&self) -> Vote {
        Vote { about: NodeId(self.echo), inc: self.echo_inc, nonce: self.stamp }
    }

    /// The YES to an ASK, from a node of this incarnation.
    #[inline(always)]
    #[must_use]
    pub const fn yes(&self, inc: u64) -> Self {
        Self { kind: Kind::Yes, from: self.to, to: self.from, inc, ..*self }
    }
}

/// The keys that are valid: one, or two while the key is being changed.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Keys {
    /// The key for what is sent.
    pub current: Key,
    /// The other key that is accepted; id 0 = none.
    pub other: Key,
}

impl Keys {
    /// The key of this number.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, id: u64) -> Option<&Key> {
        match id {
            0 => None,
            id if id == self.current.id => Some(&self.current),
            id if id == self.other.id => Some(&self.other),
            _ => None,
        }
    }
}

/// Why a message was dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejected {
    /// Not one of ours: magic, version or kind.
    Foreign,
    /// Under a key that is not valid here.
    UnknownKey,
    /// The tag is wrong: forged or damaged.
    BadTag,
}

/// Writes and tags a message.
#[inline(always)]
#[must_use]
pub fn seal(message: &Message, key: &Key) -> Wire {
    let kind = match message.kind {
        Kind::Probe => 1_u64,
        Kind::Answer => 2,
        Kind::Ask => 3,
        Kind::Yes => 4,
    };
    let head = MAGIC
        | VERSION << 16
        | kind << 24
        | (key.id & 0xff) << 32
        | (message.flags as u64) << 40
        | (message.beat_ms as u64) << 48;
    let words =
        [head, message.from.0, message.to.0, message.stamp, message.inc, message.echo, message.echo_inc];
    let [a, b, c, d, e, f, g] = words;
    Wire([a, b, c, d, e, f, g, tag_words(key, &words)].map(u64::to_le_bytes))
}

/// Whom a message is for, whoever wrote it; `None`: it is none of ours. Another
/// cluster's messages may pass a node, and what is not for the node is not its to judge.
#[inline(always)]
#[must_use]
pub const fn addressee(wire: &Wire) -> Option<NodeId> {
    let [head, _, to, ..] = wire.0;
    let is_ours = u64::from_le_bytes(head) & 0xff_ffff == MAGIC | VERSION << 16;
    if is_ours { Some(NodeId(u64::from_le_bytes(to))) } else { None }
}

/// Checks and reads a message.
///
/// # Errors
/// It is not one of ours, or not under a valid key.
#[inline(always)]
pub fn open(wire: &Wire, keys: &Keys) -> Result<Message, Rejected> {
    let [head, from, to, stamp, inc, echo, echo_inc, tag] = wire.0.map(u64::from_le_bytes);
    if head & 0xff_ffff != MAGIC | VERSION << 16 {
        return Err(Rejected::Foreign);
    }
    let kind = match head >> 24 & 0xff {
        1 => Kind::Probe,
        2 => Kind::Answer,
        3 => Kind::Ask,
        4 => Kind::Yes,
        _ => return Err(Rejected::Foreign),
    };
    let Some(key) = keys.find(head >> 32 & 0xff) else { return Err(Rejected::UnknownKey) };
    if tag_words(key, &[head, from, to, stamp, inc, echo, echo_inc]) != tag {
        return Err(Rejected::BadTag);
    }
    Ok(Message {
        kind,
        from: NodeId(from),
        to: NodeId(to),
        stamp,
        inc,
        echo,
        echo_inc,
        beat_ms: (head >> 48 & 0xffff) as u16,
        flags: (head >> 40 & 0xff) as u8,
    })
}
