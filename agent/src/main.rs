//! clarion-agent. Everything is in the library.

use std::process::ExitCode;

use clarion_agent::args::{Args, Command};
use clarion_agent::{cleanup, run};

// One thread for the slow half; the fast half makes its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::from_command_line();
    clarion_daemon::log::start(args.log_level, args.log_format);
    let result = match args.command {
        Some(Command::Cleanup) => cleanup::cleanup(&args).await,
        None => run::run(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Also with --log-level=none this must be seen.
            eprintln!("clarion-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
