//! What a session asks for and tells: typed, so that logs, status and metrics
//! say the same words.

use std::fmt;
use std::time::Duration;

use clarion_core::Asn;

use super::config::{Negotiated, PeerAsn};
use crate::wire::{Notification, WireError};

/// The six states of RFC 4271 §8.2.2, without what each of them holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    /// Stopped, or waiting after an error.
    Idle,
    /// TCP is being connected.
    Connect,
    /// Waiting for the next attempt to connect.
    Active,
    /// Connected, our OPEN is sent.
    OpenSent,
    /// Their OPEN is accepted, their KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        })
    }
}

/// Why and how a session is ended from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Close TCP and say nothing: a peer that negotiated graceful restart keeps the routes.
    Silent,
    /// Cease, administrative shutdown (RFC 4486, with RFC 9003's text).
    Shutdown,
    /// Cease, peer de-configured: the BGPPeer went or no longer selects the node.
    Deconfigured,
    /// Cease, other configuration change: a session with other parameters follows.
    Reconfigured,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "stopped for a restart",
            Self::Shutdown => "stopped",
            Self::Deconfigured => "the BGPPeer no longer applies to this node",
            Self::Reconfigured => "the BGPPeer's connection parameters changed",
        })
    }
}

/// Why a session left a state, or an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was started.
    Started,
    /// We ended it.
    Stopped(Stop),
    /// The pause between attempts is over.
    RetryDue,
    /// TCP is up.
    Connected,
    /// TCP could not be connected; the operating system's words.
    ConnectFailed(String),
    /// TCP did not answer in time.
    ConnectTimeout(Duration),
    /// The peer closed TCP without a word.
    ClosedByPeer,
    /// TCP broke; the operating system's words.
    TransportFailed(String),
    /// Their OPEN was accepted.
    OpenAccepted,
    /// Their KEEPALIVE confirmed our OPEN.
    OpenConfirmed,
    /// The peer ended it and said why.
    NotificationReceived(Notification),
    /// The peer sent what it must not; it was told.
    PeerMisbehaved(WireError),
    /// The peer's OPEN is well formed but not for us; it was told.
    OpenRefused(OpenRefusal),
    /// Nothing was heard for the hold time (RFC 4271 §6.5).
    HoldTimerExpired(Duration),
    /// The peer took nothing for the send hold time (RFC 9687).
    SendHoldTimerExpired(Duration),
    /// BFD found the path to the peer down (RFC 5882 §4.2); its words.
    PathDown(String),
    /// BFD found the path alive.
    PathUp,
    /// A message that does not belong into the state (RFC 4271 §6.6).
    UnexpectedMessage {
        /// Where we were.
        state: StateName,
        /// What came.
        message: &'static str,
    },
}

/// Why an OPEN is not accepted (RFC 4271 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenRefusal {
    /// The peer is in another AS than configured.
    BadPeerAs {
        /// What is configured.
        expected: PeerAsn,
        /// The AS shown to the peer.
        local: Asn,
        /// Where it is.
        got: Asn,
    },
    /// An internal peer with our own identifier (RFC 6286 §2.2).
    SameIdentifier,
}

impl fmt::Display for OpenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPeerAs { expected: PeerAsn::Fixed(asn), got, .. } => {
                write!(f, "the peer is in AS {got}, spec.peerASN says {asn}: correct one of them")
            }
            Self::BadPeerAs { expected: PeerAsn::Internal, local, got } => {
                write!(f, "the peer is in AS {got}, spec.dynamicASN internal asks for ours, {local}")
            }
            Self::BadPeerAs { expected: PeerAsn::External, got, .. } => {
                write!(f, "the peer is in our own AS {got}, spec.dynamicASN external asks for another")
            }
            Self::SameIdentifier => f.write_str(
                "the peer has our own BGP identifier: give this node another spec.routerID, or the router another router-id",
            ),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Stopped(stop) => stop.fmt(f),
            Self::RetryDue => f.write_str("next attempt"),
            Self::Connected => f.write_str("TCP connected"),
            Self::ConnectFailed(error) => write!(f, "cannot connect: {error}"),
            Self::ConnectTimeout(after) => write!(
                f,
                "no answer to TCP within {} s: check the peer's address and port, and the password of both sides",
                after.as_secs()
            ),
            Self::ClosedByPeer => f.write_str("the peer closed the connection"),
            Self::TransportFailed(error) => write!(f, "the connection broke: {error}"),
            Self::OpenAccepted => f.write_str("OPEN accepted"),
            Self::OpenConfirmed => f.write_str("OPEN confirmed by the peer"),
            Self::NotificationReceived(notification) => {
                write!(f, "the peer ended the session: {notification}")
            }
            Self::PeerMisbehaved(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::OpenRefused(refusal) => refusal.fmt(f),
            Self::HoldTimerExpired(after) => {
                write!(f, "hold timer expired: nothing heard for {} s", after.as_secs())
            }
            Self::SendHoldTimerExpired(after) => {
                write!(f, "send hold timer expired: the peer accepted nothing for {} s", after.as_secs())
            }
            Self::PathDown(why) => write!(f, "BFD session down: {why}"),
            Self::PathUp => f.write_str("BFD session up"),
            Self::UnexpectedMessage { state, message } => {
                write!(f, "the peer sent {message} in state {state}")
            }
        }
    }
}

/// What the driver must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin to connect TCP; answer with `handle_connected` or `handle_connect_failed`.
    Connect,
    /// Write what `poll_transmit` still gives, if that works at once, then close
    /// TCP or drop the attempt to connect. No answer is expected.
    Close,
}

/// What happened, for logs, status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another state.
    Changed {
        /// The state left.
        from: StateName,
        /// The state entered.
        to: StateName,
        /// Why.
        cause: Cause,
    },
    /// Both OPENs are known.
    Negotiated(Box<Negotiated>),
    /// All routes of the family were sent, and the marker (RFC 4724 §2).
    EndOfRibSent(clarion_core::Family),
    /// The peer has sent all of its routes of the family.
    EndOfRibReceived(clarion_core::Family),
    /// The peer asked for our routes again (RFC 2918).
    RefreshRequested(clarion_core::Family),
    /// A broken UPDATE that does not end the session (RFC 7606). At most one
    /// event per session; all are counted.
    UpdateTolerated(WireError),
}
