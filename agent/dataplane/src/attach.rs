//! Attaching to interfaces, by links that are pinned.
//!
//! A native attachment may reset the interface's link on some NICs, so it is made
//! once and kept: a new program replaces the old one in its link
//! (`BPF_LINK_UPDATE`), which no frame notices.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::net::if_::if_indextoname;

use crate::error::ItemError;
use crate::model::{AttachMode, AttachedMode};
use crate::pins::{self, LinkPin, Pins};
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
/// link with an older program, or a link of another ABI version.
pub(crate) fn attach(
    pins: &Pins,
    existing: &[LinkPin],
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: AttachMode,
) -> Result<AttachedMode, ItemError> {
    let mut kept = None;
    for pin in existing.iter().filter(|pin| pin.ifindex == ifindex) {
        if pin.program.is_some() && mode.admits(pin.mode) && kept.is_none() {
            kept = Some(pin);
        } else {
            // Of an earlier interface of this index, or in a mode no longer wanted.
            remove(&pin.path)?;
        }
    }
    match kept {
        Some(pin) => replace(pins, pin, program).map(|()| pin.mode),
        None => attach_anew(pins, program, ifindex, mode),
    }
}

/// Lets a pinned link run the program, and moves its pin here from another version.
fn replace(pins: &Pins, pin: &LinkPin, program: BorrowedFd<'_>) -> Result<(), ItemError> {
    let ifindex = pin.ifindex;
    let link = sys::open_pin(&pin.path).map_err(file("open", &pin.path))?;
    sys::update(&link, program).map_err(|source| ItemError::Replace { ifindex, source })?;
    if !pin.ours {
        let path = pins.link(ifindex, pin.mode);
        sys::pin(link.as_fd(), &path).map_err(file("pin", &path))?;
        std::fs::remove_file(&pin.path).map_err(file("remove", &pin.path))?;
    }
    Ok(())
}

fn attach_anew(
    pins: &Pins,
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
            Ok(link) => {
                let path = pins.link(ifindex, *candidate);
                sys::pin(link.as_fd(), &path).map_err(file("pin", &path))?;
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

/// Detaches an interface: every pinned link that was made for it.
pub(crate) fn detach(existing: &[LinkPin], ifindex: u32) -> Result<(), ItemError> {
    existing.iter().filter(|pin| pin.ifindex == ifindex).try_for_each(|pin| remove(&pin.path))
}

/// Removes the pins of an interface that is gone.
pub(crate) fn forget(existing: &[LinkPin], ifindex: u32) -> Result<(), ItemError> {
    existing
        .iter()
        .filter(|pin| pin.ifindex == ifindex && pin.program.is_none())
        .try_for_each(|pin| remove(&pin.path))
}

fn remove(path: &Path) -> Result<(), ItemError> {
    pins::remove_link(path).map_err(file("remove", path))
}

fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ItemError {
    let path = path.to_path_buf();
    move |source| ItemError::File { operation, path, source }
}
