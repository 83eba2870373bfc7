//! A bitmap in front of the hash maps: "surely not ours" in a few instructions.
//!
//! Most ARP and NDP on a segment concerns other hosts. A hash lookup costs the
//! program 10 to 20 ns and a frame needs two (who is asked for, who claims to
//! ask); a bit costs about one. A set bit only means "look it up"; a missing bit
//! means "pass", hence user space sets bits before it adds an address and clears
//! them after it removed one. Interface and VLAN are left out of the bit: the
//! map decides on those.

use bytemuck::{Pod, Zeroable};

use crate::types::words;

/// Bits of the filter: with 10,000 addresses one in seven strangers is looked up.
pub const FILTER_BITS: usize = 65_536;
/// The filter's 64-bit words.
pub const FILTER_WORDS: usize = FILTER_BITS / 64;

/// The bitmap, value of a one-entry array.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Filter {
    /// Bit `n` is bit `n % 64` of word `n / 64`.
    pub words: [u64; FILTER_WORDS],
}

const _: () = assert!(core::mem::size_of::<Filter>() == FILTER_BITS / 8);

impl Filter {
    /// No address at all.
    pub const EMPTY: Self = Self { words: [0; FILTER_WORDS] };

    /// Sets the bit of an IPv4 address.
    pub fn add_v4(&mut self, address: [u8; 4]) {
        self.set(filter_bit_v4(u32::from_ne_bytes(address)));
    }

    /// Sets the bit of an IPv6 address.
    pub fn add_v6(&mut self, address: [u8; 16]) {
        self.set(filter_bit_v6(words(address)));
    }

    /// Whether a bit, of [`filter_bit_v4`] or [`filter_bit_v6`], is set.
    #[inline(always)]
    #[must_use]
    pub fn has(&self, bit: u32) -> bool {
        // The masks change nothing; they show the verifier the bounds.
        let word = self.words[(bit >> 6) as usize & (FILTER_WORDS - 1)];
        word >> (bit & 63) & 1 == 1
    }

    fn set(&mut self, bit: u32) {
        self.words[(bit >> 6) as usize & (FILTER_WORDS - 1)] |= 1 << (bit & 63);
    }
}

/// 2^64 divided by the golden ratio: multiplying by it spreads neighbouring
/// addresses over the upper bits (Knuth, volume 3, §6.4), given that they differ
/// in the lower half: hence the folds below.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bit of an IPv4 address (a word as in [`crate::KeyV4`]), below [`FILTER_BITS`].
#[inline(always)]
#[must_use]
pub const fn filter_bit_v4(address: u32) -> u32 {
    // Within a /16 no two addresses share a bit, and it takes no multiplication:
    // this is done twice for each ARP frame of other people's.
    (address ^ (address >> 16)) & 0xffff
}

/// The bit of an IPv6 address (words as in [`crate::KeyV6`]), below [`FILTER_BITS`].
#[inline(always)]
#[must_use]
pub const fn filter_bit_v6(address: [u64; 2]) -> u32 {
    // The prefix is spread over all bits before it meets the host part, or the
    // hosts of one prefix would have the bits of other hosts in another.
    let prefix = (address[0] ^ (address[0] >> 32)).wrapping_mul(GOLDEN);
    let both = prefix ^ address[1];
    ((both ^ (both >> 32)).wrapping_mul(GOLDEN) >> 48) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_neighbours_spread() {
        let mut filter = Filter::EMPTY;
        for n in 0..1000_u16 {
            let [high, low] = n.to_be_bytes();
            filter.add_v4([192, 0, high, low]);
            filter.add_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low]);
            assert!(filter.has(filter_bit_v4(u32::from_ne_bytes([192, 0, high, low]))));
            assert!(
                filter
                    .has(filter_bit_v6(words([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low])))
            );
        }
        let set: u32 = filter.words.iter().map(|word| word.count_ones()).sum();
        assert!(set > 1800, "2000 neighbouring addresses share only {set} bits");
        let strangers = (0..1000_u16).filter(|n| {
            let [high, low] = n.to_be_bytes();
            let other = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
            filter.has(filter_bit_v6(words(other)))
        });
        // 2000 of 65,536 bits are set: one in 33 is looked up for nothing.
        assert!(strangers.count() < 100, "another prefix's hosts share bits");
        assert!(!Filter::EMPTY.has(filter_bit_v4(u32::from_ne_bytes([192, 0, 0, 1]))));
    }
}
