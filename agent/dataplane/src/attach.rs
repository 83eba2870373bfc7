//! Attaching to interfaces, by links that are pinned.
//!
//! A native attachment may reset the interface's link on some NICs, so it is made
//! once and kept: a new program replaces the old one in its link
//! (`BPF_LINK_UPDATE`), which no frame notices. Where the program moves to another
//! place, the former one goes afterwards, and no request comes between: XDP answers
//! before tc sees the frame. Only native and generic XDP have no room for each other.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use nix::net::if_::if_indextoname;

use crate::choice::{Facts, choices};
use crate::error::ItemError;
use crate::links::{LinkState, Links};
use crate::memory::Memory;
use crate::model::{AttachedMode, ChoiceReason, Options};
use crate::object::Loaded;
use crate::pins::Pins;
use crate::sys;

/// What attaching works with.
pub(crate) struct Node<'a> {
    pub(crate) options: &'a Options,
    pub(crate) pins: &'a Pins,
    pub(crate) loaded: &'a Loaded,
    pub(crate) links: &'a mut Links,
    pub(crate) memory: &'a mut Memory,
}

impl Node<'_> {
    /// Makes the program run on an interface, in the best mode that can be had, whatever is
    /// there of ours: nothing, a link with an older program, or a link of another ABI
    /// version. A new link is held and not pinned yet: whoever pins does so for what was
    /// lost as well.
    pub(crate) fn attach(&mut self, ifindex: u32) -> Result<(AttachedMode, ChoiceReason), ItemError> {
        let (dead, alive): (Vec<_>, Vec<_>) =
            of(self.links, ifindex)?.into_iter().partition(|state| state.program.is_none());
        // Of an earlier interface of this index, or detached by somebody.
        dead.iter().try_for_each(|state| remove(self.links, &state.path))?;
        let mut tried = BTreeSet::new();
        let mut refused = None;
        loop {
            // What one attempt taught counts for the next.
            let facts = facts(self.options, self.links, self.memory, &alive, ifindex)
                .map_err(|source| ItemError::Links { ifindex, source })?
                .ok_or(ItemError::NoInterface { ifindex })?;
            let mut untried = choices(self.options.mode, &facts).into_iter();
            let Some((mode, reason)) = untried.find(|(mode, _)| tried.insert(*mode)) else {
                // The next time all is tried again.
                self.memory.reconsider(ifindex);
                return Err(refused.unwrap_or(ItemError::Nowhere { ifindex }));
            };
            match self.attach_in(ifindex, mode, &alive) {
                Ok(kept) => {
                    let others = alive.iter().filter(|state| Some(&state.path) != kept.as_ref());
                    others.into_iter().try_for_each(|state| remove(self.links, &state.path))?;
                    return Ok((mode, reason));
                }
                Err(error) => {
                    tracing::debug!(ifindex, %mode, %error, "the program was not attached");
                    self.learn(ifindex, mode, &error)?;
                    refused = Some(error);
                }
            }
        }
    }

    /// In this one mode. Returns the pin of the link that was there and stays.
    fn attach_in(
        &mut self,
        ifindex: u32,
        mode: AttachedMode,
        alive: &[LinkState],
    ) -> Result<Option<PathBuf>, ItemError> {
        let Some(program) = self.loaded.program(mode) else {
            let source = io::Error::other("the kernel refused the program for tc when the agent started");
            return Err(ItemError::Attach { ifindex, mode: mode.name(), source });
        };
        // Of two, ours: the other's pin would take its place.
        if let Some(state) = alive.iter().filter(|state| state.mode == mode).max_by_key(|state| state.ours) {
            let replaced = self.links.replace(&state.path, program);
            replaced.map_err(|source| ItemError::Replace { ifindex, source })?;
            if state.ours {
                return Ok(Some(state.path.clone()));
            }
            return match self.links.take_over(self.pins, &state.path) {
                // Its former name stands for nothing any more.
                Ok(()) => Ok(Some(state.path.clone())),
                Err(source) => Err(file("move", &state.path)(source)),
            };
        }
        if mode.is_xdp() {
            let rivals = alive.iter().filter(|state| state.mode.is_xdp());
            rivals.into_iter().try_for_each(|state| remove(self.links, &state.path))?;
        }
        let attached = self.links.attach(self.pins, program, ifindex, mode);
        attached.map(|()| None).map_err(|source| refusal(ifindex, mode, source))
    }

    /// Remembers a refusal, so that it is not asked for again.
    fn learn(&mut self, ifindex: u32, mode: AttachedMode, error: &ItemError) -> Result<(), ItemError> {
        match error {
            ItemError::Occupied { .. } => {
                let now = sys::boot_clock().map_err(|source| ItemError::Links { ifindex, source })?;
                self.memory.occupied(ifindex, now);
            }
            // These pass.
            ItemError::Attach { source, .. }
                if matches!(
                    source.raw_os_error(),
                    Some(libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN | libc::EINTR)
                ) => {}
            ItemError::Attach { .. } => self.memory.refused(ifindex, mode),
            _ => {}
        }
        Ok(())
    }
}

/// What is known of an interface, of whose attachments `states` are ours; `None`: there is
/// no such interface.
pub(crate) fn facts(
    options: &Options,
    links: &Links,
    memory: &mut Memory,
    states: &[LinkState],
    ifindex: u32,
) -> io::Result<Option<Facts>> {
    let Some(link) = links.route.link(ifindex)? else { return Ok(None) };
    let ours = states.iter().filter(|state| state.ifindex == ifindex).filter_map(|state| state.program);
    let now = sys::boot_clock()?;
    Ok(Some(memory.facts(ifindex, &link, &ours.collect(), now, options.foreign_patience)))
}

fn refusal(ifindex: u32, mode: AttachedMode, source: io::Error) -> ItemError {
    match source.raw_os_error() {
        // The kernel says EINVAL, which is said of much else too: look.
        _ if !exists(ifindex) => ItemError::NoInterface { ifindex },
        // Both are said of an interface that has a program: a link of somebody
        // else's, or one attached without a link, in this or the other mode.
        Some(libc::EBUSY | libc::EEXIST) if mode.is_xdp() => ItemError::Occupied { ifindex, source },
        _ => ItemError::Attach { ifindex, mode: mode.name(), source },
    }
}

/// Whether the namespace has an interface of this index.
fn exists(ifindex: u32) -> bool {
    // nix gives an empty name where there is none, instead of the error.
    if_indextoname(ifindex).is_ok_and(|name| !name.is_empty())
}

/// Detaches an interface: every link that was made for it.
pub(crate) fn detach(links: &mut Links, ifindex: u32) -> Result<(), ItemError> {
    of(links, ifindex)?.iter().try_for_each(|state| remove(links, &state.path))
}

/// Removes the pins of an interface that is gone.
pub(crate) fn forget(links: &mut Links, ifindex: u32) -> Result<(), ItemError> {
    let gone = of(links, ifindex)?.into_iter().filter(|state| state.program.is_none());
    gone.into_iter().try_for_each(|state| remove(links, &state.path))
}

/// The links that were made for an interface.
fn of(links: &Links, ifindex: u32) -> Result<Vec<LinkState>, ItemError> {
    let states = links.states().map_err(|source| ItemError::Links { ifindex, source })?;
    Ok(states.into_iter().filter(|state| state.ifindex == ifindex).collect())
}

fn remove(links: &mut Links, path: &Path) -> Result<(), ItemError> {
    links.remove(path).map_err(file("remove", path))
}

fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ItemError {
    let path = path.to_path_buf();
    move |source| ItemError::File { operation, path, source }
}
