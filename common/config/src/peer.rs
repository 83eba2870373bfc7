//! BGPPeer to [`Peer`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clarion_api::{BGPPeer, BGPPeerSpec};
use clarion_core::{Asn, LabelSelector, RouterId};
use kube::ResourceExt;

use crate::check::{Wrong, given, number, selectors};
use crate::duration;
use crate::model::{Peer, PeerAsn, PeerEndpoint, PeerSecret};
use crate::settle::Ledger;

const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(90);

/// The hold time has 16 bits on the wire (RFC 4271 §4.2).
const MAX_SECONDS: u64 = 65_535;

pub(crate) fn read(object: &BGPPeer) -> Result<Peer, Wrong> {
    let spec = &object.spec;
    let my_asn = asn("spec.myASN", spec.my_asn)?.ok_or_else(|| {
        Wrong::new("spec.myASN", "missing local ASN: set myASN to a number from 1 to 4294967295")
    })?;
    let peer_asn = peer_asn(spec)?;
    let multi_hop = spec.ebgp_multi_hop.unwrap_or(false);
    if multi_hop && peer_asn == PeerAsn::Fixed(my_asn) {
        let message =
            "invalid ebgp-multihop parameter set for an ibgp peer: peerASN equals myASN; remove ebgpMultiHop";
        return Err(Wrong::new("spec.ebgpMultiHop", message));
    }
    let (hold_time, keepalive_time) = timers(spec)?;
    Ok(Peer {
        name: object.name_any(),
        my_asn,
        peer_asn,
        local_asn: asn("spec.localASN", spec.local_asn.unwrap_or(0))?,
        endpoint: endpoint(spec)?,
        port: match spec.peer_port {
            0 => 179,
            port => number("spec.peerPort", port, 1, 16_384)?,
        },
        source_address: address("spec.sourceAddress", "invalid source IP", spec.source_address.as_ref())?,
        hold_time,
        keepalive_time,
        connect_time: connect_time(spec)?,
        router_id: router_id(spec)?,
        node_selectors: selectors("spec.nodeSelectors", &spec.node_selectors)?,
        secret: secret(spec)?,
        bfd_profile: given(spec.bfd_profile.as_ref()).map(str::to_owned),
        graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
        multi_hop,
        vrf: device("spec.vrf", spec.vrf.as_ref())?,
        dual_stack: spec.dual_stack_address_family,
    })
}

/// `None` for zero, which Go's clients write for what is not set.
fn asn(field: &str, value: i64) -> Result<Option<Asn>, Wrong> {
    Ok(Asn::new(number(field, value, 0, u32::MAX)?))
}

fn peer_asn(spec: &BGPPeerSpec) -> Result<PeerAsn, Wrong> {
    let fixed = asn("spec.peerASN", spec.peer_asn.unwrap_or(0))?;
    match (fixed, given(spec.dynamic_asn.as_ref())) {
        (Some(fixed), None) => Ok(PeerAsn::Fixed(fixed)),
        (None, Some("internal")) => Ok(PeerAsn::Internal),
        (None, Some("external")) => Ok(PeerAsn::External),
        (None, Some(other)) => Err(Wrong::new(
            "spec.dynamicASN",
            format!("invalid dynamicASN {other:?}: write internal or external"),
        )),
        (None, None) => Err(Wrong::new(
            "spec.peerASN",
            "missing peer ASN and dynamicASN: set peerASN, or dynamicASN to internal or external",
        )),
        (Some(_), Some(_)) => Err(Wrong::new(
            "spec.dynamicASN",
            "both peer ASN and dynamicASN specified: remove peerASN or dynamicASN",
        )),
    }
}

fn endpoint(spec: &BGPPeerSpec) -> Result<PeerEndpoint, Wrong> {
    let peer = address("spec.peerAddress", "invalid BGPPeer address", spec.peer_address.as_ref())?;
    match (peer, device("spec.interface", spec.interface.as_ref())?) {
        (Some(address), None) => Ok(PeerEndpoint::Address(address)),
        (None, Some(interface)) => Ok(PeerEndpoint::Interface(interface)),
        (None, None) => Err(Wrong::new(
            "spec.peerAddress",
            "peer has no Address or Interface specified: set peerAddress or interface",
        )),
        (Some(_), Some(_)) => Err(Wrong::new(
            "spec.interface",
            "peer has both Address and Interface specified: remove peerAddress or interface",
        )),
    }
}

fn address(field: &str, words: &str, text: Option<&String>) -> Result<Option<IpAddr>, Wrong> {
    let Some(text) = given(text) else { return Ok(None) };
    let bad =
        |_| Wrong::new(field, format!("{words} {text:?}: write an IP address like 192.0.2.1 or 2001:db8::1"));
    text.parse().map(Some).map_err(bad)
}

/// A network device's name as the kernel allows it (`dev_valid_name`).
fn device(field: &str, text: Option<&String>) -> Result<Option<String>, Wrong> {
    let Some(text) = given(text) else { return Ok(None) };
    if text.len() > 15 || text.contains(|c: char| c == '/' || c.is_whitespace()) {
        let message = format!(
            "{text:?} contains invalid characters or more than 15: write the name as ip link prints it"
        );
        return Err(Wrong::new(field, message));
    }
    Ok(Some(text.to_owned()))
}

