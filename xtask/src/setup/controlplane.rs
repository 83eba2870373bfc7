//! The lab's Kubernetes: etcd, API server, controller manager, scheduler,
//! kube-proxy, kubectl, and the lab's own kubelet.
//!
//! Each binary is taken from `KUBEBUILDER_ASSETS`, then from PATH where its minor
//! release is the lab's, else from the multi-call binary of
//! `tests/lab/controlplane`, which is built once per sources and Go version.
//! lab-kubelet is ours and always comes from there. The result is a folder of
//! links, one for each set of choices, so that parallel runs with different
//! environments do not change each other's.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::{Mode, Part, State, lock};
use crate::run;
use crate::ui::{Step, Ui};
use crate::workspace::{Workspace, is_executable};

/// Folder of the Go module.
pub(crate) const MODULE: &str = "tests/lab/controlplane";

/// What may come from elsewhere.
const KUBERNETES: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"];

/// What never does.
const OURS: &str = "lab-kubelet";

/// 7 minutes alone and 13 beside other work were measured on two cores.
const BUDGET: Duration = Duration::from_secs(35 * 60);

/// Builds that nobody has used for this long are removed from the cache.
const KEEP: Duration = Duration::from_secs(14 * 24 * 3600);

/// The folder for `CLARION_LAB_BIN`, if everything is there, and what to report.
#[derive(Debug)]
pub(super) struct ControlPlane {
    pub(super) bin: Option<PathBuf>,
    pub(super) parts: Vec<Part>,
}

/// Which release the module builds, and the key of its sources.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    /// For example `v1.36.3`.
    version: String,
    /// Hash of sources and Go version.
    key: String,
}

impl Source {
    fn minor(&self) -> &str {
        self.version.rsplit_once('.').map_or(&*self.version, |(minor, _)| minor)
    }
}

/// Finds or builds.
///
/// # Errors
/// When the module cannot be read or the cache not written, and on Ctrl-C.
pub(super) fn ensure(workspace: &Workspace, ui: &Ui, mode: Mode) -> Result<ControlPlane> {
    let since = Instant::now();
    let module = workspace.root.join(MODULE);
    let Some(go) =
        run::output_of(Command::new("go").args(["env", "GOVERSION", "GOARCH"]).current_dir(&module))
    else {
        let remedy = "install Go 1.26 or newer from https://go.dev/dl and put it on PATH".to_owned();
        let part = Part::new("Go", State::Missing { remedy }, "", since);
        return Ok(ControlPlane { bin: None, parts: vec![part] });
    };
    let source = source(&module, &go)?;
    let cache = workspace.cache.join("controlplane");
    let folder = cache.join(&source.key);
    let binary = folder.join("controlplane");
    let elsewhere = find_elsewhere(&source);
    let mut state = State::Found;
    if !is_executable(&binary) {
        if !mode.may_install() {
            let remedy = "cargo xtask setup".to_owned();
            let part =
                Part::new("control plane", State::Missing { remedy }, binary.display().to_string(), since);
            return Ok(ControlPlane { bin: None, parts: vec![part] });
        }
        let built: Vec<&str> =
            KUBERNETES.into_iter().filter(|name| !elsewhere.contains_key(name)).chain([OURS]).collect();
        let step = ui.step(
            "control plane",
            &format!(
                "go build of Kubernetes {} for {} (downloads 0.6 GB, 7-13 minutes, once)",
                source.version,
                built.join(", ")
            ),
        );
        match build(workspace, &source, &folder, &step) {
            Ok(()) => step.done(&binary.display().to_string()),
            Err(error) => {
                let text = format!("{error:#}");
                step.failed(&text);
                let remedy = format!("see {}", workspace.logs.join("controlplane.log").display());
                let part = Part::new("control plane", State::Missing { remedy }, "", since);
                return Ok(ControlPlane { bin: None, parts: vec![part] });
            }
        }
        state = State::Built;
        prune(&cache, &folder, ui);
    }
    touch(&folder);
    let bin = link(&folder, &binary, &elsewhere)?;
    let mut parts = vec![Part::new("control plane", state, binary.display().to_string(), since)];
    for (name, path) in &elsewhere {
        parts.push(Part::new(name, State::Found, path.display().to_string(), Instant::now()));
    }
    Ok(ControlPlane { bin: Some(bin), parts })
}

