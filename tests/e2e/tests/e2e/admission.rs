//! What the API server accepts and refuses by the generated CRDs alone.

use anyhow::{Context, Result, bail, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::{Held, WithoutPolicies, try_create};
use clarion_e2e::objects::Service;
use clarion_lab::Lab;
use clarion_lab::tools::manifests;
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) const CASES: &[Case] = &[
    ("every object that users were promised is accepted", accepted),
    ("every object that is wrong by itself is refused with field and remedy", refused),
    ("BGPPeer v1beta1 is still served", old_peer),
    ("two hundred malformed objects are refused to the word and nothing assigned is lost", malformed),
];

const DRY_RUN: [&str; 4] = ["apply", "--dry-run=server", "-f", "-"];

/// The files of `common/api/tests/fixtures/NAME`.
fn fixtures(name: &str) -> Result<Vec<PathBuf>> {
    let dir = manifests()?.join("../common/api/tests/fixtures").join(name);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        files.push(entry?.path());
    }
    files.sort();
    ensure!(!files.is_empty(), "no fixtures in {}", dir.display());
    Ok(files)
}

fn accepted(lab: &mut Lab) -> Result<()> {
    // They overlap the lab's own pools and each other; here only the schema judges.
    let _by_schema_alone = WithoutPolicies::new(lab)?;
    for file in fixtures("accept")? {
        for document in documents(&std::fs::read_to_string(&file)?) {
            make_namespace(lab, &document)?;
            // A dry run goes through all of validation and leaves nothing.
            lab.kubectl_stdin(&DRY_RUN, &document)
                .with_context(|| format!("{}\n{document}", file.display()))?;
        }
    }
    Ok(())
}

/// Users' objects live in namespaces of theirs.
fn make_namespace(lab: &Lab, document: &str) -> Result<()> {
    for name in document.lines().filter_map(|line| line.strip_prefix("  namespace: ")) {
        if lab.get(&format!("/api/v1/namespaces/{name}"))?.is_none() {
            lab.kubectl(&["create", "namespace", name])?;
        }
    }
    Ok(())
}

/// A fixture's first line says what the user must be told; its last document is
/// refused, those before it are what it is a change of.
fn refused(lab: &mut Lab) -> Result<()> {
    for file in fixtures("refuse")? {
        let text = std::fs::read_to_string(&file)?;
        let name = file.display();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        let expected = expected.with_context(|| format!("{name}: the first line is not `# expect: …`"))?;
        let documents = documents(&text);
        let (last, before) = documents.split_last().with_context(|| format!("{name}: no object"))?;
        let held =
            before.iter().map(|one| Held::any(lab, "fixture", one.clone())).collect::<Result<Vec<_>>>()?;
        let Err(error) = lab.kubectl_stdin(&DRY_RUN, last) else { bail!("{name}: accepted:\n{last}") };
        let told = format!("{error:#}");
        ensure!(told.contains(expected), "{name}: no {expected:?} in: {told}");
        drop(held);
    }
    Ok(())
}

fn old_peer(lab: &mut Lab) -> Result<()> {
    let yaml = "apiVersion: metallb.io/v1beta1\nkind: BGPPeer\nmetadata: {name: old, namespace: metallb-system}\n\
                spec: {myASN: 64512, peerASN: 64999, peerAddress: 192.0.2.9}\n";
    let held = Held::any(lab, "old", yaml.to_owned())?;
    let both = ["v1beta1", "v1beta2"];
    for version in both {
        let path = format!("/apis/metallb.io/{version}/namespaces/metallb-system/bgppeers/old");
        let peer = lab.get(&path)?.with_context(|| format!("not served as {version}"))?;
        ensure!(peer["spec"]["peerAddress"] == "192.0.2.9", "{version}: {peer}");
    }
    held.delete()
}

/// `common/api/tests/fixtures/malformed.json`: the parser's half of it is tested in common/config.
fn malformed(lab: &mut Lab) -> Result<()> {
    let file = manifests()?.join("../common/api/tests/fixtures/malformed.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let service = Held::apply(lab, &Service::new("unmoved"))?;
    let address = service.address()?;
    let mut wrong = Vec::new();
    let mut sent = 0;
    for case in cases.iter().filter(|case| case["server"].is_string()) {
        let version = if case["kind"] == "BGPPeer" { "v1beta2" } else { "v1beta1" };
        let mut object = json!({
            "apiVersion": format!("metallb.io/{version}"), "kind": case["kind"],
            "metadata": {"name": "malformed", "namespace": "metallb-system"},
        });
        if let Some(spec) = case.get("spec") {
            object["spec"] = spec.clone();
        }
        let expected = case["server"].as_str().unwrap_or_default();
        let told = try_create(lab, &object).err().map(|error| format!("{error:#}"));
        if !told.as_ref().is_some_and(|told| told.contains(expected)) {
            wrong.push(format!("{case}\n  told: {told:?}"));
        }
        sent += 1;
    }
    ensure!(sent >= 100, "only {sent} objects");
    ensure!(wrong.is_empty(), "{} of {sent}:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(service.address()? == address, "the address is another one");
    Ok(())
}

/// The documents of a YAML file that hold an object.
fn documents(text: &str) -> Vec<String> {
    let parts = text.split("\n---");
    parts.map(|p| p.trim_start_matches("---").trim().to_owned()).filter(|p| p.contains("kind:")).collect()
}
