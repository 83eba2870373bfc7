//! Our echo packets: which are on their way, and when they are missed (RFC 5880 §6.8.5,
//! §6.8.8, §6.8.9).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::pace::Jitter;
use crate::random::Random;

/// More than can be on their way within a detection time: the multiplier has eight bits.
const OUTSTANDING: usize = 256;

/// Echo packets of a session that is up.
#[derive(Debug)]
pub(super) struct Echoing {
    /// Nonces of packets that have not come back, oldest first.
    outstanding: VecDeque<u64>,
    /// When the last one left.
    sent: Option<Instant>,
    jitter: Jitter,
    /// When one came back, or the first was due.
    heard: Instant,
}

impl Echoing {
    pub(super) fn new(jitter: Jitter, now: Instant) -> Self {
        Self { outstanding: VecDeque::new(), sent: None, jitter, heard: now }
    }

    pub(super) fn next(&self, interval: Duration) -> Instant {
        self.sent.map_or(self.heard, |sent| sent + self.jitter.apply(interval))
    }

    /// Another packet leaves; its nonce.
    pub(super) fn send(&mut self, random: &mut Random, jitter: Jitter, now: Instant) -> u64 {
        let nonce = random.next();
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(nonce);
        self.sent = Some(now);
        self.jitter = jitter;
        nonce
    }

    /// Whether the packet is one that is waited for. Older ones are given up, so that each
    /// counts once and late ones do not.
    pub(super) fn came_back(&mut self, nonce: u64, now: Instant) -> bool {
        let Some(at) = self.outstanding.iter().position(|waiting| *waiting == nonce) else { return false };
        self.outstanding.drain(..=at);
        self.heard = now;
        true
    }

    pub(super) fn missed_at(&self, detection: Duration) -> Instant {
        self.heard + detection
    }
}
