//! Ctrl-C and SIGTERM: take every lab of this process down, then end.
//!
//! The reapers would do it anyway once the process is gone; a person who typed
//! Ctrl-C shall get the prompt back when everything is gone, and not before.

use crate::reaper::Reaper;
use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Mutex, Weak};

static REAPERS: Mutex<Vec<Weak<Reaper>>> = Mutex::new(Vec::new());

pub(crate) fn register(reaper: &Arc<Reaper>) {
    if let Ok(mut all) = REAPERS.lock() {
        all.retain(|weak| weak.strong_count() > 0);
        all.push(Arc::downgrade(reaper));
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP end the process with status 128 + signal
/// after its labs are gone. To be called first in `main`, before any thread is
/// started: threads inherit the set of blocked signals. (Children do not: the
/// standard library clears it for them.)
///
/// # Errors
/// When the signals cannot be blocked or the thread cannot be started.
pub fn exit_on_signals() -> Result<()> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().context("block signals")?;
    let wait = move || {
        let signal = set.wait().map_or(Signal::SIGTERM as i32, |signal| signal as i32);
        eprintln!("\nlab: signal {signal}, cleaning up");
        let all = REAPERS.lock().map(|all| all.clone()).unwrap_or_default();
        for reaper in all.iter().filter_map(Weak::upgrade) {
            reaper.finish();
        }
        std::process::exit(128 + signal);
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("signal thread")?;
    Ok(())
}
