//! `clarion-bench`: see [`clarion_bench::cli`]. Started by `cargo xtask bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion_bench::cli::main()
}
