//! Finds the BPF objects that the crate embeds.
//!
//! They are built by another compiler than the host's, hence not from here.

use std::path::Path;

fn main() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let objects = Path::new(&manifest).join("../../target/bpf");
    for object in ["clarion.o", "pass.o"] {
        let path = objects.join(object);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            println!("cargo::error={} is missing: run `cargo xtask build`", path.display());
            return;
        }
    }
    println!("cargo::rustc-env=CLARION_BPF={}", objects.display());
}
