//! `address-pools` to IPAddressPools with an L2Advertisement or BGPAdvertisements each, and
//! the aliases of communities.

use clarion_api::{
    BGPAdvertisement, BGPAdvertisementSpec, Community, CommunityAlias, CommunitySpec, IPAddressPool,
    IPAddressPoolSpec, L2Advertisement, L2AdvertisementSpec,
};
use clarion_core::AddressRange;

use super::document::{Draft, Reading};
use super::fields::{Fields, quoted, text};
use super::names::LONGEST_NAME;
use super::yaml::Node;
use crate::check::Wrong;

const POOL: &[&str] = &[
    "name",
    "protocol",
    "addresses",
    "cidr",
    "auto-assign",
    "avoid-buggy-ips",
    "bgp-advertisements",
    "advertisements",
    "arp-network",
];
const ADVERTISEMENT: &[&str] = &["aggregation-length", "aggregation-length-v6", "localpref", "communities"];

/// How a pool is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Layer2,
    Bgp,
}

/// One entry. `peers` says whether the configuration has any.
pub(super) fn pool(reading: &mut Reading, at: &str, node: &Node, peers: bool) {
    let mut fields = Fields::open(at, node, POOL);
    let written = name(&mut fields, "pool");
    let known = written.as_ref().is_some_and(|name| !reading.pools_seen.contains_key(name));
    if let Some(first) = written.as_ref().and_then(|name| reading.pools_seen.get(name)) {
        let message = format!(
            "duplicate definition of pool {}: {first} has that name; rename one of them",
            quoted(written.as_deref().unwrap_or_default())
        );
        fields.complain("name", message);
    }
    // Its addresses stay with the Services that have them, under whatever name.
    let written = written.filter(|_| known).unwrap_or_else(|| at.to_owned());
    if known {
        reading.pools_seen.insert(written.clone(), at.to_owned());
    } else {
        reading.cannot_attribute(Draft::Pool, fields.wrong.clone());
    }
    let protocol = protocol(&mut fields, peers);
    let advertised = advertisements(&mut fields);
    let (addresses, mut fields_of) = addresses(&mut fields);
    if protocol == Some(Protocol::Layer2) && !advertised.is_empty() {
        fields.complain(
            "protocol",
            "cannot have bgp-advertisements configuration element in a layer2 address pool: remove it, or write protocol: bgp",
        );
    }
    let spec = IPAddressPoolSpec {
        addresses,
        exclude_addresses: edges(&mut fields, protocol).map(Vec::from).unwrap_or_default(),
        auto_assign: fields.flag("auto-assign").unwrap_or(true),
        avoid_buggy_ips: fields.flag("avoid-buggy-ips").unwrap_or(false),
        ..IPAddressPoolSpec::default()
    };
    let name = reading.pools.give(&written);
    if known {
        reading.renamed(&written, &name);
    }
    fields_of.push(("spec".to_owned(), at.to_owned()));
    reading.add(IPAddressPool::new(&name, spec), fields_of, fields.wrong.clone());
    match protocol {
        None => reading.cannot_attribute(Draft::Announcement, fields.wrong),
        Some(Protocol::Layer2) => {
            let spec = L2AdvertisementSpec { ip_address_pools: vec![name.clone()], ..Default::default() };
            let origin = vec![("spec".to_owned(), at.to_owned())];
            reading.add(L2Advertisement::new(&name, spec), origin, None);
        }
        Some(Protocol::Bgp) => bgp(reading, at, &name, &advertised),
    }
}

/// The announcements of a pool; one with all its defaults if none is written.
fn bgp(reading: &mut Reading, at: &str, pool: &str, advertised: &[(String, &Node)]) {
    let nothing = Node::List(Vec::new());
    let default = [(at.to_owned(), &nothing)];
    let all = if advertised.is_empty() { &default } else { advertised };
    for (i, (at, node)) in all.iter().enumerate() {
        let mut spec =
            BGPAdvertisementSpec { aggregation_length: 32, aggregation_length_v6: 128, ..Default::default() };
        let mut wrong = None;
        if !advertised.is_empty() {
            let mut fields = Fields::open(at.as_str(), node, ADVERTISEMENT);
            spec.aggregation_length = fields.number("aggregation-length", 1, 32).unwrap_or(32);
            spec.aggregation_length_v6 = fields.number("aggregation-length-v6", 1, 128).unwrap_or(128);
            spec.local_pref = fields.number("localpref", 0, i64::from(u32::MAX));
            spec.communities = fields.texts("communities").into_iter().map(|(_, text)| text).collect();
            wrong = fields.wrong;
        }
        spec.ip_address_pools = vec![pool.to_owned()];
        let name = reading.advertisements.give(&format!("{pool}-{}", i + 1));
        let origin = vec![("spec".to_owned(), at.clone())];
        reading.add(BGPAdvertisement::new(&name, spec), origin, wrong);
    }
}

