//! Packets as values, and their octets (RFC 5880 §4).
//!
//! A packet that cannot be one is refused with a [`Refused`] that names the rule; the
//! same value is the label of the metric that counts it. Codes that nobody has assigned
//! yet survive as numbers.

mod control;
mod echo;
mod refused;
#[cfg(test)]
mod tests;
mod values;

pub use control::{Authentication, CONTROL_LENGTH, Control, Flags};
pub use echo::{ECHO_LENGTH, Echo};
pub use refused::Refused;
pub use values::{Diagnostic, Discriminator, Interval, State};
