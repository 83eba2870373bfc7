//! clarion-controller: reads the command line and runs the library.

use clarion_controller::args::Args;
use clarion_controller::runtime;

/// The work is waiting for the API server; two threads are enough, and each costs memory.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    let args = Args::from_command_line();
    clarion_daemon::log::start(args.log_level, args.log_format);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?
        .block_on(runtime::run(args))
}
