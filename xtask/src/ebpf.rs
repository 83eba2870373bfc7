//! Builds the BPF objects, with whichever toolchain the machine has.
//!
//! An ordinary machine has a rustup nightly with `rust-src` and builds `core`
//! itself; Debian and Ubuntu carry a compiler with a prebuilt `core` for BPF. Both
//! need `bpf-linker`, from PATH or from Clarion's own cache of tools.
//!
//! The objects go to `target/bpf`, and are touched only when they differ, since
//! the data plane embeds them and is recompiled when they change.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The version that set-up installs when there is none.
pub(crate) const BPF_LINKER_VERSION: &str = "0.10.3";

/// Binaries of package clarion-ebpf, and the names of their objects.
const OBJECTS: [(&str, &str); 3] =
    [("clarion-xdp", "clarion.o"), ("clarion-xdp-pass", "pass.o"), ("clarion-xdp-bench", "bench.o")];

const TARGET: &str = "bpfel-unknown-none";

/// A compiler that makes BPF objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// rustup's nightly with `rust-src`, which builds `core`.
    Nightly,
    /// The distribution's cargo at this path, with a prebuilt `core`.
    Distribution(PathBuf),
}

/// Where Clarion keeps tools that it built: `$XDG_CACHE_HOME/clarion/tools`.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn tools_dir() -> anyhow::Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(cache.join("clarion/tools"))
}

/// The bpf-linker to use: the one on PATH, else the one in the cache.
pub(crate) fn find_bpf_linker() -> Option<PathBuf> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&on_path)
        .map(|dir| dir.join("bpf-linker"))
        .chain(tools_dir().ok().map(|dir| dir.join("bin/bpf-linker")))
        .find(|path| path.is_file())
}

/// The compiler to use, if there is one.
pub(crate) fn find_toolchain() -> Option<Toolchain> {
    let nightly = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    if nightly.is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Some(Toolchain::Nightly);
    }
    let core = Path::new("/usr/lib/rustlib").join(TARGET);
    let cargo = PathBuf::from("/usr/bin/cargo");
    (core.is_dir() && cargo.is_file()).then_some(Toolchain::Distribution(cargo))
}

/// Command that installs bpf-linker into the cache.
///
/// # Errors
/// As [`tools_dir`].
pub(crate) fn install_bpf_linker() -> anyhow::Result<Command> {
    let mut command = Command::new("cargo");
    command
        .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--root"])
        .arg(tools_dir()?);
    Ok(command)
}

/// Builds all objects and returns the path of the shipped one,
/// `target/bpf/clarion.o` below `root`.
///
/// # Errors
/// No toolchain, no linker (the message has the commands), or the compiler failed.
pub(crate) fn build(root: &Path, verbose: bool) -> anyhow::Result<PathBuf> {
    let Some(toolchain) = find_toolchain() else {
        bail!(
            "no compiler for BPF: install rustup's (rustup toolchain install nightly --component rust-src) \
             or the distribution's (apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf)"
        );
    };
    let Some(linker) = find_bpf_linker() else {
        bail!(
            "bpf-linker is neither on PATH nor in {}: cargo install bpf-linker --version {BPF_LINKER_VERSION} \
             --locked --root {0}",
            tools_dir()?.display()
        );
    };
    let build_dir = root.join("target/bpf-build");
    let mut command = compiler(&toolchain, &linker)?;
    command.current_dir(root).arg("--target-dir").arg(&build_dir);
    if verbose {
        command.arg("--verbose").stderr(Stdio::inherit());
    } else {
        // The compiler warns of an unstable target feature each time; what it
        // says matters only when it fails.
        command.arg("--quiet").stderr(Stdio::piped());
    }
    let output = command
        .stdin(Stdio::null())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "building the BPF objects failed ({}) with {toolchain:?} and {}\n{}",
            output.status,
            linker.display(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    let built = build_dir.join(TARGET).join("release");
    let output = root.join("target/bpf");
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    for (binary, object) in OBJECTS {
        copy_if_changed(&built.join(binary), &output.join(object))?;
    }
    Ok(output.join("clarion.o"))
}

/// The cargo command, with everything that it must not inherit set anew.
fn compiler(toolchain: &Toolchain, linker: &Path) -> anyhow::Result<Command> {
    let mut command = match toolchain {
        Toolchain::Nightly => {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", "cargo", "build", "-Zbuild-std=core"]);
            command
        }
        Toolchain::Distribution(cargo) => {
            let mut command = Command::new(cargo);
            command.arg("build");
            command.env("RUSTC", cargo.with_file_name("rustc"));
            // bpf-linker opens the compiler's own LLVM and looks no further.
            let libraries: Vec<PathBuf> =
                [format!("/usr/lib/{}-linux-gnu", env::consts::ARCH), "/usr/lib64".into()]
                    .into_iter()
                    .map(PathBuf::from)
                    .filter(|dir| dir.is_dir())
                    .collect();
            command.env("LD_LIBRARY_PATH", env::join_paths(libraries)?);
            command.env("PATH", path_with(cargo.parent())?);
            command
        }
    };
    command
        .args(["--release", "--locked", "--package", "clarion-ebpf", "--bins", "--target", TARGET])
        // aya-ebpf needs an unstable feature of the compiler (inline assembly on BPF).
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO_BUILD_TARGET")
        .env("RUSTFLAGS", flags(linker))
        // The workspace's profile suits agents. A BPF program has nowhere to
        // panic to, and is one unit for the verifier.
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2");
    Ok(command)
}

/// cpu v3 (32-bit arithmetic) is in every kernel since 5.1, v4 only since 6.6.
/// Packet fields are not aligned; both architectures of the image load them whole.
fn flags(linker: &Path) -> OsString {
    let mut flags = OsString::from("-C linker=");
    flags.push(linker);
    flags.push(" -C link-arg=--btf -C target-cpu=v3");
    flags.push(" -C target-feature=+allows-misaligned-mem-access");
    flags
}

fn path_with(first: Option<&Path>) -> anyhow::Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = first.map(Path::to_path_buf).into_iter().chain(env::split_paths(&rest));
    env::join_paths(all).context("PATH has an entry that cannot be joined")
}

fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // Renamed into place: another build may be reading the old one.
    let temporary = to.with_extension(format!("o.{}", std::process::id()));
    fs::write(&temporary, &new).with_context(|| format!("cannot write {}", temporary.display()))?;
    fs::rename(&temporary, to).with_context(|| format!("cannot replace {}", to.display()))
}
