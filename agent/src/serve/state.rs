//! `/state`: what the agent knows, wants and does, with reasons, for debugging and
//! `kubectl clarion`. Keys and TCP-MD5 passwords are not in it.

use clarion_core::AnnounceReason;
use serde_json::{Value, json};

use super::Sources;
use crate::fast::{Counted, VipState};
use crate::slow::lease::format_mac;

/// The whole view as one object.
pub(super) fn page(sources: &Sources, counted: Option<&Counted>) -> Value {
    json!({
        "node": sources.args.node_name,
        "missing": sources.missing(),
        "cordoned": sources.desired.borrow().as_ref().is_some_and(|desired| desired.cordoned),
        "config": config(sources),
        "services": services(sources),
        "layer2": layer2(sources),
        "interfaces": interfaces(sources),
        "bgp": bgp(sources),
        "counters": counted.map(counters),
    })
}

fn config(sources: &Sources) -> Value {
    let slow = sources.slow.borrow();
    json!({
        "loaded": slow.loaded,
        "problems": slow.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn services(sources: &Sources) -> Value {
    let fast = sources.fast.borrow().clone();
    let Some(desired) = sources.desired.borrow().clone() else { return Value::Null };
    let all = desired.services.iter().map(|(key, verdict)| {
        let owned = verdict
            .addresses
            .iter()
            .any(|a| fast.vips.get(a).is_some_and(|vip| vip.state == VipState::Announced));
        let layer2 = if owned && verdict.l2 == AnnounceReason::NotOwner {
            AnnounceReason::Announced
        } else {
            verdict.l2
        };
        let value = json!({
            "addresses": verdict.addresses,
            "layer2": layer2.as_str(),
            "bgp": verdict.bgp.as_str(),
            "peers": verdict.peers,
        });
        (key.to_string(), value)
    });
    Value::Object(all.collect())
}

fn layer2(sources: &Sources) -> Value {
    let fast = sources.fast.borrow().clone();
    let vips = fast.vips.iter().map(|(address, vip)| {
        let value = json!({
            "state": vip.state.as_str(),
            "owner": vip.owner,
            "reason": vip.reason.as_str(),
            "order": vip.list,
            "interfaces": vip.interfaces,
            "heldByHost": vip.held_by,
        });
        (address.to_string(), value)
    });
    json!({
        "standing": fast.standing.as_str(),
        "inContact": fast.in_contact,
        "failures": fast.failures,
        "addresses": Value::Object(vips.collect()),
    })
}

fn interfaces(sources: &Sources) -> Value {
    let fast = sources.fast.borrow().clone();
    let used: Vec<_> = fast
        .interfaces
        .iter()
        .map(|i| {
            json!({
                "name": i.name,
                "index": i.index,
                "mac": format_mac(i.mac),
                "arp": i.arp,
                "ndp": i.ndp.is_some(),
                "attached": fast.attachments.get(&i.index).map(|attachment| attachment.mode.name()),
                "attachedReason": fast.attachments.get(&i.index).map(|attachment| attachment.reason.as_str()),
            })
        })
        .collect();
    let skipped = fast.skipped.iter().map(|(name, why)| (name.clone(), Value::from(why.as_str())));
    json!({ "used": used, "skipped": Value::Object(skipped.collect()) })
}

fn bgp(sources: &Sources) -> Value {
    let sessions = sources.sessions.borrow().clone();
    let desired = sources.desired.borrow().clone();
    let peers = desired.iter().flat_map(|d| &d.peers).map(|(name, peer)| {
        let session = sessions.get(name);
        let value = json!({
            "address": peer.config.address.to_string(),
            "routes": peer.routes.keys().map(ToString::to_string).collect::<Vec<_>>(),
            "up": session.is_some_and(crate::bgp::SessionStatus::up),
            "state": session.map(|s| s.state.to_string()),
            "announced": session.map(|s| s.announced),
            "wanted": session.map(|s| s.wanted),
            "lastFailure": session.and_then(|s| s.last_failure.as_ref()).map(ToString::to_string),
            "bfd": session.and_then(|s| s.bfd.as_ref()).map(bfd),
            "withheld": session.map(|s| s.withheld.iter().map(|(why, n)| format!("{n}: {why}")).collect::<Vec<_>>()),
        });
        (name.clone(), value)
    });
    json!({
        "peers": Value::Object(peers.collect()),
        "problems": desired.as_ref().map(|d| d.peer_problems.clone()),
    })
}

fn bfd(bfd: &crate::bfd::BfdStatus) -> Value {
    json!({
        "profile": bfd.profile,
        "state": bfd.state.word(),
        "cause": bfd.cause,
        "failures": bfd.failures,
        "lastFailure": bfd.failure,
        "problem": bfd.problem,
        "transmitMicroseconds": bfd.timing.map(|timing| timing.transmit.as_micros()),
        "receiveMicroseconds": bfd.timing.map(|timing| timing.receive.as_micros()),
        "detectionMicroseconds": bfd.timing.map(|timing| timing.detection.as_micros()),
    })
}

fn counters(counted: &Counted) -> Value {
    let answers = counted.kernel.answers.iter().map(|(key, n)| (key.to_string(), Value::from(*n)));
    let conflicts = counted.kernel.conflicts.iter().map(|(key, conflict)| {
        (key.to_string(), json!({ "mac": format_mac(conflict.mac), "frames": conflict.count }))
    });
    json!({
        "outcomes": counted.kernel.outcomes,
        "answers": Value::Object(answers.collect()),
        "conflicts": Value::Object(conflicts.collect()),
        "ownership": counted.told.events,
        "datagramsDropped": counted.told.dropped,
        "datagramsUnsent": counted.told.unsent,
        "gratuitous": counted.gratuitous.iter().map(|(a, n)| (a.to_string(), *n)).collect::<std::collections::BTreeMap<_, _>>(),
    })
}
