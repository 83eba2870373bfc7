//! What the peer has said last. All of it goes when the peer is not heard for the detection
//! time: bfd.RemoteDiscr must (RFC 5880 §6.8.1), and a peer that once said "send me nothing"
//! and was then replaced would otherwise never be spoken to again.

use std::num::NonZeroU8;
use std::time::Instant;

use crate::wire::{Control, Diagnostic, Discriminator, Interval, State};

/// The bfd.Remote variables of RFC 5880 §6.8.1 and what timers need beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// bfd.RemoteDiscr.
    pub discriminator: Discriminator,
    /// bfd.RemoteSessionState.
    pub state: State,
    /// The peer's own diagnostic.
    pub diagnostic: Diagnostic,
    /// bfd.RemoteMinRxInterval; zero: send nothing periodically.
    pub required_min_rx: Interval,
    /// The last Desired Min TX Interval.
    pub desired_min_tx: Interval,
    /// The last Required Min Echo RX Interval; zero: echo packets are not looped back.
    pub required_min_echo_rx: Interval,
    /// The last Detect Mult.
    pub multiplier: NonZeroU8,
    /// bfd.RemoteDemandMode.
    pub demand: bool,
    /// The C bit: its BFD outlives a restart of its control plane (RFC 5882 §4.3).
    pub independent: bool,
    /// When all this was heard.
    pub heard: Instant,
}

impl Remote {
    pub(super) fn heard(packet: &Control, now: Instant) -> Self {
        Self {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            required_min_rx: packet.required_min_rx,
            desired_min_tx: packet.desired_min_tx,
            required_min_echo_rx: packet.required_min_echo_rx,
            multiplier: packet.multiplier,
            demand: packet.flags.demand,
            independent: packet.flags.independent,
            heard: now,
        }
    }
}
