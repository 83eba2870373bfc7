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
const BYTES: usize = FILTER_BITS / 8;

/// A bitmap for each family, value of a one-entry array. Apart, since IPv4's bits
/// are distinct within a /16 and IPv6's would fall among them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Filter {
    /// IPv4. Bit `n` is bit `n % 8` of byte `n / 8`: a byte takes the fewest
    /// instructions to find a bit in.
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
        set(&mut self.v4, filter_bit_v4(address));
    }

    /// Sets the bit of an IPv6 address.
    pub fn add_v6(&mut self, address: [u8; 16]) {
        set(&mut self.v6, filter_bit_v6(words(address)));
    }

    /// Whether the bit of an IPv4 address is set.
    #[inline(always)]
    #[must_use]
    pub fn has_v4(&self, address: [u8; 4]) -> bool {
        bits(&self.v4, filter_bit_v4(address)) & 1 == 1
    }

    /// Whether the bit of one of two IPv4 addresses is set.
    #[inline(always)]
    #[must_use]
    pub fn has_either_v4(&self, one: [u8; 4], other: [u8; 4]) -> bool {
        // One test, not two branches.
        (bits(&self.v4, filter_bit_v4(one)) | bits(&self.v4, filter_bit_v4(other))) & 1 == 1
    }

    /// Whether the bit of one of two IPv6 addresses is set.
    #[inline(always)]
    #[must_use]
    pub fn has_either_v6(&self, one: [u64; 2], other: [u64; 2]) -> bool {
        (bits(&self.v6, filter_bit_v6(one)) | bits(&self.v6, filter_bit_v6(other))) & 1 == 1
    }

    /// Whether the bit of an IPv6 address (words as in [`crate::KeyV6`]) is set.
    #[inline(always)]
    #[must_use]
    pub fn has_v6(&self, address: [u64; 2]) -> bool {
        bits(&self.v6, filter_bit_v6(address)) & 1 == 1
    }
}

/// The byte of a bit, with that bit lowest.
#[inline(always)]
fn bits(words: &[u64; FILTER_WORDS], bit: u32) -> u32 {
    // The masks change nothing; they show the verifier the bounds.
    u32::from(bytemuck::bytes_of(words)[(bit >> 3) as usize & (BYTES - 1)]) >> (bit & 7)
}

fn set(words: &mut [u64; FILTER_WORDS], bit: u32) {
    bytemuck::bytes_of_mut(words)[(bit >> 3) as usize & (BYTES - 1)] |= 1 << (bit & 7);
}

/// 2^64 divided by the golden ratio, and another odd number of as many bits:
/// multiplying by them spreads neighbouring addresses over the upper bits (Knuth,
/// volume 3, §6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const OTHER: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// The bit of an IPv4 address, below [`FILTER_BITS`].
#[inline(always)]
#[must_use]
pub const fn filter_bit_v4(address: [u8; 4]) -> u32 {
    // Within a /16 no two addresses share a bit, and it takes no multiplication:
    // this is done twice for each ARP frame of other people's.
    let [a, b, c, d] = address;
    (u16::from_ne_bytes([a, b]) ^ u16::from_ne_bytes([c, d])) as u32
}

/// The bit of an IPv6 address (words as in [`crate::KeyV6`]), below [`FILTER_BITS`].
#[inline(always)]
#[must_use]
pub const fn filter_bit_v6(address: [u64; 2]) -> u32 {
    // An address's last bytes are the word's highest on a little-endian machine: a
    // product's upper 16 bits differ wherever those two bytes do, so no two hosts
    // of a /112 share a bit. Subnets differ there too, and would then only move
    // the hosts' bits in steps of 256, onto each other: hence the prefix is folded
    // into 32 bits, which its product spreads over all.
    let prefix = (address[0] ^ (address[0] >> 32)) & 0xffff_ffff;
    (prefix.wrapping_mul(OTHER).wrapping_add(address[1].wrapping_mul(GOLDEN)) >> 48) as u32
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
            let (v4, v6) = (v4(n), words(v6(0, n)));
            assert!(filter.has_v4(v4) && filter.has_v6(v6), "{n}");
            assert!(!Filter::EMPTY.has_v4(v4) && !Filter::EMPTY.has_v6(v6), "{n}");
        }
    }

    #[test]
    fn no_two_ipv4_addresses_of_a_16_share_a_bit() {
        let filter = filter();
        assert!((1000..=u16::MAX).all(|n| !filter.has_v4(v4(n))));
    }

    #[test]
    fn no_two_ipv6_addresses_of_a_112_share_a_bit() {
        let mut bits = vec![false; FILTER_BITS];
        for n in 0..=u16::MAX {
            let seen = &mut bits[filter_bit_v6(words(v6(0, n))) as usize];
            assert!(!*seen, "host {n}");
            *seen = true;
        }
    }

    #[test]
    fn ipv6_hosts_of_other_prefixes_rarely_share_bits() {
        let filter = filter();
        // 1000 of 65,536 bits are set: one in 65 by chance. It comes in lumps, most
        // of a prefix or nothing.
        let shared = |subnet| (0..1000).filter(|n| filter.has_v6(words(v6(subnet, *n)))).count();
        let all: usize = (1..=255).map(shared).sum();
        assert!(all < 255 * 1000 / 50, "{all} of 255,000");
    }
}
