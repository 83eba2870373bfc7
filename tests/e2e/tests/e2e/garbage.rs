//! Objects that the API server should have refused: under foreign or older CRDs, without
//! CEL rules and without required fields, anything is stored.

use anyhow::{Context, Result, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, QUIET, SOON, WithoutPolicies, answered, condition, in_force, prober};
use clarion_e2e::objects::{POOL, Service, in_pool, pool};
use clarion_lab::{Lab, NAMESPACE};
use serde_json::{Value, json};

pub(crate) const CASES: &[Case] =
    &[("objects that slip past the CRDs are set aside alone, and the log stays short", garbage)];

const KINDS: [&str; 2] = ["ipaddresspools", "l2advertisements"];

fn garbage(lab: &mut Lab) -> Result<()> {
    let path =
        |kind: &str| format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind}.metallb.io");
    let mut before = Vec::new();
    for kind in KINDS {
        let mut crd = lab.get(&path(kind))?.with_context(|| format!("no CRD {kind}"))?;
        before.push(crd["spec"].clone());
        loosen(&mut crd["spec"]["versions"]);
        lab.send("PUT", &path(kind), &crd)?;
    }
    // Admission policies would see what the CRDs let through.
    let result = WithoutPolicies::new(lab).and_then(|_open| stored(lab));
    for (kind, spec) in KINDS.iter().zip(before) {
        let mut crd = lab.get(&path(kind))?.context("the CRD went")?;
        crd["spec"] = spec;
        lab.send("PUT", &path(kind), &crd)?;
    }
    lab.install_clarion()?;
    result
}

/// Lets a CRD accept anything as `spec`, or nothing.
fn loosen(versions: &mut Value) {
    for version in versions.as_array_mut().into_iter().flatten() {
        let root = &mut version["schema"]["openAPIV3Schema"];
        if let Some(fields) = root.as_object_mut() {
            fields.retain(|name, _| name != "required" && name != "x-kubernetes-validations");
        }
        root["properties"]["spec"] =
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    }
}

fn object(kind: &str, name: &str, rest: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n{rest}\n"
    )
}

fn stored(lab: &Lab) -> Result<()> {
    let before = Held::apply(lab, &Service::new("before"))?;
    let address = before.address()?;
    // (plural, kind, name, the rest, what its condition must name)
    let bad = [
        ("ipaddresspools", "IPAddressPool", "empty", "", "spec"),
        ("ipaddresspools", "IPAddressPool", "nothing", "spec: {}", "spec"),
        (
            "ipaddresspools",
            "IPAddressPool",
            "reversed",
            "spec: {addresses: [192.168.100.99-192.168.100.90]}",
            "spec.addresses[0]",
        ),
        ("ipaddresspools", "IPAddressPool", "words", "spec: {addresses: [everything]}", "spec.addresses[0]"),
        ("ipaddresspools", "IPAddressPool", "overlap", "spec: {addresses: [192.168.100.0/24]}", POOL),
        ("l2advertisements", "L2Advertisement", "typed", "spec: {nodeSelectors: 7}", "spec"),
    ];
    let mut held = Vec::new();
    for (_, kind, name, rest, _) in bad {
        held.push(lab.wait_until("the loosened CRD in force", SOON, || {
            Held::any(lab, name, object(kind, name, rest)).map(Some)
        })?);
    }
    for (plural, _, name, _, what) in bad {
        let (_, text) = lab.wait_until(&format!("a condition of {plural} {name}"), SOON, || {
            Ok(condition(lab, plural, name, "Valid")?.filter(|(status, _)| status == "False"))
        })?;
        ensure!(text.contains(what), "{name}: no {what:?} in: {text}");
    }
    // MetalLB's manual begins with an advertisement without spec: it is for all pools.
    held.push(Held::any(lab, "bare", object("L2Advertisement", "bare", ""))?);
    lab.wait_until("the bare advertisement in force", SOON, || {
        Ok(in_force(lab, "l2advertisements", "bare")?.then_some(()))
    })?;
    // Others of the kind go on: new ones are read, Services get and keep addresses.
    let fresh = Held::apply(lab, &Service::new("fresh"))?;
    ensure!(in_pool(fresh.address()?));
    answered(lab, &prober(lab)?, fresh.address()?)?;
    // The good pool becomes one of the bad ones: what it allowed stays in force.
    lab.apply(&object("IPAddressPool", POOL, "spec: {addresses: [nonsense]}"))?;
    lab.wait_until("the pool set aside", SOON, || {
        Ok((!in_force(lab, "ipaddresspools", POOL)?).then_some(()))
    })?;
    ensure!(before.address()? == address, "the address moved");
    let answers = prober(lab)?.ask_all(address, QUIET)?;
    ensure!(answers.len() == 1, "{answers:?}");
    Held::apply(lab, &Service::new("still"))?.address()?;
    lab.apply(&pool())?;
    lab.wait_until("the pool in force again", SOON, || {
        Ok(in_force(lab, "ipaddresspools", POOL)?.then_some(()))
    })?;
    short(lab)
}

/// No line holds an object's body, and none is repeated for ever.
fn short(lab: &Lab) -> Result<()> {
    for file in lab.pod_logs(NAMESPACE) {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let body = text.lines().find(|line| line.len() > 2000 || line.contains("\"managedFields\""));
        ensure!(body.is_none(), "{}: {}", file.display(), body.unwrap_or_default());
        let about =
            text.lines().filter(|line| line.contains("empty") && line.contains("cannot be read")).count();
        ensure!(about <= 4, "{}: {about} lines about one object", file.display());
    }
    Ok(())
}
