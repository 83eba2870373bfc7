//! The words of the command line, and what each one calls.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::ui::Ui;
use crate::workspace::Workspace;
use crate::{bench, build, checks, demo, generate, image, interrupt, setup, test, tidy};

/// Everything that is done to this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Finds or installs what the lab and the BPF build need. Run by `demo`, `test` and `bench` themselves.
    Setup {
        /// Only look: install and build nothing, exit 1 when something is missing.
        #[arg(long)]
        check: bool,
    },
    /// Builds the BPF object and the shipped binaries.
    Build,
    /// Writes the generated files (CRDs, RBAC, counter names) anew.
    Generate {
        /// Write nothing; exit 1 when a file differs from what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Checks the architecture's arrows, file sizes, module docs and generated files.
    Tidy,
    /// Formats every crate and the Go module.
    Fmt,
    /// What CI refuses before any test runs: formatting, clippy without warnings, tidy.
    Lint,
    /// Runs the test suites; all of them when none is named.
    Test {
        /// Suites, in the order in which they run.
        #[arg(value_name = "SUITE", value_enum)]
        suites: Vec<test::SuiteName>,
        /// Also the long cases: more property runs and repetitions.
        #[arg(long)]
        long: bool,
    },
    /// Measures; all groups when none is named.
    Bench {
        /// Groups: dataplane, layer2, bgp, addresses, operate.
        #[arg(value_name = "GROUP")]
        groups: Vec<String>,
        /// Also write the rows to a file, as a JSON array.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Ten thousand Services where a short run has one thousand: half an hour more.
        #[arg(long)]
        full: bool,
    },
    /// A Service gets an address, is found by the network, and survives a power-off: on real parts, narrated.
    Demo {
        /// Keep the lab up afterwards (the default on a terminal); Ctrl-C ends it.
        #[arg(long)]
        hold: bool,
        /// Also write the steps to a file, as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Writes the container image as an archive for `docker load`, `podman load` or `ctr images import`.
    Image {
        /// Where to; `target/image/clarion-dev.tar` if not given.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Parses, runs, and says why it failed.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = interrupt::install() {
        eprintln!("xtask: Ctrl-C cannot be handled, remains may be left behind: {error}");
    }
    match dispatch(cli.word) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            if interrupt::requested() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(word: Word) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let ui = Ui::new();
    match word {
        Word::Setup { check } => {
            let setup = setup::run(&workspace, &ui, setup::Mode::from_check(check), &|_| Ok(()))?;
            setup.print();
            setup.require()?;
        }
        Word::Build => build::run(&workspace, &ui)?,
        Word::Generate { check } => generate::run(&workspace.root, check)?,
        Word::Tidy => return tidy::command(&workspace),
        Word::Fmt => checks::format(&workspace)?,
        Word::Lint => return checks::command(&workspace, &ui),
        Word::Test { suites, long } => return test::command(&workspace, &ui, &suites, long),
        Word::Bench { groups, json, full } => {
            bench::command(&workspace, &ui, &groups, json.as_deref(), full)?;
        }
        Word::Demo { hold, json } => demo::command(&workspace, &ui, hold, json.as_deref())?,
        Word::Image { output } => image::command(&workspace, &ui, output)?,
    }
    Ok(ExitCode::SUCCESS)
}
