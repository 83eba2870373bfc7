//! The only room with aya: load, pin, adopt, attach, map plan and apply, counters.
//!
//! Everything here outlives the process. Maps, program and links are pinned below
//! `<pin_dir>/v<ABI>`; an agent that starts opens them and the kernel goes on
//! answering meanwhile. Nothing is deleted at opening: only [`Dataplane::apply`]
//! deletes, by a plan that the caller made after its caches were synced. The process
//! holds everything that it pinned, too: pins that somebody removes are missed by
//! the next `observe` and made again by its plan, and no frame notices.
//!
//! The loop is `observe` -> [`Plan::new`] -> `apply` -> [`Report`].
//! Calls are short system calls; none waits for anything but the kernel. One
//! process at a time may hold a pin directory.

mod apply;
mod attach;
mod choice;
mod counter;
mod error;
mod fence;
mod leftover;
mod links;
mod memory;
mod model;
mod object;
pub mod pass;
mod pins;
mod plan;
mod report;
mod route;
mod sys;
mod tables;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use error::{Error, ItemError};
pub use fence::Fence;
pub use leftover::{Leftover, Remedy, leftovers};
pub use model::{
    AddressKey, AttachMode, AttachedMode, Attachment, ChoiceReason, ConflictReport, Counters, Desired, Entry,
    Observed, Options,
};
pub use object::object;
pub use plan::Plan;
pub use report::{Action, Item, Report};
pub use votes::Votes;

use clarion_abi::{SHARED_COUNTER, Slot};
use counter::CounterIndices;
use links::{LinkState, Links};
use memory::Memory;
use object::Loaded;
use pins::Pins;
use route::Route;

/// The kernel's part of this node, opened.
#[derive(Debug)]
pub struct Dataplane {
    options: Options,
    pins: Pins,
    loaded: Loaded,
    links: Links,
    /// Locked for a moment only, never while anything is waited for.
    memory: Mutex<Memory>,
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
        sys::give_memory_back();
        let grace = nanoseconds(options.restart_grace);
        loaded.tables.update_control(|control| control.grace = grace)?;
        let links = Links::new(pins.links()?, Route::open().map_err(Error::Links)?);
        let slots = loaded.tables.slots()?;
        let indices = CounterIndices::new(slots.values().map(|slot| slot.counter));
        Ok(Self { options, pins, loaded, links, memory: Mutex::default(), slots, indices })
    }

    /// Reads maps and links back from the kernel.
    ///
    /// # Errors
    /// A map or pin could not be read.
    pub fn observe(&self) -> Result<Observed, Error> {
        let links = self.links.states().map_err(Error::Links)?;
        let slots = self.loaded.tables.slots()?;
        let interfaces = self.live(&links)?;
        let gone: BTreeSet<u32> =
            links.iter().filter(|link| link.program.is_none()).map(|link| link.ifindex).collect();
        let unpinned = self.unpinned().into_keys().collect();
        let filter_fits = self.loaded.tables.filter()? == tables::filter_of(slots.keys());
        let addresses = slots.iter().map(|(key, slot)| (*key, tables::entry(slot))).collect();
        Ok(Observed { interfaces, gone, unpinned, addresses, filter_fits })
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

    /// The kernel's half of ownership, to be read.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.loaded.fence
    }

    /// The same, to be written.
    pub fn fence_mut(&mut self) -> &mut Fence {
        &mut self.loaded.fence
    }

    /// Writes one address at once, without a plan: a taker has no time for one. An
    /// address that the maps have not yet gets its bit in the filter first.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn set(&mut self, key: &AddressKey, entry: Entry) -> Result<(), ItemError> {
        apply::set_now(self, key, entry)
    }

    /// Removes one address at once; one that is not there is fine. Its bit stays in
    /// the filter until the next plan, which costs a lookup a request.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn remove(&mut self, key: &AddressKey) -> Result<(), ItemError> {
        apply::remove(self, key)
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
    pub fn attachments(&self) -> Result<BTreeMap<u32, Attachment>, Error> {
        self.live(&self.links.states().map_err(Error::Links)?)
    }

    /// Removes every trace below a pin directory, of every ABI version: programs
    /// are detached and every frame passes again. Nothing there is no error.
    ///
    /// # Errors
    /// A pin could not be removed.
    pub fn cleanup(pin_dir: &Path) -> Result<(), Error> {
        Pins::new(pin_dir).remove_all()
    }

    /// When an agent last gave a sign of life below a pin directory, by the boot
    /// clock; `None` where no agent of this ABI ever did.
    ///
    /// # Errors
    /// The pin is there and cannot be read.
    pub fn heartbeat(pin_dir: &Path) -> Result<Option<Duration>, Error> {
        tables::heartbeat(&Pins::new(pin_dir).map(clarion_abi::names::CONTROL))
    }

    /// Objects of this process that are not pinned where they should be.
    fn unpinned(&self) -> BTreeMap<PathBuf, BorrowedFd<'_>> {
        let links = self.links.ours().map(|(path, link)| (path.clone(), link.as_fd()));
        let objects = self.loaded.pinned(&self.pins).chain(links);
        objects.filter(|(path, object)| !pins::holds(path, *object)).collect()
    }

    fn live(&self, links: &[LinkState]) -> Result<BTreeMap<u32, Attachment>, Error> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = BTreeMap::new();
        for link in links {
            let (ifindex, mode) = (link.ifindex, link.mode);
            let Some(program) = link.program else { continue };
            // One that goes at this moment shows in the next reading.
            let facts = attach::facts(&self.options, &self.links, &mut memory, links, ifindex);
            let Some(facts) = facts.map_err(Error::Links)? else { continue };
            let settled = choice::settled(self.options.mode, &facts, mode);
            let current = link.ours && Some(program) == self.loaded.program_id(mode) && settled.is_some();
            let reason = settled.unwrap_or(ChoiceReason::Kept);
            // Of two, one is to go.
            let attachment = Attachment { mode, reason, current: current && !live.contains_key(&ifindex) };
            live.insert(ifindex, attachment);
        }
        Ok(live)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
