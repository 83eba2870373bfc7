//! What agents say to one another, in UDP datagrams of at most 1,408 bytes. (What
//! kernels say, votes among it, is `clarion_fence::Message`.)
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | magic (2), version, kind, key, flags, number of items (2) |
//! | 8–39 | sender, receiver, sender's incarnation, when sent (sender's boot clock, rising) |
//! | … | CLAIM: node, incarnation |
//! | … | all: items of 24 bytes: address (IPv4 mapped), epoch |
//! | last 8 | SipHash-2-4 of all before |
//!
//! Integers are little-endian. The number of items is bounded by the datagram's
//! size before anything is allocated.

use std::net::{IpAddr, Ipv6Addr};

use clarion_fence::{Keys, NodeId, tag_bytes};

/// Most addresses in one datagram: it fits any MTU from 1,436 on unfragmented.
pub const MAX_ITEMS: usize = 56;

const MAGIC: [u8; 2] = [0xc2, 0xf3];
const VERSION: u8 = 1;
const ASSIGN: u8 = 1;
const CLAIM: u8 = 2;
const SEEK: u8 = 3;
const SILENT: u8 = 4;
const HANDOVER: u8 = 1;

/// An address and an epoch of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The address.
    pub address: IpAddr,
    /// The epoch.
    pub epoch: u64,
}

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Take these addresses.
    Assign {
        /// We answer for them with your MAC until you claim them.
        handover: bool,
        /// At most [`MAX_ITEMS`].
        items: Vec<Item>,
    },
    /// We have long heard of no owner of these. Have you?
    Seek {
        /// At most [`MAX_ITEMS`], each with the epoch that we know.
        items: Vec<Item>,
    },
    /// Neither have we.
    Silent {
        /// At most [`MAX_ITEMS`].
        items: Vec<Item>,
    },
    /// That node owns these addresses.
    Claim {
        /// The owner: the sender, or somebody whose newer claim the sender knows.
        node: NodeId,
        /// Its incarnation.
        inc: u64,
        /// At most [`MAX_ITEMS`].
        items: Vec<Item>,
    },
}

/// From whom to whom, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Sender.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// The sender's incarnation.
    pub inc: u64,
    /// The sender's boot clock; greater in each datagram to the same receiver.
    pub sent: u64,
}

/// Why a datagram was dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DecodeError {
    /// Shorter or longer than its kind and count say.
    #[error("has the wrong length")]
    Length,
    /// Magic, version or kind.
    #[error("is no message of this version")]
    Foreign,
    /// Under a key that is not valid here.
    #[error("is tagged under a key that is not valid here")]
    UnknownKey,
    /// Forged or damaged.
    #[error("has a wrong tag")]
    BadTag,
}

struct Writer(Vec<u8>);

impl Writer {
    fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    fn items(&mut self, items: &[Item]) {
        for item in items.iter().take(MAX_ITEMS) {
            let mapped = match item.address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            self.0.extend_from_slice(&mapped.octets());
            self.word(item.epoch);
        }
    }
}

/// Writes and tags a datagram. Items beyond [`MAX_ITEMS`] are left out.
#[must_use]
pub fn encode(header: &Header, body: &Body, keys: &Keys) -> Vec<u8> {
    let (kind, flags, items): (u8, u8, &[Item]) = match body {
        Body::Assign { handover, items } => (ASSIGN, if *handover { HANDOVER } else { 0 }, items),
        Body::Claim { items, .. } => (CLAIM, 0, items),
        Body::Seek { items } => (SEEK, 0, items),
        Body::Silent { items } => (SILENT, 0, items),
    };
    let count = u16::try_from(items.len().min(MAX_ITEMS)).unwrap_or(0).to_le_bytes();
    let key = u8::try_from(keys.current.id).unwrap_or(0);
    let mut out = Writer(Vec::with_capacity(72 + usize::from(count[0]) * 24));
    out.0.extend_from_slice(&[MAGIC[0], MAGIC[1], VERSION, kind, key, flags, count[0], count[1]]);
    for word in [header.from.0, header.to.0, header.inc, header.sent] {
        out.word(word);
    }
    if let Body::Claim { node, inc, .. } = body {
        out.word(node.0);
        out.word(*inc);
    }
    out.items(items);
    let tag = tag_bytes(&keys.current, &out.0);
    out.word(tag);
    out.0
}

/// What is left of a datagram.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Length)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn word(&mut self) -> Result<u64, DecodeError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn node(&mut self) -> Result<NodeId, DecodeError> {
        self.word().map(NodeId)
    }

    fn items(&mut self, count: usize) -> Result<Vec<Item>, DecodeError> {
        if count > MAX_ITEMS || self.0.len() != count * 24 {
            return Err(DecodeError::Length);
        }
        (0..count)
            .map(|_| {
                let address = Ipv6Addr::from(self.bytes::<16>()?).to_canonical();
                Ok(Item { address, epoch: self.word()? })
            })
            .collect()
    }
}

/// Checks and reads a datagram.
///
/// # Errors
/// It is not one of ours, not under a valid key, or of the wrong size.
pub fn decode(datagram: &[u8], keys: &Keys) -> Result<(Header, Body), DecodeError> {
    let (signed, tag) = datagram.split_last_chunk::<8>().ok_or(DecodeError::Length)?;
    let mut rest = Reader(signed);
    let [m0, m1, version, kind, key, flags, c0, c1] = rest.bytes()?;
    if [m0, m1] != MAGIC || version != VERSION {
        return Err(DecodeError::Foreign);
    }
    let key = keys.find(u64::from(key)).ok_or(DecodeError::UnknownKey)?;
    if tag_bytes(key, signed) != u64::from_le_bytes(*tag) {
        return Err(DecodeError::BadTag);
    }
    let header = Header { from: rest.node()?, to: rest.node()?, inc: rest.word()?, sent: rest.word()? };
    let count = usize::from(u16::from_le_bytes([c0, c1]));
    let body = match kind {
        ASSIGN => Body::Assign { handover: flags & HANDOVER != 0, items: rest.items(count)? },
        SEEK => Body::Seek { items: rest.items(count)? },
        SILENT => Body::Silent { items: rest.items(count)? },
        CLAIM => Body::Claim { node: rest.node()?, inc: rest.word()?, items: rest.items(count)? },
        _ => return Err(DecodeError::Foreign),
    };
    if rest.0.is_empty() { Ok((header, body)) } else { Err(DecodeError::Length) }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
