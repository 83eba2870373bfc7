//! clarion-agent. Everything is in the library.

use std::process::ExitCode;

use clarion_agent::args::{Args, Command};
use clarion_agent::{cleanup, log, run};

// One thread for the slow half; the fast half makes its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::from_command_line();
    let result = match log::start(&args) {
        Ok(()) => match args.command {
            Some(Command::Cleanup) => cleanup::cleanup(&args).await,
            None => run::run(args).await,
        },
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Also without a logger this must be seen.
            eprintln!("clarion-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
