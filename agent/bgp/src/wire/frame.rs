//! From a stream of octets to messages (RFC 4271 §4.1).

use super::error::WireError;
use super::reader::Reader;
use super::update::UpdateReader;
use super::{HEADER, MAX_EXTENDED, MAX_MESSAGE, Message, Notification, Open, RouteRefresh};

/// Message types (RFC 4271 §4.1, RFC 2918 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// 1.
    Open,
    /// 2.
    Update,
    /// 3.
    Notification,
    /// 4.
    Keepalive,
    /// 5.
    RouteRefresh,
}

impl MessageType {
    fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    fn octet(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    /// Least and greatest length (RFC 4271 §4.2 to §4.5, RFC 8654 §4: OPEN and
    /// KEEPALIVE never grow). ROUTE-REFRESH has a code of its own for lengths.
    fn allows(self, length: usize, extended: bool) -> bool {
        let longest = if extended { MAX_EXTENDED } else { MAX_MESSAGE };
        match self {
            Self::Open => (29..=MAX_MESSAGE).contains(&length),
            Self::Update => (23..=longest).contains(&length),
            Self::Notification => (21..=longest).contains(&length),
            Self::Keepalive => length == HEADER,
            Self::RouteRefresh => (HEADER..=longest).contains(&length),
        }
    }
}

/// Header of a message whose body has `body` octets (at most 65516).
pub(super) fn header(kind: MessageType, body: usize) -> Vec<u8> {
    let length = u16::try_from(HEADER + body).unwrap_or(u16::MAX);
    let mut octets = Vec::with_capacity(usize::from(length));
    octets.extend([0xff; 16]);
    octets.extend(length.to_be_bytes());
    octets.push(kind.octet());
    octets
}

/// KEEPALIVE (RFC 4271 §4.4).
#[must_use]
pub fn encode_keepalive() -> Vec<u8> {
    header(MessageType::Keepalive, 0)
}

/// Collects octets until a message is whole. It never holds more than one
/// message and the octets that came with its end.
#[derive(Debug, Default)]
pub struct Framer {
    octets: Vec<u8>,
    consumed: usize,
    extended: bool,
}

impl Framer {
    /// Takes octets as they came. The caller empties it with [`Self::next_message`]
    /// before it pushes more, which bounds the buffer.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.drain(..std::mem::take(&mut self.consumed));
        self.octets.extend_from_slice(octets);
    }

    /// From now on messages may be 65535 octets long (RFC 8654, negotiated).
    pub fn allow_extended(&mut self) {
        self.extended = true;
    }

    /// The next whole message: type and body.
    ///
    /// # Errors
    /// A header that cannot be trusted; nothing after it can be read either.
    pub fn next_message(&mut self) -> Result<Option<(MessageType, &[u8])>, WireError> {
        let waiting = &self.octets[self.consumed..];
        let marker = &waiting[..waiting.len().min(16)];
        // A stranger is noticed by its first octets, not after 4096 of them.
        if marker.iter().any(|octet| *octet != 0xff) {
            return Err(WireError::NotSynchronized);
        }
        let Some((head, _)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u16::from_be_bytes([head[16], head[17]]);
        let kind = MessageType::from_octet(head[18]).ok_or(WireError::BadType(head[18]))?;
        if !kind.allows(usize::from(length), self.extended) {
            return Err(WireError::BadLength(length));
        }
        let (start, end) = (self.consumed + HEADER, self.consumed + usize::from(length));
        if end > self.octets.len() {
            return Ok(None);
        }
        self.consumed = end;
        Ok(Some((kind, &self.octets[start..end])))
    }
}

/// Reads a message's body.
///
/// # Errors
/// Whatever ends the session; what RFC 7606 tolerates is inside the value.
pub fn decode(kind: MessageType, body: &[u8], updates: UpdateReader) -> Result<Message, WireError> {
    match kind {
        MessageType::Open => Open::decode(body).map(Message::Open),
        MessageType::Update => updates.read(body, |_| ()).map(Message::Update),
        MessageType::Notification => {
            let mut reader = Reader::new(body);
            let [code, subcode] = reader.array().map_err(|_| WireError::ShortNotification)?;
            Ok(Message::Notification(Notification::new(code, subcode).with_data(reader.rest())))
        }
        MessageType::Keepalive => Ok(Message::Keepalive),
        MessageType::RouteRefresh => RouteRefresh::decode(body).map(Message::RouteRefresh),
    }
}