/// Reads the release from go.mod and hashes everything that enters the binary.
fn source(module: &Path, go: &str) -> Result<Source> {
    let manifest = fs::read_to_string(module.join("go.mod"))
        .with_context(|| format!("{} cannot be read", module.join("go.mod").display()))?;
    let version = kubernetes_version(&manifest).context("go.mod requires no k8s.io/kubernetes")?;
    let mut files = Vec::new();
    collect(module, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    hash.update(go.as_bytes());
    for file in &files {
        let name = file.strip_prefix(module).unwrap_or(file);
        let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(Source { version, key: hex(&hash.finalize()[..8]) })
}

fn kubernetes_version(manifest: &str) -> Option<String> {
    let line = manifest.lines().map(str::trim).map(|line| line.trim_start_matches("require "));
    let mut versions = line.filter_map(|line| line.strip_prefix("k8s.io/kubernetes "));
    versions.next()?.split_whitespace().next().map(str::to_owned)
}

/// go.mod, go.sum and the Go files that are not tests.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, files)?;
        } else if name == "go.mod"
            || name == "go.sum"
            || (name.ends_with(".go") && !name.ends_with("_test.go"))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Binaries of `KUBEBUILDER_ASSETS` and PATH that fit.
fn find_elsewhere(source: &Source) -> BTreeMap<&'static str, PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = assets.into_iter().chain(env::split_paths(&path)).collect();
    let mut found = BTreeMap::new();
    for name in KUBERNETES {
        let candidates = folders.iter().map(|folder| folder.join(name));
        if let Some(file) =
            candidates.filter(|file| is_executable(file)).find(|file| accept(name, file, source))
        {
            found.insert(name, file);
        }
    }
    found
}

/// Kubernetes' parts of another minor release would be another cluster than the
/// one the tests were written against; etcd before 3.5 lacks what watches need.
fn accept(name: &str, file: &Path, source: &Source) -> bool {
    let arguments: &[&str] = if name == "kubectl" { &["version", "--client"] } else { &["--version"] };
    run::output_of(Command::new(file).args(arguments))
        .is_some_and(|output| fits(name, &output, source.minor()))
}

fn fits(name: &str, output: &str, minor: &str) -> bool {
    let release = format!("{minor}.");
    match name {
        "etcd" => output.lines().filter_map(|line| line.strip_prefix("etcd Version: 3.")).any(|rest| {
            rest.split('.')
                .next()
                .and_then(|number| number.parse::<u32>().ok())
                .is_some_and(|number| number >= 5)
        }),
        "kubectl" => output.lines().any(|line| {
            line.strip_prefix("Client Version: ").is_some_and(|version| version.starts_with(&release))
        }),
        _ => output.strip_prefix("Kubernetes ").is_some_and(|version| version.starts_with(&release)),
    }
}

/// Builds into a name of its own and renames, so that a half-written binary is
/// never found.
fn build(workspace: &Workspace, source: &Source, folder: &Path, step: &Step<'_>) -> Result<()> {
    let cache = folder.parent().unwrap_or(folder);
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let _lock = lock::hold(&cache.join("lock"), step)?;
    let binary = folder.join("controlplane");
    if is_executable(&binary) {
        return Ok(()); // another run was faster
    }
    let partial = folder.join("controlplane.partial");
    let log = run::fresh_log(&workspace.logs, "controlplane")?;
    let mut packages = 0_u32;
    let finished = run::logged(go_build(workspace, source, &partial), &log, BUDGET, &mut |line| {
        if line.starts_with("go: downloading") {
            step.now(line);
        } else {
            packages += 1;
            step.now(&format!("{packages} packages compiled, newest {}", line.trim()));
        }
    })?;
    ensure!(finished.success(), "go build: {}\n{}", finished.why(), run::tail(&log));
    fs::rename(&partial, &binary).with_context(|| format!("{} cannot be put in place", binary.display()))
}

/// `go build` as reproducible as it gets, with the versions that clients ask for.
fn go_build(workspace: &Workspace, source: &Source, output: &Path) -> Command {
    let version = "k8s.io/component-base/version";
    let mut minor = source.minor().trim_start_matches('v').split('.');
    let (major, minor) = (minor.next().unwrap_or_default(), minor.next().unwrap_or_default());
    let flags = format!(
        "-s -w -X {version}.gitVersion={v} -X {version}.gitMajor={major} -X {version}.gitMinor={minor} \
         -X {version}.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion={v}",
        v = source.version
    );
    let mut command = Command::new("go");
    command.args(["build", "-v", "-buildvcs=false", "-trimpath", "-mod=readonly", "-ldflags", &flags, "-o"]);
    command.arg(output).arg(".").current_dir(workspace.root.join(MODULE));
    command.env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    command
}

