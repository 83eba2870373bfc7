//! The XDP links of this node, held by descriptors.
//!
//! A pin keeps a link alive without a process, a descriptor does so without a pin.
//! Holding both, the program stays on its interfaces when somebody removes the
//! pins, and when the process ends. What the process works with are the
//! descriptors; pins are read once, at opening.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::model::AttachedMode;
use crate::pins::{self, Pins};
use crate::sys;

/// A link that this process holds.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) fd: OwnedFd,
    /// The interface that it was made for.
    pub(crate) ifindex: u32,
    pub(crate) mode: AttachedMode,
    /// Whether its pin belongs into this ABI's directory.
    pub(crate) ours: bool,
}

impl Link {
    /// Id of its program; `None` once the interface is gone or somebody detached it.
    pub(crate) fn program(&self) -> io::Result<Option<u32>> {
        let info = sys::link_info(&self.fd)?;
        Ok((info.ifindex != 0).then_some(info.program))
    }
}

/// All links, by the path of their pin.
#[derive(Debug, Default)]
pub(crate) struct Links {
    held: BTreeMap<PathBuf, Link>,
}

/// A link as it is at this moment.
#[derive(Debug, Clone)]
pub(crate) struct LinkState {
    pub(crate) path: PathBuf,
    pub(crate) ifindex: u32,
    pub(crate) mode: AttachedMode,
    pub(crate) ours: bool,
    /// As [`Link::program`].
    pub(crate) program: Option<u32>,
}

impl Links {
    pub(crate) fn new(held: BTreeMap<PathBuf, Link>) -> Self {
        Self { held }
    }

    /// What each link is on now.
    pub(crate) fn states(&self) -> io::Result<Vec<LinkState>> {
        let state = |(path, link): (&PathBuf, &Link)| {
            let Link { ifindex, mode, ours, .. } = *link;
            Ok(LinkState { path: path.clone(), ifindex, mode, ours, program: link.program()? })
        };
        self.held.iter().map(state).collect()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Link> {
        self.held.get(path)
    }

    pub(crate) fn insert(&mut self, path: PathBuf, link: Link) {
        self.held.insert(path, link);
    }

    /// Links whose pin belongs into this ABI's directory, by path.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&PathBuf, &OwnedFd)> {
        self.held.iter().filter(|(_, link)| link.ours).map(|(path, link)| (path, &link.fd))
    }

    /// Lets a link's pin be `path`, in this ABI's directory, from now on.
    pub(crate) fn take_over(&mut self, pins: &Pins, from: &Path) -> io::Result<()> {
        let Some(link) = self.held.remove(from) else { return Ok(()) };
        let path = pins.link(link.ifindex, link.mode);
        let pinned = pins::pin_over(link.fd.as_fd(), &path).and_then(|()| pins::unpin(from));
        self.held.insert(path, Link { ours: true, ..link });
        pinned
    }

    /// Detaches a link and gives up its pin.
    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let Some(link) = self.held.get(path) else { return Ok(()) };
        // Somebody else's object under this name stays theirs.
        let pinned = pins::holds(path, link.fd.as_fd());
        detach(&link.fd, path);
        if pinned {
            pins::unpin(path)?;
        }
        self.held.remove(path);
        Ok(())
    }
}

/// Detaches at once. An interface that is gone has taken the attachment with it; a
/// kernel that cannot detach does so when pin and descriptor go.
pub(crate) fn detach(link: &OwnedFd, path: &Path) {
    if let Err(error) = sys::detach(link) {
        tracing::debug!(path = %path.display(), %error, "link not detached before its pin is removed");
    }
}
