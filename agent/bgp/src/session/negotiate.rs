//! Our OPEN, and what theirs makes of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use clarion_core::Family;

use super::config::{LocalAddresses, Negotiated, PeerAsn, SessionConfig};
use super::event::OpenRefusal;
use crate::wire::{Capability, Notification, Open, RestartFamily};

/// RFC 4271 §4.2: a hold time is zero or at least three seconds.
fn hold_seconds(proposed: Duration) -> u16 {
    match proposed.as_secs() {
        0 if proposed.is_zero() => 0,
        seconds => u16::try_from(seconds.max(3)).unwrap_or(u16::MAX),
    }
}

/// RFC 4271 §4.4: a third of the hold time at most. Zero where there is no hold time.
pub(super) fn keepalive(hold: Duration, configured: Option<Duration>) -> Duration {
    let third = hold / 3;
    configured.filter(|interval| !interval.is_zero()).map_or(third, |interval| interval.min(third))
}

/// What we say about ourselves on a connection from `local`.
pub(super) fn our_open(config: &SessionConfig, local: &LocalAddresses) -> Open {
    let mut capabilities: Vec<_> = config.families.iter().map(|f| Capability::Multiprotocol(*f)).collect();
    capabilities.push(Capability::RouteRefresh);
    if offers_extended_next_hop(config, local) {
        capabilities.push(Capability::ExtendedNextHop);
    }
    capabilities.push(Capability::ExtendedMessage);
    if let Some(restart) = config.graceful_restart {
        capabilities.push(Capability::GracefulRestart {
            restarted: restart.restarted,
            notification: true,
            time: u16::try_from(restart.restart_time.as_secs()).unwrap_or(u16::MAX).min(0x0fff),
            // Forwarding is the kernel's and does not notice that we were away.
            families: config
                .families
                .iter()
                .map(|f| RestartFamily { family: *f, forwarding: true })
                .collect(),
        });
    }
    capabilities.push(Capability::FourOctetAs(config.local_asn.get()));
    Open {
        asn: config.local_asn,
        hold_time: hold_seconds(config.hold_time),
        id: config.router_id,
        capabilities,
    }
}

/// RFC 8950 is offered only where IPv4 routes have no IPv4 next hop.
fn offers_extended_next_hop(config: &SessionConfig, local: &LocalAddresses) -> bool {
    matches!(local.session, IpAddr::V6(_)) && local.v4.is_none() && config.families.contains(&Family::V4)
}

/// Accepts their OPEN, or says why not (RFC 4271 §6.2).
pub(super) fn negotiate(
    config: &SessionConfig,
    local: &LocalAddresses,
    theirs: &Open,
) -> Result<Negotiated, OpenRefusal> {
    let internal = theirs.asn == config.local_asn;
    let right_as = match config.peer_asn {
        PeerAsn::Fixed(asn) => theirs.asn == asn,
        PeerAsn::Internal => internal,
        PeerAsn::External => !internal,
    };
    if !right_as {
        return Err(OpenRefusal::BadPeerAs {
            expected: config.peer_asn,
            local: config.local_asn,
            got: theirs.asn,
        });
    }
    // RFC 6286 §2.2: identifiers are unique inside an AS only.
    if internal && theirs.id == config.router_id {
        return Err(OpenRefusal::SameIdentifier);
    }
    let has = |wanted: &Capability| theirs.capabilities.contains(wanted);
    let hold_time = theirs.hold_time().min(Duration::from_secs(hold_seconds(config.hold_time).into()));
    let restart = theirs.capabilities.iter().find_map(|capability| match capability {
        Capability::GracefulRestart { notification, .. } => Some(*notification),
        _ => None,
    });
    let ours = config.graceful_restart.filter(|_| restart.is_some());
    Ok(Negotiated {
        peer_asn: theirs.asn,
        peer_id: theirs.id,
        internal,
        local_asn: config.local_asn,
        hold_time,
        keepalive: keepalive(hold_time, config.timers.keepalive),
        families: config.families.intersection(&families(theirs)).copied().collect(),
        offered: config.families.clone(),
        four_octet_as: theirs.capabilities.iter().any(|c| matches!(c, Capability::FourOctetAs(_))),
        route_refresh: has(&Capability::RouteRefresh),
        extended_message: has(&Capability::ExtendedMessage),
        extended_next_hop: offers_extended_next_hop(config, local) && has(&Capability::ExtendedNextHop),
        graceful_restart: ours.map(|ours| ours.restart_time),
        graceful_notification: ours.is_some() && restart == Some(true),
    })
}

/// The families a speaker offers; one without the capability speaks IPv4 unicast
/// alone (RFC 4760 §8 added the rest).
fn families(open: &Open) -> BTreeSet<Family> {
    let multiprotocol = |code: u8| code == 1;
    let mut any = false;
    let mut families = BTreeSet::new();
    for capability in &open.capabilities {
        match capability {
            Capability::Multiprotocol(family) => {
                any = true;
                families.insert(*family);
            }
            Capability::Unknown(code, _) => any |= multiprotocol(*code),
            _ => {}
        }
    }
    if any { families } else { BTreeSet::from([Family::V4]) }
}

impl OpenRefusal {
    /// What the peer is told (RFC 4271 §6.2).
    pub(super) fn notification(self) -> Notification {
        match self {
            Self::BadPeerAs { .. } => Notification::new(2, 2),
            Self::SameIdentifier => Notification::new(2, 3),
        }
    }
}