/// Hold time and keepalive interval; one follows from the other (contract §1.4).
fn timers(spec: &BGPPeerSpec) -> Result<(Duration, Duration), Wrong> {
    let hold = time("spec.holdTime", spec.hold_time.as_ref())?;
    let keepalive = time("spec.keepaliveTime", spec.keepalive_time.as_ref())?;
    let (hold, keepalive) = match (hold, keepalive) {
        (None, None) => (DEFAULT_HOLD_TIME, DEFAULT_HOLD_TIME / 3),
        (Some(hold), None) => (hold, hold / 3),
        (None, Some(keepalive)) => (keepalive.saturating_mul(3), keepalive),
        (Some(hold), Some(keepalive)) => (hold, keepalive),
    };
    let allowed = Duration::from_secs(3)..=Duration::from_secs(MAX_SECONDS);
    if !hold.is_zero() && !allowed.contains(&hold) {
        let message = format!("invalid hold time {hold:?}: must be 0 or >=3s, and at most {MAX_SECONDS}s");
        return Err(Wrong::new("spec.holdTime", message));
    }
    if keepalive > hold {
        let message = format!(
            "invalid keepaliveTime {keepalive:?}, must be lower than holdTime {hold:?}: a third of holdTime is usual"
        );
        return Err(Wrong::new("spec.keepaliveTime", message));
    }
    Ok((hold, keepalive))
}

fn time(field: &str, text: Option<&String>) -> Result<Option<Duration>, Wrong> {
    let Some(text) = given(text) else { return Ok(None) };
    let bad = || Wrong::new(field, format!("invalid duration {text:?}: write it like 30s, 1m30s or 0"));
    duration::parse(text).map(Some).ok_or_else(bad)
}

fn connect_time(spec: &BGPPeerSpec) -> Result<Option<Duration>, Wrong> {
    let field = "spec.connectTime";
    let Some(time) = time(field, spec.connect_time.as_ref())? else { return Ok(None) };
    if time < Duration::from_secs(1) || time > Duration::from_secs(MAX_SECONDS) {
        return Err(Wrong::new(field, "connect time should be between 1 seconds to 65535"));
    }
    if time.subsec_nanos() != 0 {
        return Err(Wrong::new(field, "connect time should contain a whole number of seconds"));
    }
    Ok(Some(time))
}

fn router_id(spec: &BGPPeerSpec) -> Result<Option<RouterId>, Wrong> {
    let Some(text) = given(spec.router_id.as_ref()) else { return Ok(None) };
    let id = text.parse::<Ipv4Addr>().ok().and_then(RouterId::new);
    let message = format!("invalid router ID {text:?}: write four numbers like 192.0.2.1, not 0.0.0.0");
    id.map(Some).ok_or_else(|| Wrong::new("spec.routerID", message))
}

fn secret(spec: &BGPPeerSpec) -> Result<Option<PeerSecret>, Wrong> {
    let reference = spec.password_secret.as_ref().and_then(|secret| given(secret.name.as_ref()));
    match (given(spec.password.as_ref()), reference) {
        (None, None) => Ok(None),
        (None, Some(name)) => Ok(Some(PeerSecret::Secret(name.to_owned()))),
        (Some(password), None) if password.contains(['\n', '\r']) || password.len() > 80 => Err(Wrong::new(
            "spec.password",
            "password contains invalid characters, or more than the 80 bytes of a TCP-MD5 key: write it on one line",
        )),
        (Some(password), None) => Ok(Some(PeerSecret::Inline(password.to_owned()))),
        (Some(_), Some(_)) => Err(Wrong::new(
            "spec.password",
            "can not have both password and secret ref set: remove password or passwordSecret",
        )),
    }
}

/// What makes two peers one session on the same nodes.
type Session = (String, u16, Option<IpAddr>, Option<String>, Vec<LabelSelector>);

/// Sessions configured so far. The same one twice would make a router see one speaker
/// connect again and again (RFC 4271 §6.8).
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    owners: BTreeMap<Session, String>,
}

fn session(peer: &Peer) -> Session {
    let endpoint = match &peer.endpoint {
        PeerEndpoint::Address(address) => address.to_string(),
        PeerEndpoint::Interface(interface) => format!("%{interface}"),
    };
    let mut nodes = peer.node_selectors.clone();
    nodes.sort();
    (endpoint, peer.port, peer.source_address, peer.vrf.clone(), nodes)
}

impl Ledger<Peer> for Sessions {
    fn conflict(&self, _: &str, peer: &Peer) -> Option<Wrong> {
        let owner = self.owners.get(&session(peer))?;
        let message = format!(
            "peer {} already exists: BGPPeer {owner:?} configures the same session; remove one, or give them different nodeSelectors",
            peer.name
        );
        Some(Wrong::new("spec", message))
    }

    fn enter(&mut self, name: &str, peer: &Peer) {
        self.owners.insert(session(peer), name.to_owned());
    }
}
