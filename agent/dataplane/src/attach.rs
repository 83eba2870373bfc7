//! Attaching to interfaces, by links that are pinned.
//!
//! A native attachment may reset the interface's link on some NICs, so it is made
//! once and kept: a new program replaces the old one in its link
//! (`BPF_LINK_UPDATE`), which no frame notices.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::net::if_::if_indextoname;

use crate::error::ItemError;
use crate::links::{Link, LinkState, Links};
use crate::model::{AttachMode, AttachedMode};
use crate::pins::Pins;
use crate::sys;

impl AttachMode {
    /// Modes to try, in order.
    fn candidates(self) -> &'static [AttachedMode] {
        match self {
            Self::Auto => &[AttachedMode::Native, AttachedMode::Generic],
            Self::Native => &[AttachedMode::Native],
            Self::Generic => &[AttachedMode::Generic],
        }
    }

    /// Whether an attachment made earlier satisfies the setting.
    pub(crate) fn admits(self, mode: AttachedMode) -> bool {
        self.candidates().contains(&mode)
    }
}

/// Makes the program run on an interface, whatever is there of ours: nothing, a
/// link with an older program, or a link of another ABI version. A new link is held
/// and not pinned yet: whoever pins does so for what was lost as well.
pub(crate) fn attach(
    pins: &Pins,
    links: &mut Links,
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: AttachMode,
) -> Result<AttachedMode, ItemError> {
    let mut kept = None;
    for state in of(links, ifindex)? {
        if state.program.is_some() && mode.admits(state.mode) && kept.is_none() {
            kept = Some(state);
        } else {
            // Of an earlier interface of this index, or in a mode no longer wanted.
            remove(links, &state.path)?;
        }
    }
    match kept {
        Some(state) => replace(pins, links, &state, program).map(|()| state.mode),
        None => attach_anew(pins, links, program, ifindex, mode),
    }
}

/// Lets a link run the program, and moves its pin here from another version.
fn replace(
    pins: &Pins,
    links: &mut Links,
    state: &LinkState,
    program: BorrowedFd<'_>,
) -> Result<(), ItemError> {
    let ifindex = state.ifindex;
    if let Some(link) = links.get(&state.path) {
        sys::update(&link.fd, program).map_err(|source| ItemError::Replace { ifindex, source })?;
    }
    if state.ours {
        return Ok(());
    }
    links.take_over(pins, &state.path).map_err(file("move", &state.path))
}

fn attach_anew(
    pins: &Pins,
    links: &mut Links,
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: AttachMode,
) -> Result<AttachedMode, ItemError> {
    let mut refused = None;
    for candidate in mode.candidates() {
        let flags = match candidate {
            AttachedMode::Native => sys::NATIVE,
            AttachedMode::Generic => sys::GENERIC,
        };
        match sys::attach(program, ifindex, flags) {
            Ok(fd) => {
                let link = Link { fd, ifindex, mode: *candidate, ours: true };
                links.insert(pins.link(ifindex, *candidate), link);
                return Ok(*candidate);
            }
            Err(source) => {
                let error = refusal(ifindex, *candidate, source);
                // No other mode helps against these two.
                if matches!(error, ItemError::NoInterface { .. } | ItemError::Occupied { .. }) {
                    return Err(error);
                }
                tracing::debug!(ifindex, mode = %candidate, %error, "XDP not attached");
                refused = Some(error);
            }
        }
    }
    Err(refused.unwrap_or(ItemError::NoInterface { ifindex }))
}

fn refusal(ifindex: u32, mode: AttachedMode, source: io::Error) -> ItemError {
    match source.raw_os_error() {
        // The kernel says EINVAL, which is said of much else too: look.
        _ if !exists(ifindex) => ItemError::NoInterface { ifindex },
        // Both are said of an interface that has a program: a link of somebody
        // else's, or one attached without a link, in this or the other mode.
        Some(libc::EBUSY | libc::EEXIST) => ItemError::Occupied { ifindex, source },
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
