//! `cargo xtask`: everything that is done to this repository, from one command.
//!
//! Set-up, builds, generated files, tests, benchmarks, the demo and the image are
//! subcommands, so that a developer and the CI run the very same steps and a
//! newcomer needs to learn one word. `cli.rs` has the words, each module one of them.

use std::process::ExitCode;

mod before;
mod bench;
mod build;
mod checks;
mod cli;
mod demo;
mod ebpf;
mod generate;
mod image;
mod interrupt;
mod run;
mod setup;
mod test;
mod tidy;
mod ui;
mod workspace;

fn main() -> ExitCode {
    cli::main()
}
