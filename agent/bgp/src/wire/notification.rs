//! NOTIFICATION (RFC 4271 §4.5) in words that people read.

use std::fmt;

use super::frame::{MessageType, header};
use super::{HEADER, MAX_MESSAGE};

/// Longest text of a shutdown communication in octets (RFC 9003 §2).
const MAX_COMMUNICATION: usize = 255;
/// How much of a foreign text is shown.
const SHOWN: usize = 128;

/// Cease (RFC 4486).
pub(crate) const CEASE: u8 = 6;
const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
const PEER_DECONFIGURED: u8 = 3;
const ADMINISTRATIVE_RESET: u8 = 4;
const BFD_DOWN: u8 = 10;
const OTHER_CONFIGURATION_CHANGE: u8 = 6;
const HARD_RESET: u8 = 9;

/// Why a session was ended. Codes that nobody knows survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// What the error is about; at most 4075 octets fit into a message.
    pub data: Vec<u8>,
}

impl Notification {
    /// Code and subcode without data.
    #[must_use]
    pub fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Vec::new() }
    }

    /// The same about these octets.
    #[must_use]
    pub fn with_data(self, data: impl Into<Vec<u8>>) -> Self {
        Self { data: data.into(), ..self }
    }

    /// Cease, administrative shutdown, with a text (RFC 9003 §2; cut to 255 octets
    /// at a character).
    #[must_use]
    pub fn shutdown(text: &str) -> Self {
        let mut end = text.len().min(MAX_COMMUNICATION);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text.as_bytes()[..end];
        let mut data = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend_from_slice(text);
        Self::new(CEASE, ADMINISTRATIVE_SHUTDOWN).with_data(data)
    }

    /// Cease, peer de-configured (RFC 4486 §4).
    #[must_use]
    pub fn deconfigured() -> Self {
        Self::new(CEASE, PEER_DECONFIGURED)
    }

    /// Cease, other configuration change (RFC 4486 §4).
    #[must_use]
    pub fn reconfigured() -> Self {
        Self::new(CEASE, OTHER_CONFIGURATION_CHANGE)
    }

    /// Cease, BFD down (RFC 9384).
    #[must_use]
    pub fn bfd_down() -> Self {
        Self::new(CEASE, BFD_DOWN)
    }

    /// Hold timer expired (RFC 4271 §6.5).
    #[must_use]
    pub fn hold_timer_expired() -> Self {
        Self::new(4, 0)
    }

    /// Send hold timer expired (RFC 9687 §4).
    #[must_use]
    pub fn send_hold_timer_expired() -> Self {
        Self::new(8, 0)
    }

    /// Wrapped as a hard reset (RFC 8538 §3.1): the peer must not keep the routes
    /// although graceful restart for NOTIFICATION was negotiated.
    #[must_use]
    pub fn hard(self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend(self.data);
        Self::new(CEASE, HARD_RESET).with_data(data)
    }

    /// The message's octets. Data that does not fit is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let data = &self.data[..self.data.len().min(MAX_MESSAGE - HEADER - 2)];
        let mut octets = header(MessageType::Notification, 2 + data.len());
        octets.extend([self.code, self.subcode]);
        octets.extend_from_slice(data);
        octets
    }

    /// The text that came with an administrative shutdown or reset (RFC 9003 §2),
    /// without control characters: it goes to logs.
    #[must_use]
    pub fn communication(&self) -> Option<String> {
        if self.code != CEASE || !matches!(self.subcode, ADMINISTRATIVE_SHUTDOWN | ADMINISTRATIVE_RESET) {
            return None;
        }
        let (&length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(length)).filter(|t| !t.is_empty())?;
        let text = String::from_utf8_lossy(text);
        Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect())
    }

    fn words(&self) -> (&'static str, Option<&'static str>) {
        let sub = |names: &[&'static str]| {
            usize::from(self.subcode).checked_sub(1).and_then(|i| names.get(i)).copied()
        };
        match self.code {
            1 => (
                "message header error",
                sub(&["connection not synchronized", "bad message length", "bad message type"]),
            ),
            2 => (
                "OPEN message error",
                sub(&[
                    "unsupported version number",
                    "bad peer AS",
                    "bad BGP identifier",
                    "unsupported optional parameter",
                    "authentication failure",
                    "unacceptable hold time",
                    "unsupported capability",
                ]),
            ),
            3 => (
                "UPDATE message error",
                sub(&[
                    "malformed attribute list",
                    "unrecognized well-known attribute",
                    "missing well-known attribute",
                    "attribute flags error",
                    "attribute length error",
                    "invalid ORIGIN",
                    "AS routing loop",
                    "invalid NEXT_HOP",
                    "optional attribute error",
                    "invalid network field",
                    "malformed AS_PATH",
                ]),
            ),
            4 => ("hold timer expired", None),
            5 => (
                "state machine error",
                sub(&[
                    "unexpected message in OpenSent",
                    "unexpected message in OpenConfirm",
                    "unexpected message in Established",
                ]),
            ),
            CEASE => (
                "cease",
                sub(&[
                    "maximum number of prefixes reached",
                    "administrative shutdown",
                    "peer de-configured",
                    "administrative reset",
                    "connection rejected",
                    "other configuration change",
                    "connection collision resolution",
                    "out of resources",
                    "hard reset",
                    "BFD down",
                ]),
            ),
            7 => ("ROUTE-REFRESH message error", sub(&["invalid message length"])),
            8 => ("send hold timer expired", None),
            _ => ("unknown error", None),
        }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = self.words();
        f.write_str(code)?;
        if let Some(subcode) = subcode {
            write!(f, ", {subcode}")?;
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        match self.communication() {
            Some(text) => write!(f, ": {text:?}"),
            None => Ok(()),
        }
    }
}
