//! One set-up at a time for each thing that is built: parallel runs wait for the
//! first and then find what it made.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::ui::Step;

/// How often the lock is tried.
const TICK: Duration = Duration::from_millis(200);

/// Holds the lock of `file` until the returned file is dropped.
///
/// # Errors
/// When the file cannot be made, and on Ctrl-C.
pub(super) fn hold(file: &Path, step: &Step<'_>) -> Result<File> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file)
        .with_context(|| format!("the lock {} cannot be opened", file.display()))?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if interrupt::requested() => bail!("interrupted"),
            Err(TryLockError::WouldBlock) => step.now("another set-up is at it; waiting"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("the lock {} cannot be taken", file.display()));
            }
        }
        thread::sleep(TICK);
    }
}
