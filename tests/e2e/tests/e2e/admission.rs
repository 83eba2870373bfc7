//! What the API server accepts and refuses by the generated CRDs alone.

use anyhow::{Context, Result, bail, ensure};
use clarion_e2e::harness::Case;
use clarion_e2e::look::Held;
use clarion_lab::Lab;
use clarion_lab::tools::manifests;
use std::path::PathBuf;

pub(crate) const CASES: &[Case] = &[
    ("every object that users were promised is accepted", accepted),
    ("every object that is wrong by itself is refused with field and remedy", refused),
    ("BGPPeer v1beta1 is still served", old_peer),
];

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
    for file in fixtures("accept")? {
        // A dry run goes through all of validation and leaves nothing.
        for document in documents(&std::fs::read_to_string(&file)?) {
            lab.kubectl_stdin(&["apply", "--dry-run=server", "-f", "-"], &document)
                .with_context(|| format!("{}\n{document}", file.display()))?;
        }
    }
    Ok(())
}

fn refused(lab: &mut Lab) -> Result<()> {
    for file in fixtures("refuse")? {
        for document in documents(&std::fs::read_to_string(&file)?) {
            let result = lab.kubectl_stdin(&["apply", "--dry-run=server", "-f", "-"], &document);
            let Err(error) = result else { bail!("{}: accepted:\n{document}", file.display()) };
            let text = format!("{error:#}");
            ensure!(
                text.contains("is invalid") || text.contains("strict decoding"),
                "{}: refused for another reason: {text}",
                file.display()
            );
            // A fixture says in comments what the user must be told.
            for word in document.lines().filter_map(|l| l.trim().strip_prefix("# expect:")) {
                ensure!(text.contains(word.trim()), "{}: no {word:?} in: {text}", file.display());
            }
        }
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

/// The documents of a YAML file that hold an object.
fn documents(text: &str) -> Vec<String> {
    let parts = text.split("\n---");
    parts.map(|p| p.trim_start_matches("---").trim().to_owned()).filter(|p| p.contains("kind:")).collect()
}
