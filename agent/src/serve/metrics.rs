//! `/metrics`: MetalLB's names (contract §3.2), and `clarion_` for what it lacks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use clarion_core::AnnounceReason;

use super::Sources;
use super::text::{Kind, Page};
use crate::bfd::{BfdState, BfdStatus};
use crate::desired::Desired;
use crate::fast::{Counted, FastStatus, Standing, VipState};

/// The whole page; `counted` is missing when the fast half did not answer in time.
pub(super) fn page(sources: &Sources, counted: Option<&Counted>) -> String {
    let mut page = Page::default();
    let fast = sources.fast.borrow().clone();
    let desired = sources.desired.borrow().clone();
    if let Some(desired) = &desired {
        announced(&mut page, &sources.args.node_name, desired, &fast);
    }
    if let Some(counted) = counted {
        layer2(&mut page, counted);
    }
    sessions(&mut page, sources);
    paths(&mut page, sources);
    kubernetes(&mut page, sources);
    agent(&mut page, &fast);
    process(&mut page);
    page.finish()
}

fn announced(page: &mut Page, node: &str, desired: &Desired, fast: &FastStatus) {
    let mut family = page.family(
        "metallb_speaker_announced",
        Kind::Gauge,
        "Services announced from this node, by address.",
    );
    for (service, verdict) in &desired.services {
        for address in &verdict.addresses {
            let layer2 = fast.vips.get(address).is_some_and(|vip| vip.state == VipState::Announced)
                && desired.l2.get(address).is_some_and(|vip| vip.services.contains(service));
            let bgp = verdict.bgp == AnnounceReason::Announced && !verdict.peers.is_empty();
            for (protocol, yes) in [("layer2", layer2), ("bgp", bgp)] {
                if yes {
                    let labels: [(&str, &dyn std::fmt::Display); 4] =
                        [("service", service), ("protocol", &protocol), ("node", &node), ("ip", address)];
                    family.sample(&labels, 1);
                }
            }
        }
    }
}

fn layer2(page: &mut Page, counted: &Counted) {
    let mut answers: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for (key, count) in &counted.kernel.answers {
        *answers.entry(key.address).or_default() += count;
    }
    // Every request for an owned address that is valid is answered, in the kernel.
    for (name, help) in [
        ("metallb_layer2_requests_received", "Layer 2 requests received for owned addresses."),
        ("metallb_layer2_responses_sent", "Layer 2 responses sent for owned addresses."),
    ] {
        let mut family = page.family(name, Kind::Counter, help);
        for (address, count) in &answers {
            family.sample(&[("ip", address)], count);
        }
    }
    let mut family = page.family(
        "metallb_layer2_gratuitous_sent",
        Kind::Counter,
        "Gratuitous frames sent for owned addresses.",
    );
    for (address, count) in &counted.gratuitous {
        family.sample(&[("ip", address)], count);
    }
    let mut family = page.family(
        "clarion_dataplane_frames_total",
        Kind::Counter,
        "Frames that the kernel program saw, by what it did with them.",
    );
    for (outcome, count) in &counted.kernel.outcomes {
        family.sample(&[("outcome", outcome)], count);
    }
    let mut family =
        page.family("clarion_ownership_events_total", Kind::Counter, "What the ownership machine noted.");
    for (event, count) in &counted.told.events {
        family.sample(&[("event", event)], count);
    }
    let mut family = page.family(
        "clarion_ownership_datagrams_dropped_total",
        Kind::Counter,
        "Datagrams to the agent that were not taken in, by reason.",
    );
    for (reason, count) in &counted.told.dropped {
        family.sample(&[("reason", reason)], count);
    }
    page.family(
        "clarion_ownership_datagrams_unsent_total",
        Kind::Counter,
        "Datagrams that this node could not send.",
    )
    .sample(&[], counted.told.unsent);
    let mut family = page.family(
        "clarion_address_conflict_frames_total",
        Kind::Counter,
        "Frames in which another station claimed an address that this node owns.",
    );
    for (key, conflict) in &counted.kernel.conflicts {
        family.sample(&[("ip", &key.address), ("ifindex", &key.ifindex)], conflict.count);
    }
}

fn sessions(page: &mut Page, sources: &Sources) {
    let sessions = sources.sessions.borrow().clone();
    let all = || sessions.values();
    let mut family =
        page.family("metallb_bgp_session_up", Kind::Gauge, "BGP session state (1 is up, 0 is down).");
    all().for_each(|s| family.sample(&[("peer", &s.peer)], u8::from(s.up())));
    let mut family = page.family("metallb_bgp_updates_total", Kind::Counter, "BGP UPDATE messages sent.");
    all().for_each(|s| family.sample(&[("peer", &s.peer)], s.updates_total()));
    let mut family = page.family(
        "metallb_bgp_announced_prefixes_total",
        Kind::Gauge,
        "Prefixes announced on the session.",
    );
    all().for_each(|s| family.sample(&[("peer", &s.peer)], s.announced));
    let mut family = page.family(
        "metallb_bgp_pending_prefixes_total",
        Kind::Gauge,
        "Prefixes that should be announced on the session.",
    );
    all().for_each(|s| family.sample(&[("peer", &s.peer)], s.wanted));
}

