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

/// Bits of a family: with 10,000 addresses one stranger in seven is looked up.
pub const FILTER_BITS: usize = 65_536;
/// A family's 64-bit words.
pub const FILTER_WORDS: usize = FILTER_BITS / 64;

/// A bitmap for each family, value of a one-entry array. Apart, since IPv4's bits
/// are distinct within a /16 and IPv6's would fall among them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Filter {
    /// IPv4. Bit `n` is bit `n % 64` of word `n / 64`.
    pub v4: [u64; FILTER_WORDS],
    /// IPv6, likewise.
    pub v6: [u64; FILTER_WORDS],
}

const _: () = assert!(core::mem::size_of::<Filter>() == 2 * FILTER_BITS / 8);

impl Filter {
    /// No address at all.
    pub const EMPTY: Self = Self { v4: [0; FILTER_WORDS], v6: [0; FILTER_WORDS] };

    /// Sets the bit of an IPv4 address.
    pub fn add_v4(&mut self, address: [u8; 4]) {
        set(&mut self.v4, filter_bit_v4(u32::from_ne_bytes(address)));
    }

    /// Sets the bit of an IPv6 address.
    pub fn add_v6(&mut self, address: [u8; 16]) {
        set(&mut self.v6, filter_bit_v6(words(address)));
    }

    /// Whether the bit of an IPv4 address (a word as in [`crate::KeyV4`]) is set.
    #[inline(always)]
    #[must_use]
    pub fn has_v4(&self, address: u32) -> bool {
        has(&self.v4, filter_bit_v4(address))
    }

    /// Whether the bit of an IPv6 address (words as in [`crate::KeyV6`]) is set.
    #[inline(always)]
    #[must_use]
    pub fn has_v6(&self, address: [u64; 2]) -> bool {
        has(&self.v6, filter_bit_v6(address))
    }
}

#[inline(always)]
fn has(bits: &[u64; FILTER_WORDS], bit: u32) -> bool {
    // The masks change nothing; they show the verifier the bounds.
    bits[(bit >> 6) as usize & (FILTER_WORDS - 1)] >> (bit & 63) & 1 == 1
}

fn set(bits: &mut [u64; FILTER_WORDS], bit: u32) {
    bits[(bit >> 6) as usize & (FILTER_WORDS - 1)] |= 1 << (bit & 63);
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

    fn v4(n: u16) -> [u8; 4] {
        let [high, low] = n.to_be_bytes();
        [192, 0, high, low]
    }

    fn v6(subnet: u8, n: u16) -> [u8; 16] {
        let [high, low] = n.to_be_bytes();
        [0x20, 1, 0xd, 0xb8, 0, subnet, 0, 0, 0, 0, 0, 0, 0, 0, high, low]
    }

    fn filter() -> Filter {
        let mut filter = Filter::EMPTY;
        for n in 0..1000 {
            filter.add_v4(v4(n));
            filter.add_v6(v6(0, n));
        }
        filter
    }

    #[test]
    fn what_was_added_is_found_and_an_empty_filter_has_nothing() {
        let filter = filter();
        for n in 0..1000 {
            let (v4, v6) = (u32::from_ne_bytes(v4(n)), words(v6(0, n)));
            assert!(filter.has_v4(v4) && filter.has_v6(v6), "{n}");
            assert!(!Filter::EMPTY.has_v4(v4) && !Filter::EMPTY.has_v6(v6), "{n}");
        }
    }

    #[test]
    fn no_two_ipv4_addresses_of_a_16_share_a_bit() {
        let filter = filter();
        assert!((1000..=u16::MAX).all(|n| !filter.has_v4(u32::from_ne_bytes(v4(n)))));
    }

    #[test]
    fn ipv6_hosts_of_another_prefix_rarely_share_bits() {
        let filter = filter();
        let shared = (0..1000).filter(|n| filter.has_v6(words(v6(1, *n)))).count();
        // 1000 of 65,536 bits are set: one in 65 by chance.
        assert!(shared < 50, "{shared} of 1000");
    }
}
