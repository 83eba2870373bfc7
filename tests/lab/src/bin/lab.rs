//! `lab`: keeps a lab up for a person to look around in.
//!
//! `lab [--bare | --wires] [NODES]` starts the usual lab (with `--bare` without
//! Clarion, with `--wires` without a control plane either), prints how to reach its parts and ends it on Enter, end of input or Ctrl-C.

use anyhow::{Context, Result};
use clarion_lab::{Lab, Spec};

fn main() -> Result<()> {
    clarion_lab::signals::exit_on_signals()?;
    let mut spec = Spec::cluster();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bare" => spec.clarion = false,
            "--wires" => spec = Spec::wires(spec.nodes, spec.clients),
            number => {
                spec.nodes = number
                    .parse()
                    .with_context(|| format!("{number}: --bare, --wires or a number of nodes"))?;
            }
        }
    }
    let lab = Lab::start_observed(spec, &mut |step, took| println!("{:>6} ms  {step}", took.as_millis()))?;
    println!("\n{}\n\nEnter or Ctrl-C ends the lab.", lab.directions());
    std::io::stdin().read_line(&mut String::new())?;
    lab.stop();
    Ok(())
}
