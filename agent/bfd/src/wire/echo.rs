//! The echo packet. Its content is the sender's affair alone, since the other side only
//! sends it back (RFC 5880 §5): which session it belongs to, and a number that nobody who
//! is not on the path can guess (§9).

use super::refused::Refused;
use super::values::Discriminator;

/// Octets of an echo packet.
pub const ECHO_LENGTH: usize = 12;

/// One of our own echo packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Ours.
    pub discriminator: Discriminator,
    /// Another one in every packet.
    pub nonce: u64,
}

impl Echo {
    /// Reads a datagram's payload.
    ///
    /// # Errors
    /// [`Refused::ForeignEcho`]: not of the length that ours have, or of no session.
    pub fn decode(payload: &[u8]) -> Result<Self, Refused> {
        let octets: &[u8; ECHO_LENGTH] = payload.try_into().map_err(|_| Refused::ForeignEcho)?;
        let [a, b, c, d, nonce @ ..] = *octets;
        let discriminator =
            Discriminator::new(u32::from_be_bytes([a, b, c, d])).ok_or(Refused::ForeignEcho)?;
        Ok(Self { discriminator, nonce: u64::from_be_bytes(nonce) })
    }

    /// Its octets.
    #[must_use]
    pub fn encode(&self) -> [u8; ECHO_LENGTH] {
        let mut octets = [0; ECHO_LENGTH];
        octets[..4].copy_from_slice(&self.discriminator.get().to_be_bytes());
        octets[4..].copy_from_slice(&self.nonce.to_be_bytes());
        octets
    }
}