/// The name of an entry; every release since 0.3 wants one.
pub(super) fn name(fields: &mut Fields<'_>, what: &str) -> Option<String> {
    match fields.text("name").filter(|name| !name.is_empty()) {
        Some(name) if name.len() > LONGEST_NAME => {
            fields.complain("name", format!("{what} name is longer than {LONGEST_NAME} bytes: shorten it"));
            None
        }
        Some(name) => Some(name),
        None => {
            fields.complain("name", format!("missing {what} name: write name: and one of your choice"));
            None
        }
    }
}

/// `None` if it cannot be told. Before 0.3 there was nothing but BGP and no such key; who has
/// no peer either has forgotten it.
fn protocol(fields: &mut Fields<'_>, peers: bool) -> Option<Protocol> {
    if !fields.has("protocol") {
        if peers {
            return Some(Protocol::Bgp);
        }
        fields.complain(
            "protocol",
            "address pool is missing the protocol field: write protocol: layer2, or protocol: bgp and peers",
        );
        return None;
    }
    let text = fields.text("protocol")?;
    match text.as_str() {
        "layer2" | "arp" | "ndp" => Some(Protocol::Layer2),
        "bgp" => Some(Protocol::Bgp),
        _ => {
            fields.complain("protocol", format!("unknown protocol {}: write layer2 or bgp", quoted(&text)));
            None
        }
    }
}

/// Under the name of 0.1 and under that of 0.3 and later.
fn advertisements<'a>(fields: &mut Fields<'a>) -> Vec<(String, &'a Node)> {
    let mut all = fields.list("bgp-advertisements");
    all.extend(fields.list("advertisements"));
    all
}

/// Both keys of addresses in one list, and where each entry of it is written.
fn addresses(fields: &mut Fields<'_>) -> (Vec<String>, Vec<(String, String)>) {
    let mut written = fields.texts("addresses");
    written.extend(fields.texts("cidr"));
    if written.is_empty() && fields.wrong.is_none() {
        fields.complain("addresses", "pool has no prefixes defined: write at least one prefix or range");
    }
    let mut origins = Vec::with_capacity(written.len() + 1);
    let mut addresses = Vec::with_capacity(written.len());
    for (path, text) in written {
        origins.push((format!("spec.addresses[{}]", addresses.len()), path));
        addresses.push(text);
    }
    (addresses, origins)
}

/// First and last address of `arp-network` (0.3, 0.4): they are given to nobody.
fn edges(fields: &mut Fields<'_>, protocol: Option<Protocol>) -> Option<[String; 2]> {
    let text = fields.text("arp-network")?;
    if protocol == Some(Protocol::Bgp) {
        let message = "cannot have arp-network configuration element in a BGP address pool: remove it";
        fields.complain("arp-network", message);
        return None;
    }
    match text.parse::<AddressRange>() {
        Ok(network) => Some([network.first().to_string(), network.last().to_string()]),
        Err(error) => {
            fields.complain("arp-network", format!("parsing ARP network: {error}"));
            None
        }
    }
}

/// `communities` and, since 0.3, `bgp-communities`: one object each, so that a bad one is set
/// aside alone.
pub(super) fn aliases(reading: &mut Reading, top: &mut Fields<'_>) {
    for key in ["bgp-communities", "communities"] {
        for (alias, node) in top.named(key) {
            let at = format!("{key}.{}", alias.chars().take(60).collect::<String>());
            let value = text(node).map(str::to_owned);
            if let Some(known) = reading.aliases_seen.get(&alias) {
                if value.as_ref() != Ok(known) {
                    let message = format!(
                        "duplicate definition of community {}: it means {} already; remove one of them",
                        quoted(&alias),
                        quoted(known)
                    );
                    reading.problems.push(Wrong::new(at, message));
                }
                continue;
            }
            let wrong = value.as_ref().err().map(|message| Wrong::new(at.clone(), message));
            let value = value.unwrap_or_default();
            reading.aliases_seen.insert(alias.clone(), value.clone());
            let name = reading.aliases.give(&alias);
            let spec =
                CommunitySpec { communities: vec![CommunityAlias { name: Some(alias), value: Some(value) }] };
            reading.add(Community::new(&name, spec), vec![("spec".to_owned(), at)], wrong);
        }
    }
}
