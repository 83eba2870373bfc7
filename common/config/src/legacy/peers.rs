//! `peers` to BGPPeers and `bfd-profiles` to BFDProfiles.

use std::collections::BTreeMap;

use clarion_api::{BFDProfile, BFDProfileSpec, BGPPeer, BGPPeerSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::document::{Draft, Reading};
use super::fields::{Fields, quoted, text};
use super::names::label;
use super::pools::name;
use super::yaml::Node;
use crate::duration;

const PEER: &[&str] = &[
    "peer-address",
    "peer-asn",
    "my-asn",
    "peer-port",
    "source-address",
    "hold-time",
    "keepalive-time",
    "router-id",
    "node-selectors",
    "password",
    "bfd-profile",
    "ebgp-multihop",
];
const SELECTOR: &[&str] = &["match-labels", "match-expressions"];
const EXPRESSION: &[&str] = &["key", "operator", "values"];
const PROFILE: &[&str] = &[
    "name",
    "receive-interval",
    "transmit-interval",
    "detect-multiplier",
    "echo-interval",
    "echo-mode",
    "passive-mode",
    "minimum-ttl",
];
const MOST: i64 = u32::MAX as i64;

/// One entry of `peers`. It is named for its address, not for its place in the list: other
/// entries that come and go must not make another session of it.
pub(super) fn peer(reading: &mut Reading, at: &str, node: &Node) {
    let mut fields = Fields::open(at, node, PEER);
    let address = fields.text("peer-address");
    let is_address = address.as_ref().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok());
    if !is_address {
        let shown = address.as_deref().unwrap_or_default();
        let message = format!("invalid peer IP {}: write an IP address like 192.0.2.1", quoted(shown));
        fields.complain("peer-address", message);
        reading.cannot_attribute(Draft::Peer, fields.wrong.clone());
    }
    let my_asn = required(&mut fields, "my-asn", "missing local ASN: write my-asn: and your AS number");
    let peer_asn =
        required(&mut fields, "peer-asn", "missing peer ASN: write peer-asn: and the router's AS number");
    let bfd_profile = fields.text("bfd-profile").filter(|name| !name.is_empty());
    let bfd_profile = bfd_profile.map(|name| reading.profile_name(&name));
    let multi_hop = fields.flag("ebgp-multihop");
    let spec = BGPPeerSpec {
        my_asn: my_asn.unwrap_or(0),
        peer_asn,
        peer_address: address.clone(),
        source_address: fields.text("source-address"),
        peer_port: fields.number("peer-port", 0, 65_535).unwrap_or(0),
        hold_time: seconds(&mut fields, "hold-time"),
        keepalive_time: seconds(&mut fields, "keepalive-time"),
        router_id: fields.text("router-id"),
        node_selectors: selectors(&mut fields),
        password: fields.text("password").filter(|password| !password.is_empty()),
        // The speaker of those days reached eBGP peers over any number of hops without being
        // asked; only its FRR mode, which BFD needs, had to be told.
        ebgp_multi_hop: multi_hop.or((my_asn != peer_asn && bfd_profile.is_none()).then_some(true)),
        bfd_profile,
        ..BGPPeerSpec::default()
    };
    let port = if spec.peer_port == 0 { 179 } else { spec.peer_port };
    let spec = BGPPeerSpec { peer_port: port, ..spec };
    let written = if is_address { address.unwrap_or_default() } else { at.to_owned() };
    let name = reading.peers.give(&format!("peer-{}", label(&written)));
    reading.add(BGPPeer::new(&name, spec), vec![("spec".to_owned(), at.to_owned())], fields.wrong);
}

fn required(fields: &mut Fields<'_>, key: &str, missing: &str) -> Option<i64> {
    let had = fields.has(key);
    let number = fields.number(key, 0, MOST).filter(|asn| *asn != 0);
    if number.is_none() && (!had || fields.wrong.is_none()) {
        fields.complain(key, missing);
    }
    number
}

/// A time, cut to whole seconds as the first releases did it. A bare number is seconds: the
/// example of 0.1 and 0.2 writes it so.
fn seconds(fields: &mut Fields<'_>, key: &str) -> Option<String> {
    let text = fields.text(key).filter(|text| !text.is_empty())?;
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let with_unit = if bare { format!("{text}s") } else { text.clone() };
    match duration::parse(&with_unit) {
        Some(time) => Some(format!("{}s", time.as_secs())),
        None => {
            let what = key.replace('-', " ");
            fields.complain(key, format!("invalid {what} {}: write it like 30s, 1m30s or 0", quoted(&text)));
            None
        }
    }
}

fn selectors(fields: &mut Fields<'_>) -> Vec<LabelSelector> {
    let mut selectors = Vec::new();
    for (at, node) in fields.list("node-selectors") {
        let mut inner = Fields::open(at, node, SELECTOR);
        let mut labels = BTreeMap::new();
        for (label, node) in inner.named("match-labels") {
            match text(node) {
                Ok(value) => drop(labels.insert(label, value.to_owned())),
                Err(message) => inner.complain(&format!("match-labels.{label}"), message),
            }
        }
        let mut expressions = Vec::new();
        for (at, node) in inner.list("match-expressions") {
            let mut one = Fields::open(at, node, EXPRESSION);
            let values = one.texts("values").into_iter().map(|(_, value)| value).collect::<Vec<_>>();
            expressions.push(LabelSelectorRequirement {
                key: one.text("key").unwrap_or_default(),
                operator: one.text("operator").unwrap_or_default(),
                values: (!values.is_empty()).then_some(values),
            });
            inner.wrong = inner.wrong.or(one.wrong);
        }
        selectors.push(LabelSelector {
            match_labels: (!labels.is_empty()).then_some(labels),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        });
        fields.wrong = fields.wrong.take().or(inner.wrong);
    }
    selectors
}

/// One entry of `bfd-profiles`.
pub(super) fn profile(reading: &mut Reading, at: &str, node: &Node) {
    let mut fields = Fields::open(at, node, PROFILE);
    let written = name(&mut fields, "bfd profile");
    let spec = BFDProfileSpec {
        receive_interval: fields.number("receive-interval", 10, 60_000),
        transmit_interval: fields.number("transmit-interval", 10, 60_000),
        detect_multiplier: fields.number("detect-multiplier", 2, 255),
        echo_interval: fields.number("echo-interval", 10, 60_000),
        echo_mode: fields.flag("echo-mode"),
        passive_mode: fields.flag("passive-mode"),
        minimum_ttl: fields.number("minimum-ttl", 1, 254),
    };
    let Some(written) = written else {
        return reading.cannot_attribute(Draft::Profile, fields.wrong);
    };
    if reading.profiles_seen.contains_key(&written) {
        let message = format!("found duplicate bfd profile name {}: rename one of them", quoted(&written));
        return reading.problems.push(crate::check::Wrong::new(fields.path("name"), message));
    }
    let name = reading.profile_name(&written);
    reading.profiles_seen.insert(written, at.to_owned());
    reading.add(BFDProfile::new(&name, spec), vec![("spec".to_owned(), at.to_owned())], fields.wrong);
}
