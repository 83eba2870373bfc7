//! The control packet (RFC 5880 §4.1).

use std::num::NonZeroU8;

use super::refused::Refused;
use super::values::{Diagnostic, Discriminator, Interval, State};

/// Octets of a control packet without authentication: every one that is sent here.
pub const CONTROL_LENGTH: usize = 24;
/// The least with authentication: its section begins with type and length (§4.1).
const AUTHENTICATED_LENGTH: u8 = 26;
const VERSION: u8 = 1;

const POLL: u8 = 1 << 5;
const FINAL: u8 = 1 << 4;
const INDEPENDENT: u8 = 1 << 3;
const AUTHENTICATED: u8 = 1 << 2;
const DEMAND: u8 = 1 << 1;
const MULTIPOINT: u8 = 1;

/// Whether an authentication section follows (the A bit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// None.
    Absent,
    /// There is one; it is not read, since no session here uses any.
    Present,
}

/// The single bits that a session looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// P: the sender asks for an answer with F.
    pub poll: bool,
    /// F: the answer.
    pub last: bool,
    /// C: the sender's BFD lives on while its control plane is restarted.
    pub independent: bool,
    /// D: the sender asks for silence once both sides are up.
    pub demand: bool,
}

/// A control packet without authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Why the sender's session changed its state last.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// Single bits.
    pub flags: Flags,
    /// How many packets of the sender may be lost.
    pub multiplier: NonZeroU8,
    /// The sender's name for the session.
    pub my_discriminator: Discriminator,
    /// The receiver's, as far as the sender knows it.
    pub your_discriminator: Option<Discriminator>,
    /// The sender would like to send this often.
    pub desired_min_tx: Interval,
    /// The sender can take packets this often; zero: none at all.
    pub required_min_rx: Interval,
    /// The sender loops back echo packets that come no more often; zero: none.
    pub required_min_echo_rx: Interval,
}

impl Control {
    /// Reads a datagram's payload by the first six rules of RFC 5880 §6.8.6, in their
    /// order. Octets after the packet's own length are left alone.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decode(payload: &[u8]) -> Result<(Self, Authentication), Refused> {
        let short = || Refused::TooShort(u8::try_from(payload.len()).unwrap_or(u8::MAX));
        let version = payload.first().ok_or_else(short)? >> 5;
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let [first, bits, multiplier, length] = *payload.first_chunk::<4>().ok_or_else(short)?;
        let (authentication, least) = if bits & AUTHENTICATED == 0 {
            (Authentication::Absent, CONTROL_LENGTH)
        } else {
            (Authentication::Present, usize::from(AUTHENTICATED_LENGTH))
        };
        if usize::from(length) < least {
            return Err(Refused::TooShort(length));
        }
        let beyond = Refused::LengthBeyondPayload { length, payload: payload.len() };
        if usize::from(length) > payload.len() {
            return Err(beyond);
        }
        let fields = payload.first_chunk::<CONTROL_LENGTH>().ok_or(beyond)?;
        let multiplier = NonZeroU8::new(multiplier).ok_or(Refused::ZeroMultiplier)?;
        if bits & MULTIPOINT != 0 {
            return Err(Refused::Multipoint);
        }
        let word =
            |at: usize| u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        let control = Self {
            diagnostic: Diagnostic::from_code(first),
            state: State::from_code(bits >> 6),
            flags: Flags {
                poll: bits & POLL != 0,
                last: bits & FINAL != 0,
                independent: bits & INDEPENDENT != 0,
                demand: bits & DEMAND != 0,
            },
            multiplier,
            my_discriminator: Discriminator::new(word(4)).ok_or(Refused::ZeroMyDiscriminator)?,
            your_discriminator: Discriminator::new(word(8)),
            desired_min_tx: Interval::from_micros(word(12)),
            required_min_rx: Interval::from_micros(word(16)),
            required_min_echo_rx: Interval::from_micros(word(20)),
        };
        Ok((control, authentication))
    }

    /// Its octets.
    #[must_use]
    pub fn encode(&self) -> [u8; CONTROL_LENGTH] {
        let Self {
            diagnostic,
            state,
            flags,
            multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx,
            required_min_rx,
            required_min_echo_rx,
        } = *self;
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let bits = state.code() << 6
            | bit(flags.poll, POLL)
            | bit(flags.last, FINAL)
            | bit(flags.independent, INDEPENDENT)
            | bit(flags.demand, DEMAND);
        let words = [
            my_discriminator.get(),
            your_discriminator.map_or(0, Discriminator::get),
            desired_min_tx.micros(),
            required_min_rx.micros(),
            required_min_echo_rx.micros(),
        ];
        let mut octets = [0; CONTROL_LENGTH];
        let head = [VERSION << 5 | diagnostic.code(), bits, multiplier.get(), 24];
        octets[..4].copy_from_slice(&head);
        for (place, word) in octets[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        octets
    }
}
