//! What holds the program on this node's interfaces: links of XDP and TCX, and the
//! classifiers below clsact.
//!
//! A pin keeps a link alive without a process, a descriptor does so without a pin.
//! Holding both, the program stays on its interfaces when somebody removes the
//! pins, and when the process ends. What the process works with are the
//! descriptors; pins are read once, at opening.
//!
//! A classifier is alive until it is removed. What is pinned in its name is its program,
//! so that the next process knows of it, and a clean-up finds it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::model::AttachedMode;
use crate::pins::{self, Pins};
use crate::route::Route;
use crate::sys;

/// Which attachment a pin stands for; its name says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The interface that it was made for.
    pub(crate) ifindex: u32,
    pub(crate) mode: AttachedMode,
    /// clsact was made for it, and goes with it.
    pub(crate) made: bool,
}

/// An attachment that this process holds.
#[derive(Debug)]
pub(crate) struct Link {
    /// The link; of a classifier, its program.
    pub(crate) fd: OwnedFd,
    pub(crate) place: Place,
    /// Whether its pin belongs into this ABI's directory.
    pub(crate) ours: bool,
}

/// All links, by the path of their pin.
#[derive(Debug)]
pub(crate) struct Links {
    held: BTreeMap<PathBuf, Link>,
    pub(crate) route: Route,
}

/// A link as it is at this moment.
#[derive(Debug, Clone)]
pub(crate) struct LinkState {
    pub(crate) path: PathBuf,
    pub(crate) ifindex: u32,
    pub(crate) mode: AttachedMode,
    pub(crate) ours: bool,
    /// Id of its program; `None` once the interface is gone or somebody detached it.
    pub(crate) program: Option<u32>,
}

impl Links {
    pub(crate) fn new(held: BTreeMap<PathBuf, Link>, route: Route) -> Self {
        Self { held, route }
    }

    /// What each link is on now.
    pub(crate) fn states(&self) -> io::Result<Vec<LinkState>> {
        let state = |(path, link): (&PathBuf, &Link)| {
            let Place { ifindex, mode, .. } = link.place;
            let program = self.program(link)?;
            Ok(LinkState { path: path.clone(), ifindex, mode, ours: link.ours, program })
        };
        self.held.iter().map(state).collect()
    }

    fn program(&self, link: &Link) -> io::Result<Option<u32>> {
        if link.place.mode == AttachedMode::Clsact {
            return self.route.classifier(link.place.ifindex);
        }
        let info = sys::link_info(&link.fd)?;
        Ok((info.ifindex != 0).then_some(info.program))
    }

    /// Makes a new attachment, which is held and not pinned yet.
    pub(crate) fn attach(
        &mut self,
        pins: &Pins,
        program: BorrowedFd<'_>,
        ifindex: u32,
        mode: AttachedMode,
    ) -> io::Result<()> {
        let (fd, made) = match mode {
            AttachedMode::Native => (sys::attach(program, ifindex, sys::NATIVE)?, false),
            AttachedMode::Generic => (sys::attach(program, ifindex, sys::GENERIC)?, false),
            AttachedMode::Tcx => (sys::attach_tcx(program, ifindex)?, false),
            AttachedMode::Clsact => {
                let kept = program.try_clone_to_owned()?;
                (kept, self.route.put_classifier(ifindex, program)?)
            }
        };
        let place = Place { ifindex, mode, made };
        self.held.insert(pins.link(place), Link { fd, place, ours: true });
        Ok(())
    }

    /// Lets a link run another program; no frame notices.
    pub(crate) fn replace(&mut self, path: &Path, program: BorrowedFd<'_>) -> io::Result<()> {
        let Some(link) = self.held.get_mut(path) else { return Ok(()) };
        if link.place.mode != AttachedMode::Clsact {
            return sys::update(&link.fd, program);
        }
        self.route.put_classifier(link.place.ifindex, program)?;
        link.fd = program.try_clone_to_owned()?;
        Ok(())
    }

    /// Links whose pin belongs into this ABI's directory, by path.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&PathBuf, &OwnedFd)> {
        self.held.iter().filter(|(_, link)| link.ours).map(|(path, link)| (path, &link.fd))
    }

    /// Lets a link's pin be in this ABI's directory from now on.
    pub(crate) fn take_over(&mut self, pins: &Pins, from: &Path) -> io::Result<()> {
        let Some(link) = self.held.remove(from) else { return Ok(()) };
        let path = pins.link(link.place);
        let pinned = pins::pin_over(link.fd.as_fd(), &path).and_then(|()| pins::unpin(from));
        self.held.insert(path, Link { ours: true, ..link });
        pinned
    }

    /// Detaches a link and gives up its pin.
    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let Some(link) = self.held.get(path) else { return Ok(()) };
        // Somebody else's object under this name stays theirs.
        let pinned = pins::holds(path, link.fd.as_fd());
        detach(&self.route, &link.fd, link.place, path)?;
        if pinned {
            pins::unpin(path)?;
        }
        self.held.remove(path);
        Ok(())
    }
}

/// Detaches at once. An interface that is gone has taken the attachment with it; a kernel
/// that cannot detach a link does so when pin and descriptor go. Only a classifier needs
/// no descriptor to stay.
pub(crate) fn detach(route: &Route, link: &OwnedFd, place: Place, path: &Path) -> io::Result<()> {
    if place.mode == AttachedMode::Clsact {
        return route.remove_classifier(place.ifindex, place.made);
    }
    if let Err(error) = sys::detach(link) {
        tracing::debug!(path = %path.display(), %error, "link not detached before its pin is removed");
    }
    Ok(())
}
