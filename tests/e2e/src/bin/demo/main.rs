//! `demo`: a Service created with kubectl, and what the network sees of it.
//!
//! Started by `cargo xtask demo`, which builds everything and sets the
//! environment. `--json FILE` writes the steps; `--hold` (the default on a
//! terminal; `--no-hold` for none) keeps the lab up at the end for a person.

mod story;
mod tell;

use anyhow::{Context, Result, bail};
use clarion_lab::{Lab, Spec};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tell::Teller;

/// The command line.
struct Options {
    json: Option<PathBuf>,
    hold: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options =
            Self { json: None, hold: std::io::stdin().is_terminal() && std::io::stdout().is_terminal() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => options.json = Some(words.next().context("--json FILE")?.into()),
                "--hold" => options.hold = true,
                "--no-hold" => options.hold = false,
                _ => bail!("{word}: usage: demo [--json FILE] [--hold | --no-hold]"),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<ExitCode> {
    clarion_lab::signals::exit_on_signals()?;
    let options = Options::parse(std::env::args().skip(1))?;
    let mut teller = Teller::default();
    let lab = play(&mut teller);
    teller.table();
    if let Some(file) = &options.json {
        std::fs::write(file, teller.json()?)
            .with_context(|| format!("--json {}: cannot be written", file.display()))?;
    }
    if let (true, Some(lab)) = (options.hold, &lab) {
        teller.hold(lab)?;
    }
    if let Some(lab) = lab {
        lab.stop();
        teller.note("The lab is gone: processes, namespaces, mounts.");
    }
    Ok(if teller.all_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the lab and plays the story; what fails is told and ends it.
fn play(teller: &mut Teller) -> Option<Lab> {
    teller.title();
    let begin = std::time::Instant::now();
    let started = Lab::start_observed(Spec::cluster(), &mut |what, took| teller.part(what, took));
    let mut lab = match started {
        Ok(lab) => lab,
        Err(error) => {
            teller.failed("The lab starts", begin.elapsed(), &error);
            return None;
        }
    };
    teller.passed(
        "The lab starts",
        begin.elapsed(),
        "3 nodes, 1 client, 1 FRR router, a real control plane",
        &[],
    );
    if let Err((step, took, error)) = story::play(&mut lab, teller) {
        teller.failed(step, took, &error);
    }
    Some(lab)
}
