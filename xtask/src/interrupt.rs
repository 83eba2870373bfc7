//! Ctrl-C: remembered here, obeyed by whoever waits for a child.
//!
//! Children run in process groups of their own, so a terminal's Ctrl-C reaches
//! xtask alone. It is passed on by [`crate::run`], which then waits: a lab that
//! is interrupted removes its namespaces before it ends.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static REQUESTED: AtomicBool = AtomicBool::new(false);

extern "C" fn remember(_: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Notes SIGINT and SIGTERM from now on instead of dying by them.
///
/// # Errors
/// When the kernel refuses the handler.
pub(crate) fn install() -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(remember), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action)? };
    }
    Ok(())
}

/// Whether somebody wants this to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
