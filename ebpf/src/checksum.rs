//! The Internet checksum (RFC 1071) in the machine's byte order, which §2(B) there
//! allows: words of 32 bits in 64, folded once at the end.

/// A sum under way.
#[derive(Default)]
pub(crate) struct Sum(u64);

impl Sum {
    #[inline(always)]
    pub(crate) fn word(&mut self, bytes: [u8; 4]) {
        self.0 += u64::from(u32::from_ne_bytes(bytes));
    }

    /// Eight bytes, as a word of the machine.
    #[inline(always)]
    pub(crate) fn long(&mut self, word: u64) {
        self.0 += (word & 0xffff_ffff) + (word >> 32);
    }

    /// An IPv6 address.
    #[inline(always)]
    pub(crate) fn address(&mut self, address: [u64; 2]) {
        for half in address {
            self.long(half);
        }
    }

    /// A number of the pseudo-header (RFC 8200 §8.1); all fit 16 bits.
    #[inline(always)]
    pub(crate) fn number(&mut self, number: u16) {
        self.0 += u64::from(number.to_be());
    }

    /// The one's complement sum in 16 bits.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the last fold leaves 16 bits")]
    pub(crate) fn fold(&self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }
}
