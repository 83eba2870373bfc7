//! The ConfigMap of MetalLB's first releases, on a cluster that has nothing else.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, SOON, answered, prober, wait_deployment};
use clarion_e2e::objects::{Service, workload};
use clarion_lab::addressing::{CLUSTER_ASN, ROUTER_ASN, router};
use clarion_lab::{Lab, NAMESPACE};
use std::net::IpAddr;

pub(crate) const CASES: &[Case] = &[(
    "a ConfigMap alone assigns and announces, is edited, broken and replaced by objects, and nobody loses anything",
    story,
)];

/// What every text has: a pool of layer 2, one of BGP, and the router.
fn configmap(layer2: &str, more: &str) -> String {
    let text = format!(
        "peers:\n- peer-address: {}\n  peer-asn: {ROUTER_ASN}\n  my-asn: {CLUSTER_ASN}\n  peer-port: 179\n\
         address-pools:\n- name: Old_Lan\n  protocol: layer2\n  addresses:\n  - {layer2}\n\
         - name: routed\n  protocol: bgp\n  cidr:\n  - 198.51.100.64/26\n  auto-assign: false\n{more}",
        router(1).v4
    );
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config, namespace: {NAMESPACE}}}\ndata:\n  config: |\n{indented}"
    )
}

/// Only the workload: this group has no configuration objects.
pub(crate) fn prepare(lab: &Lab) -> Result<()> {
    lab.apply(&workload())?;
    wait_deployment(lab, "web", 3)
}

fn state(lab: &Lab) -> Result<serde_json::Value> {
    let path = format!("/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/configurationstates/controller");
    Ok(lab.get(&path)?.unwrap_or_default()["status"].take())
}

/// Waits until the controller's ConfigurationState says this, and the ConfigMap an event.
fn wait_said(lab: &Lab, what: &str, reason: &str) -> Result<()> {
    lab.wait_until(&format!("{what:?} in ConfigurationState"), SOON, || {
        Ok(state(lab)?.to_string().contains(what).then_some(()))
    })?;
    lab.wait_until(&format!("event {reason} of the ConfigMap"), SOON, || {
        let events = lab.events(NAMESPACE, "ConfigMap", "config")?;
        Ok(events.iter().any(|(r, message)| r == reason && message.contains(what)).then_some(()))
    })
}

fn routed(lab: &Lab, address: IpAddr) -> Result<()> {
    lab.wait_until(&format!("a route to {address}"), SOON, || {
        Ok((lab.router(1)?.next_hops(address)?.len() == lab.nodes().len()).then_some(()))
    })
}

fn story(lab: &mut Lab) -> Result<()> {
    let config = Held::any(lab, "config", configmap("192.168.100.210-192.168.100.211", ""))?;
    let near = Held::apply(lab, &Service::new("near"))?;
    let far =
        Held::apply(lab, &Service::new("far").annotation("metallb.universe.tf/address-pool", "routed"))?;
    let prober = prober(lab)?;
    let (one, route) = (near.address()?, far.address()?);
    ensure!(one.to_string() == "192.168.100.210" && route.to_string() == "198.51.100.64", "{one} {route}");
    answered(lab, &prober, one)?;
    routed(lab, route)?;

    // Edited: the new pool is there, the old addresses stay.
    lab.apply(&configmap(
        "192.168.100.210-192.168.100.212",
        "- {name: third, protocol: layer2, addresses: [192.168.100.215/32], auto-assign: no}\n",
    ))?;
    let third = Held::apply(lab, &Service::new("third").annotation("metallb.io/address-pool", "third"))?;
    let three = third.address()?;
    answered(lab, &prober, three)?;

    // One entry broken: said, and nothing lost.
    lab.apply(&configmap(
        "192.168.100.210-192.168.100.2120",
        "- {name: third, protocol: layer2, addresses: [192.168.100.215/32], auto-assign: no}\n",
    ))?;
    wait_said(lab, "config: address-pools[0].addresses[0]: invalid CIDR", "ConfigurationError")?;
    // The whole text broken.
    lab.apply(&configmap("[", "\tx"))?;
    wait_said(lab, "could not parse config: line", "ConfigurationError")?;
    let late = Held::apply(lab, &Service::new("late"))?;
    let last_good = late.address()?;
    for (service, address) in [(&near, one), (&far, route), (&third, three)] {
        ensure!(service.address()? == address, "{address} was lost");
    }
    answered(lab, &prober, one)?;
    routed(lab, route)?;

    // Repaired; what a further Service would get is known before it exists.
    lab.apply(&configmap("192.168.100.210-192.168.100.212", ""))?;
    lab.wait_until("a valid state", SOON, || Ok((state(lab)?["result"] == "Valid").then_some(())))?;
    let next = Service::new("next");
    let dry = lab.kubectl_stdin(&["clarion", "explain", "-f", "-", "-o", "json"], &next.yaml())?;
    let dry: serde_json::Value = serde_json::from_str(&dry)?;
    ensure!(dry[0]["dry_run"]["addresses"][0] == "192.168.100.212", "{dry}");
    ensure!(dry[0]["dry_run"]["pools"][1]["reason"] == "notAutomatic", "{dry}");

    // An object: objects win, and everybody keeps what it has.
    let pool = format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: routed, namespace: {NAMESPACE}}}\n\
         spec: {{addresses: [198.51.100.64/26], autoAssign: false}}\n"
    );
    let pool = Held::any(lab, "routed", pool)?;
    wait_said(lab, "objects win", "ObjectsWin")?;
    ensure!(state(lab)?["result"] == "Valid", "{}", state(lab)?);
    let condition = in_force(lab)?.context("no condition")?;
    ensure!(condition["status"] == "False" && condition["reason"] == "ObjectsWin", "{condition}");
    for (service, address) in [(&near, one), (&far, route), (&late, last_good)] {
        ensure!(service.address()? == address, "{address} was lost");
    }
    let next = Held::apply(lab, &next)?;
    next.event("AllocationFailed")?;
    pool.delete()?;
    ensure!(next.address()?.to_string() == "192.168.100.212", "the dry run was wrong");

    // Converted: the objects stand in its place, and the wire does not notice.
    let objects = Held::any(lab, "the converted objects", lab.kubectl(&["clarion", "convert"])?)?;
    config.delete()?;
    lab.wait_until("no word of a ConfigMap", SOON, || Ok(in_force(lab)?.is_none().then_some(())))?;
    ensure!(state(lab)?["result"] == "Valid", "{}", state(lab)?);
    for (service, address) in [(&near, one), (&far, route), (&late, last_good)] {
        ensure!(service.address()? == address, "{address} was lost");
    }
    answered(lab, &prober, one)?;
    routed(lab, route)?;
    objects.delete()
}

/// The condition that says whether the ConfigMap counts.
fn in_force(lab: &Lab) -> Result<Option<serde_json::Value>> {
    let conditions = state(lab)?["conditions"].as_array().cloned().unwrap_or_default();
    Ok(conditions.into_iter().find(|condition| condition["type"] == "configMapInForce"))
}