/// A folder with one link for each program.
fn link(folder: &Path, binary: &Path, elsewhere: &BTreeMap<&'static str, PathBuf>) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for (name, path) in elsewhere {
        hash.update(name.as_bytes());
        hash.update(path.as_os_str().as_encoded_bytes());
    }
    let bin = folder.join(format!("bin-{}", hex(&hash.finalize()[..4])));
    fs::create_dir_all(&bin).with_context(|| format!("{} cannot be made", bin.display()))?;
    for name in KUBERNETES.into_iter().chain([OURS]) {
        let target = elsewhere.get(name).map_or(binary, PathBuf::as_path);
        let place = bin.join(name);
        if fs::read_link(&place).is_ok_and(|there| there == target) {
            continue;
        }
        let fresh = bin.join(format!(".{name}.{}", std::process::id()));
        std::os::unix::fs::symlink(target, &fresh)
            .with_context(|| format!("{} cannot be made", fresh.display()))?;
        fs::rename(&fresh, &place).with_context(|| format!("{} cannot be replaced", place.display()))?;
    }
    Ok(bin)
}

/// Notes that a build is in use.
fn touch(folder: &Path) {
    if let Err(error) = fs::write(folder.join("used"), b"") {
        eprintln!("xtask: {} cannot be marked as used: {error}", folder.display());
    }
}

/// Removes builds of other sources that nobody has used for long: 140 MB each.
fn prune(cache: &Path, keep: &Path, ui: &Ui) {
    let Ok(entries) = fs::read_dir(cache) else { return };
    for folder in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path != keep) {
        let used = fs::metadata(folder.join("used")).and_then(|meta| meta.modified()).ok();
        let old = used.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > KEEP);
        if old && folder.extension() != Some(OsStr::new("lock")) && fs::remove_dir_all(&folder).is_ok() {
            ui.say(&format!("  removed the unused build {}", folder.display()));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_go_mod_and_not_from_a_replacement() {
        let manifest = "require (\n\tk8s.io/kubectl v0.36.3\n\tk8s.io/kubernetes v1.36.3 // pinned\n)\n";
        assert_eq!(kubernetes_version(manifest).as_deref(), Some("v1.36.3"));
        assert_eq!(kubernetes_version("require k8s.io/kubernetes v1.40.0\n").as_deref(), Some("v1.40.0"));
        assert_eq!(kubernetes_version("replace k8s.io/kubernetes => ../k\n"), None);
    }

    #[test]
    fn only_the_same_minor_release_is_taken_from_elsewhere() {
        assert!(fits("kube-proxy", "Kubernetes v1.36.1", "v1.36"));
        assert!(!fits("kube-proxy", "Kubernetes v1.3.6", "v1.36"));
        assert!(!fits("kube-proxy", "Kubernetes v1.35.9", "v1.36"));
        assert!(fits("kubectl", "Client Version: v1.36.0\nKustomize Version: v5.5.0", "v1.36"));
        assert!(!fits("kubectl", "Client Version: v1.32.4-dispatcher", "v1.36"));
        assert!(fits("etcd", "etcd Version: 3.6.8\nGit SHA: x", "v1.36"));
        assert!(!fits("etcd", "etcd Version: 3.4.23", "v1.36"));
        assert!(!fits("etcd", "no etcd", "v1.36"));
    }

    #[test]
    fn the_key_follows_sources_and_compiler_but_not_tests() {
        let module = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(module.path().join(name), text).unwrap();
        write("go.mod", "require k8s.io/kubernetes v1.36.3\n");
        write("main.go", "package main\n");
        let key = |go: &str| source(module.path(), go).unwrap().key;
        let first = key("go1.26");
        write("main_test.go", "package main\n");
        assert_eq!(key("go1.26"), first, "a test does not enter the binary");
        assert_ne!(key("go1.27"), first);
        write("main.go", "package main // changed\n");
        assert_ne!(key("go1.26"), first);
    }

    #[test]
    fn links_are_replaced_when_a_choice_changes() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("controlplane");
        let bin = link(folder.path(), &binary, &BTreeMap::new()).unwrap();
        assert_eq!(fs::read_link(bin.join("etcd")).unwrap(), binary);
        let choice = BTreeMap::from([("etcd", PathBuf::from("/opt/etcd"))]);
        let other = link(folder.path(), &binary, &choice).unwrap();
        assert_ne!(other, bin, "another environment has a folder of its own");
        assert_eq!(fs::read_link(other.join("etcd")).unwrap(), Path::new("/opt/etcd"));
        assert_eq!(fs::read_link(other.join("lab-kubelet")).unwrap(), binary);
    }
}