/// MetalLB's BFD metrics, with the labels of its FRR mode. Two peers with one address and VRF
/// share a session and are told once.
fn paths(page: &mut Page, sources: &Sources) {
    let sessions = sources.sessions.borrow().clone();
    let by_path: BTreeMap<(IpAddr, &str), &BfdStatus> = sessions
        .values()
        .filter_map(|session| session.bfd.as_ref())
        .map(|bfd| ((bfd.peer, bfd.device.as_deref().unwrap_or("default")), bfd))
        .collect();
    type Value = fn(&BfdStatus) -> u64;
    let all: [(&str, Kind, &str, Value); 8] = [
        ("metallb_bfd_session_up", Kind::Gauge, "BFD session state (1 is up, 0 is down).", |bfd| {
            u64::from(bfd.state == BfdState::Up)
        }),
        ("metallb_bfd_control_packet_input", Kind::Counter, "BFD control packets received.", |bfd| {
            bfd.counters.control_received
        }),
        ("metallb_bfd_control_packet_output", Kind::Counter, "BFD control packets sent.", |bfd| {
            bfd.counters.control_sent
        }),
        ("metallb_bfd_echo_packet_input", Kind::Counter, "BFD echo packets received.", |bfd| {
            bfd.counters.echo_received
        }),
        ("metallb_bfd_echo_packet_output", Kind::Counter, "BFD echo packets sent.", |bfd| {
            bfd.counters.echo_sent
        }),
        ("metallb_bfd_session_up_events", Kind::Counter, "Times that the BFD session came up.", |bfd| {
            bfd.counters.ups
        }),
        ("metallb_bfd_session_down_events", Kind::Counter, "Times that the BFD session went down.", |bfd| {
            bfd.counters.downs
        }),
        (
            "metallb_bfd_zebra_notifications",
            Kind::Counter,
            "Changes of the BFD session that BGP was told.",
            |bfd| bfd.counters.ups + bfd.counters.downs,
        ),
    ];
    for (name, kind, help, value) in all {
        let mut family = page.family(name, kind, help);
        for ((peer, vrf), bfd) in &by_path {
            family.sample(&[("peer", peer), ("vrf", vrf)], value(bfd));
        }
    }
}

fn kubernetes(page: &mut Page, sources: &Sources) {
    let slow = sources.slow.borrow().clone();
    let updates = sources.counts.updates.load(Ordering::Relaxed);
    let errors = sources.counts.errors.load(Ordering::Relaxed);
    page.family("metallb_k8s_client_updates_total", Kind::Counter, "Writes to the API server.")
        .sample(&[], updates + errors);
    page.family(
        "metallb_k8s_client_update_errors_total",
        Kind::Counter,
        "Writes to the API server that failed.",
    )
    .sample(&[], errors);
    page.family("metallb_k8s_client_config_loaded_bool", Kind::Gauge, "1 if the configuration was loaded.")
        .sample(&[], u8::from(slow.loaded));
    page.family(
        "metallb_k8s_client_config_stale_bool",
        Kind::Gauge,
        "1 if an object was set aside as invalid.",
    )
    .sample(&[], u8::from(!slow.problems.is_empty()));
}

fn agent(page: &mut Page, fast: &FastStatus) {
    let mut family = page.family(
        "clarion_attachment_info",
        Kind::Gauge,
        "Where the kernel program runs on an interface, and why there.",
    );
    for interface in &fast.interfaces {
        let attachment = fast.attachments.get(&interface.index);
        let (mode, reason) = attachment.map_or(("none", "failed"), |a| (a.mode.name(), a.reason.as_str()));
        family.sample(&[("interface", &interface.name), ("mode", &mode), ("reason", &reason)], 1);
    }
    page.family("clarion_peers_in_contact", Kind::Gauge, "Nodes whose round trips with this one succeed.")
        .sample(&[], fast.in_contact.len());
    let mut family = page.family(
        "clarion_fence_standing",
        Kind::Gauge,
        "1 for the standing of this node: whole (its kernel answers), fenced, lastStanding, noPlan.",
    );
    for standing in [Standing::NoPlan, Standing::Whole, Standing::Fenced, Standing::Alone] {
        family.sample(&[("standing", &standing.as_str())], u8::from(fast.standing == standing));
    }
    page.family("clarion_failures", Kind::Gauge, "Parts of the desired state that the host does not have.")
        .sample(&[], fast.failures.len());
    let held = fast.vips.values().filter(|vip| vip.held_by.is_some()).count();
    page.family(
        "clarion_addresses_held_by_host",
        Kind::Gauge,
        "Announced addresses that the host itself holds: conflicts.",
    )
    .sample(&[], held);
}

/// The process metrics of every Prometheus client, from /proc.
fn process(page: &mut Page) {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse::<u64>().ok()
    };
    if let Some(rss) = kilobytes("VmRSS:") {
        page.family("process_resident_memory_bytes", Kind::Gauge, "Resident memory size in bytes.")
            .sample(&[], rss * 1024);
    }
}
