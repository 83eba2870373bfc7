//! `cargo xtask image`: the container image as a `docker-archive`, without Docker.
//!
//! The image is one layer of the two static binaries: there is nothing to run at
//! build time, so no builder is needed. It is reproducible: no times, no users,
//! sorted names. `manifests/` names it `clarion:dev`. The stripped binaries are
//! left beside it, as the context of `manifests/Containerfile`, which makes the
//! same image with a builder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::build;
use crate::setup::{self, Mode};
use crate::ui::Ui;
use crate::workspace::{Workspace, which};

mod tar;

/// The name that the manifests use.
const NAME: &str = "clarion:dev";

/// What goes in, under these names in the root folder.
const BINARIES: [&str; 2] = ["clarion-agent", "clarion-controller"];

/// The command itself.
///
/// # Errors
/// When a part is missing, something does not compile, or the file cannot be written.
pub(crate) fn command(workspace: &Workspace, ui: &Ui, output: Option<PathBuf>) -> Result<()> {
    setup::run(workspace, ui, Mode::Build, &|_| Ok(()))?.require()?;
    build::all(workspace, ui)?;
    let output = output.unwrap_or_else(|| workspace.root.join("target/image/clarion-dev.tar"));
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let step = ui.step("image", NAME);
    let mut files = Vec::new();
    for name in BINARIES {
        files.push((name.to_owned(), stripped(&workspace.bin.join(name), &folder.join(name))?));
    }
    let archive = archive(&files)?;
    fs::write(&output, &archive).with_context(|| format!("{} cannot be written", output.display()))?;
    step.done(&format!("{} of {:.1} MB in {}", NAME, archive.len() as f64 / 1e6, output.display()));
    println!("docker load -i {0}\npodman load -i {0}\nctr -n k8s.io images import {0}", output.display());
    Ok(())
}

/// Writes a binary without debug information and returns it; the one in the
/// build's folder stays whole.
fn stripped(binary: &Path, to: &Path) -> Result<Vec<u8>> {
    let strip = which("strip").context("strip is missing: install binutils, which a linker needs anyway")?;
    let done =
        Command::new(strip).arg("-o").arg(to).arg(binary).status().context("strip cannot be started")?;
    ensure!(done.success(), "strip {}: {done}", binary.display());
    fs::read(to).with_context(|| format!("{} cannot be read", to.display()))
}

/// The archive of a single-layer image with these executables.
fn archive(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut layer = tar::Writer::default();
    for (name, bytes) in files {
        layer.file(name, bytes, 0o755)?;
    }
    let layer = layer.finish();
    let digest = sha256(&layer);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // As manifests/Containerfile says it.
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": "65534:65534",
            "Cmd": ["/clarion-controller", "--help"],
            "Labels": { "org.opencontainers.image.title": "Clarion" },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created_by": "cargo xtask image" }],
    }))?;
    let config_name = format!("{}.json", sha256(&config));
    let layer_name = format!("{digest}.tar");
    let manifest = serde_json::to_vec(&json!([
        { "Config": config_name, "RepoTags": [NAME], "Layers": [layer_name] }
    ]))?;
    let mut image = tar::Writer::default();
    image.file(&config_name, &config, 0o644)?;
    image.file(&layer_name, &layer, 0o644)?;
    image.file("manifest.json", &manifest, 0o644)?;
    Ok(image.finish())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_one_that_tar_reads_and_its_digests_fit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        fs::write(&file, archive(&[("clarion-agent".to_owned(), b"binary".to_vec())]).unwrap()).unwrap();
        let unpacked =
            Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(folder.path()).status().unwrap();
        assert!(unpacked.success());
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
        let config_name = manifest[0]["Config"].as_str().unwrap();
        let config: serde_json::Value = serde_json::from_slice(&read(config_name)).unwrap();
        assert_eq!(config_name, format!("{}.json", sha256(&read(config_name))));
        let layer = read(manifest[0]["Layers"][0].as_str().unwrap());
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&layer)));
        fs::write(folder.path().join("layer.tar"), layer).unwrap();
        let list = Command::new("tar").arg("-tvf").arg(folder.path().join("layer.tar")).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert!(list.starts_with("-rwxr-xr-x 0/0") && list.trim_end().ends_with("clarion-agent"), "{list}");
    }

    #[test]
    fn the_same_binaries_make_the_same_image() {
        let files = [("a".to_owned(), vec![1; 1000])];
        assert_eq!(archive(&files).unwrap(), archive(&files).unwrap());
    }
}
