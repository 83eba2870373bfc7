//! `kubectl clarion`: see `clarion_cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    clarion_cli::main()
}
