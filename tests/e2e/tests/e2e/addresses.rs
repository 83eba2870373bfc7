//! Addresses: who gets which, and what a Service is told that gets none.

use anyhow::{Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, QUIET, SOON, WithoutPolicies, addresses, condition, ingress};
use clarion_e2e::objects::{POOL, Service, in_pool};
use clarion_lab::Lab;
use std::net::IpAddr;

pub(crate) const CASES: &[Case] = &[
    ("an IPv4 Service gets one address of the pool", |lab| one(lab, &Service::new("v4"), true)),
    ("an IPv6 Service gets one address of the pool", |lab| one(lab, &Service::new("v6").v6(), false)),
    ("a dual-stack Service gets an address of each family", dual),
    ("spec.loadBalancerIP is honoured", |lab| {
        asked(lab, &Service::new("asked").field("loadBalancerIP", "192.168.100.217"), "192.168.100.217")
    }),
    ("the annotation loadBalancerIPs is honoured", |lab| {
        asked(
            lab,
            &Service::new("noted").annotation("metallb.io/loadBalancerIPs", "192.168.100.218"),
            "192.168.100.218",
        )
    }),
    ("the deprecated annotation is honoured and said to be deprecated", deprecated),
    ("the annotation address-pool is honoured, autoAssign or not", pool_by_name),
    ("the pool that an address came from is written on the Service", origin),
    ("an unknown pool leaves the Service pending and an event names it", unknown_pool),
    ("a taken address leaves the Service pending and an event names it", taken),
    ("an address outside every pool leaves the Service pending and an event names it", outside),
    ("an address is free again when its Service is deleted", released),
    ("a pool that overlaps another is quarantined alone and assigned Services keep their addresses", overlap),
];

fn one(lab: &Lab, service: &Service, v4: bool) -> Result<()> {
    let address = Held::apply(lab, service)?.address()?;
    ensure!(in_pool(address) && address.is_ipv4() == v4, "{address}");
    Ok(())
}

fn dual(lab: &mut Lab) -> Result<()> {
    let all = Held::apply(lab, &Service::new("dual").dual())?.addresses(2)?;
    ensure!(all.iter().all(|a| in_pool(*a)), "{all:?}");
    ensure!(all[0].is_ipv4() != all[1].is_ipv4(), "{all:?}");
    Ok(())
}

fn asked(lab: &Lab, service: &Service, address: &str) -> Result<()> {
    let got = Held::apply(lab, service)?.address()?;
    ensure!(got == address.parse::<IpAddr>()?, "asked for {address}, got {got}");
    Ok(())
}

fn deprecated(lab: &mut Lab) -> Result<()> {
    let service = Service::new("old").annotation("metallb.universe.tf/loadBalancerIPs", "192.168.100.219");
    let held = Held::apply(lab, &service)?;
    ensure!(held.address()? == "192.168.100.219".parse::<IpAddr>()?);
    let told = lab.wait_until("an event about the deprecated annotation", SOON, || {
        let events = lab.events("web", "Service", "old")?;
        Ok(events.into_iter().find(|(_, message)| message.contains("metallb.universe.tf")))
    })?;
    ensure!(told.0 == "deprecatedAnnotation", "not MetalLB's reason: {told:?}");
    Ok(())
}

fn pool_by_name(lab: &mut Lab) -> Result<()> {
    let pool = extra_pool("manual", "192.168.100.240-192.168.100.241", "autoAssign: false");
    let pool = Held::any(lab, "manual", pool)?;
    let held = Held::apply(lab, &Service::new("by-pool").annotation("metallb.io/address-pool", "manual"))?;
    let address = held.address()?;
    ensure!(["192.168.100.240", "192.168.100.241"].contains(&address.to_string().as_str()), "{address}");
    drop(held);
    pool.delete()
}

fn origin(lab: &mut Lab) -> Result<()> {
    let held = Held::apply(lab, &Service::new("origin"))?;
    held.address()?;
    lab.wait_until("the annotation ip-allocated-from-pool", SOON, || {
        let service = lab.get("/api/v1/namespaces/web/services/origin")?;
        Ok(service
            .filter(|s| s["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == POOL)
            .map(drop))
    })
}

fn pending(lab: &Lab, service: &Service, names: &[&str]) -> Result<()> {
    let held = Held::apply(lab, service)?;
    let message = held.event("AllocationFailed")?;
    for name in names {
        ensure!(message.contains(name), "the event does not name {name}: {message}");
    }
    ensure!(addresses(lab, service.name())?.is_empty(), "it has an address all the same");
    Ok(())
}

fn unknown_pool(lab: &mut Lab) -> Result<()> {
    pending(lab, &Service::new("lost").annotation("metallb.io/address-pool", "nowhere"), &["nowhere"])
}

fn taken(lab: &mut Lab) -> Result<()> {
    let first = Held::apply(lab, &Service::new("first").field("loadBalancerIP", "192.168.100.216"))?;
    first.address()?;
    let second = Service::new("second").field("loadBalancerIP", "192.168.100.216");
    pending(lab, &second, &["192.168.100.216", "web/first"])
}

fn outside(lab: &mut Lab) -> Result<()> {
    pending(lab, &Service::new("outside").field("loadBalancerIP", "10.9.8.7"), &["10.9.8.7"])
}

fn released(lab: &mut Lab) -> Result<()> {
    let wanted = "192.168.100.215";
    let first = Held::apply(lab, &Service::new("before").field("loadBalancerIP", wanted))?;
    first.address()?;
    first.delete()?;
    asked(lab, &Service::new("after").field("loadBalancerIP", wanted), wanted)
}

fn overlap(lab: &mut Lab) -> Result<()> {
    let service = Held::apply(lab, &Service::new("kept"))?;
    let before = service.address()?;
    let _slips_in = WithoutPolicies::new(lab)?;
    // Sorted before the pool that is in force, so that the order of names does not help.
    let bad = Held::any(
        lab,
        "a-overlap",
        extra_pool("a-overlap", "192.168.100.200-192.168.100.229", "autoAssign: true"),
    )?;
    let (status, message) = lab.wait_until("the condition of the overlapping pool", SOON, || {
        Ok(condition(lab, "ipaddresspools", "a-overlap", "Valid")?.filter(|(status, _)| status != "True"))
    })?;
    ensure!(
        status == "False" && message.contains(POOL),
        "the message does not name the other pool: {message}"
    );
    let other = Held::apply(lab, &Service::new("fresh"))?;
    ensure!(in_pool(other.address()?), "new Services get addresses all the same");
    // A change would come within this time: the event of the pool was seen and a later Service was served.
    let moved =
        lab.watch("/api/v1/namespaces/web/services?fieldSelector=metadata.name%3Dkept", QUIET, |event| {
            Some(ingress(&event["object"])).filter(|now| now.as_slice() != [before])
        });
    ensure!(moved.is_err(), "the address moved: {moved:?}");
    drop(other);
    bad.delete()
}

fn extra_pool(name: &str, addresses: &str, field: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
         spec:\n  addresses: [\"{addresses}\"]\n  {field}\n"
    )
}
