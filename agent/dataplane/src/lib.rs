//! The only room with aya: load, pin, adopt, attach, map plan and apply, counters.
//!
//! Everything here outlives the process. Maps, program and links are pinned below
//! `<pin_dir>/v<ABI>`; an agent that starts opens them and the kernel goes on
//! answering meanwhile. Nothing is deleted at opening: only [`Dataplane::apply`]
//! deletes, by a plan that the caller made after its caches were synced.
//!
//! The loop is `observe` -> [`Plan::new`] -> `apply` -> [`Report`].
//! Calls are short system calls; none waits for anything but the kernel. One
//! process at a time may hold a pin directory.

mod apply;
mod attach;
mod counter;
mod error;
mod model;
mod object;
pub mod pass;
mod pins;
mod plan;
mod report;
mod sys;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

pub use error::{Error, ItemError};
pub use model::{
    AddressKey, AttachMode, AttachedMode, Attachment, ConflictReport, Counters, Desired, Entry, Observed,
    Options,
};
pub use plan::Plan;
pub use report::{Action, Item, Report};

use clarion_abi::{SHARED_COUNTER, Slot};
use counter::CounterIndices;
use object::Loaded;
use pins::{LinkPin, Pins};

/// The kernel's part of this node, opened.
#[derive(Debug)]
pub struct Dataplane {
    options: Options,
    pins: Pins,
    loaded: Loaded,
    /// What the maps hold; this process is their only writer.
    slots: BTreeMap<AddressKey, Slot>,
    indices: CounterIndices,
}

impl Dataplane {
    /// Adopts what is pinned if it is of this ABI, else loads and pins. Links of
    /// a predecessor stay as they are until [`Self::apply`].
    ///
    /// The kernel answers and silences only after the first [`Self::beat`].
    ///
    /// # Errors
    /// No BPF file system, a missing capability, a kernel that refuses the
    /// program, or pins that something else wrote.
    pub fn open(options: Options) -> Result<Self, Error> {
        let pins = Pins::new(&options.pin_dir);
        pins.prepare()?;
        let loaded = Loaded::open(&pins)?;
        let grace = nanoseconds(options.restart_grace);
        loaded.tables.update_control(|control| control.grace = grace)?;
        let slots = loaded.tables.slots()?;
        let indices = CounterIndices::new(slots.values().map(|slot| slot.counter));
        Ok(Self { options, pins, loaded, slots, indices })
    }

    /// Reads maps and links back from the kernel.
    ///
    /// # Errors
    /// A map or pin could not be read.
    pub fn observe(&self) -> Result<Observed, Error> {
        let links = self.pins.links()?;
        let slots = self.loaded.tables.slots()?;
        let interfaces = self.live(&links);
        let gone: BTreeSet<u32> =
            links.iter().filter(|pin| pin.program.is_none()).map(|pin| pin.ifindex).collect();
        let filter_fits = self.loaded.tables.filter()? == tables::filter_of(slots.keys());
        let addresses = slots.iter().map(|(key, slot)| (*key, tables::entry(slot))).collect();
        Ok(Observed { interfaces, gone, addresses, filter_fits })
    }

    /// Carries a plan out, item by item, and goes on after a failure.
    pub fn apply(&mut self, plan: &Plan) -> Report {
        apply::apply(self, plan)
    }

    /// Tells the kernel that the agent lives: the restart grace begins anew.
    ///
    /// # Errors
    /// The clock or the map failed.
    pub fn beat(&self) -> Result<(), Error> {
        let now = sys::boot_clock().map_err(Error::Clock)?;
        self.loaded.tables.update_control(|control| control.heartbeat = nanoseconds(now))
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// A map could not be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        let tables = &self.loaded.tables;
        let mut counters = Counters { outcomes: tables.outcomes()?, ..Counters::default() };
        for (key, slot) in &self.slots {
            // Addresses beyond the counters share one, which says nothing of any.
            if matches!(tables::entry(slot), Entry::Silence) || slot.counter == SHARED_COUNTER {
                continue;
            }
            counters.answers.insert(*key, tables.answers(slot.counter)?);
            if let Some(conflict) = tables.conflict(slot.counter)? {
                counters.conflicts.insert(*key, conflict);
            }
        }
        Ok(counters)
    }

    /// Live attachments, by interface index.
    ///
    /// # Errors
    /// The pins could not be read.
    pub fn attachments(&self) -> Result<BTreeMap<u32, AttachedMode>, Error> {
        let links = self.pins.links()?;
        Ok(self.live(&links).into_iter().map(|(ifindex, attachment)| (ifindex, attachment.mode)).collect())
    }

    /// Removes every trace below a pin directory, of every ABI version: programs
    /// are detached and every frame passes again. Nothing there is no error.
    ///
    /// # Errors
    /// A pin could not be removed.
    pub fn cleanup(pin_dir: &Path) -> Result<(), Error> {
        Pins::new(pin_dir).remove_all()
    }

    fn live(&self, links: &[LinkPin]) -> BTreeMap<u32, Attachment> {
        let attachment = |pin: &LinkPin| {
            let program = pin.program?;
            let current = pin.ours && program == self.loaded.program_id && self.options.mode.admits(pin.mode);
            Some((pin.ifindex, Attachment { mode: pin.mode, current }))
        };
        links.iter().filter_map(attachment).collect()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
