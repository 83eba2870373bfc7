//! SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed tag of 64 bits.
//!
//! The program hashes a fixed number of words, which the compiler unrolls; the
//! agents' messages have any length. Both feed the same rounds.

use bytemuck::{Pod, Zeroable};

/// A key of 128 bits and the number by which messages name it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Key {
    /// The number; 0 = no key, which nothing passes.
    pub id: u64,
    /// First eight bytes, little-endian.
    pub k0: u64,
    /// Last eight bytes, little-endian.
    pub k1: u64,
}

impl Key {
    /// A key from the sixteen bytes of the Secret.
    #[must_use]
    pub const fn new(id: u8, bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            id: id as u64,
            k0: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            k1: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }
}

/// The state of a hash under way.
#[derive(Debug, Clone, Copy)]
pub struct SipHash {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl SipHash {
    /// Nothing hashed yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: &Key) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    const fn round(mut self) -> Self {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
        self
    }

    /// Takes in eight bytes, as a little-endian word.
    #[inline(always)]
    #[must_use]
    pub const fn word(mut self, word: u64) -> Self {
        self.v3 ^= word;
        self = self.round().round();
        self.v0 ^= word;
        self
    }

    /// The hash. `last` has the bytes that fill no word, and the message's length
    /// modulo 256 in its top byte.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self, last: u64) -> u64 {
        let mut end = self.word(last);
        end.v2 ^= 0xff;
        end = end.round().round().round().round();
        end.v0 ^ end.v1 ^ end.v2 ^ end.v3
    }
}

/// The tag of a message of `N` words.
#[inline(always)]
#[must_use]
pub fn tag_words<const N: usize>(key: &Key, words: &[u64; N]) -> u64 {
    let mut state = SipHash::new(key);
    for word in words {
        state = state.word(*word);
    }
    state.finish(((N as u64 * 8) & 0xff) << 56)
}

/// The tag of a message of any length: user space's.
#[must_use]
pub fn tag_bytes(key: &Key, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(SipHash::new(key), |state, word| state.word(u64::from_le_bytes(*word)));
    let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u64::from(*byte));
    state.finish((((bytes.len() as u64) & 0xff) << 56) | tail)
}
