//! The directory of pins: names, listing, removal.
//!
//! `<pin_dir>/v<ABI>/` holds the maps by their names, `program` and `program-tc`, and a
//! link for each interface, `link-<ifindex>-<mode>`. The kernel does not tell a link's
//! mode, and it never changes, so the name keeps it. A classifier has no link: its
//! program is pinned, as `…-clsact`, or `…-clsact+made` if clsact was made for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use clarion_abi::ABI_VERSION;
use nix::sys::statfs::{FsType, statfs};

use crate::error::Error;
use crate::links::{Link, Place, detach};
use crate::model::AttachedMode;
use crate::route::Route;
use crate::sys;

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS: i64 = 0xcafe_4a11;

/// What a classifier's pin ends in if clsact was made for it.
const MADE: &str = "+made";

/// The pins below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    root: PathBuf,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Pins { operation, path, source }
}

impl Pins {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The directory of this ABI.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.dir().join("program")
    }

    pub(crate) fn program_tc(&self) -> PathBuf {
        self.dir().join("program-tc")
    }

    pub(crate) fn link(&self, place: Place) -> PathBuf {
        let Place { ifindex, mode, made } = place;
        self.dir().join(format!("link-{ifindex}-{mode}{}", if made { MADE } else { "" }))
    }

    /// Makes the directory, if it can hold pins at all.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        // The first ancestor that exists decides: nothing is made elsewhere.
        let existing = self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        require_bpffs(existing, &self.root)?;
        fs::create_dir_all(self.dir()).map_err(failed("create", &self.dir()))
    }

    /// All pinned links, those of other ABI versions too. What is no link of that
    /// interface was put there by somebody else: it is left alone until a link of
    /// ours needs the name.
    pub(crate) fn links(&self) -> Result<BTreeMap<PathBuf, Link>, Error> {
        let mut links = BTreeMap::new();
        for dir in self.versions()? {
            for path in list(&dir)? {
                let Some(place) = parse_link(&path) else { continue };
                let opened = sys::open_pin(&path).and_then(|fd| Ok((pinned_on(&fd, place)?, fd)));
                match opened {
                    Ok((ifindex, fd)) if [0, place.ifindex].contains(&ifindex) => {
                        let ours = dir == self.dir();
                        links.insert(path, Link { fd, place, ours });
                    }
                    Ok((ifindex, _)) => {
                        let (path, wanted) = (path.display(), place.ifindex);
                        tracing::warn!(%path, "the pin is of a link on interface {ifindex}, not {wanted}");
                    }
                    Err(error) if error.kind() == ErrorKind::InvalidData => {
                        tracing::warn!(path = %path.display(), "the pin is not what its name says");
                    }
                    Err(error) => return Err(failed("open", &path)(error)),
                }
            }
        }
        Ok(links)
    }

    /// Removes the directories of other versions that hold no link any more.
    pub(crate) fn remove_spent_versions(&self) -> Result<(), Error> {
        for dir in self.versions()? {
            if dir != self.dir() && list(&dir)?.iter().all(|path| parse_link(path).is_none()) {
                remove_dir(&dir)?;
            }
        }
        Ok(())
    }

    /// Detaches and removes everything.
    pub(crate) fn remove_all(&self) -> Result<(), Error> {
        if !self.root.exists() {
            return Ok(());
        }
        require_bpffs(&self.root, &self.root)?;
        let route = Route::open().map_err(Error::Links)?;
        for dir in self.versions()? {
            // Links first: without them nothing of the rest is used.
            for path in &list(&dir)? {
                let Some(place) = parse_link(path) else { continue };
                // What is not what its name says has nothing to detach.
                if let Ok(link) = sys::open_pin(path)
                    && pinned_on(&link, place).is_ok()
                {
                    detach(&route, &link, place, path).map_err(failed("detach", path))?;
                }
                unpin(path).map_err(failed("remove", path))?;
            }
            remove_dir(&dir)?;
        }
        match fs::remove_dir(&self.root) {
            // Not empty: somebody else's pins, which are not ours to remove. A
            // mount point stays for who mounted it.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy) => {
                Ok(())
            }
            result => result.map_err(failed("remove", &self.root)),
        }
    }

    fn versions(&self) -> Result<Vec<PathBuf>, Error> {
        let is_version = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
            })
        };
        match list(&self.root) {
            // Somebody removed it; it is made again with the next pin.
            Err(Error::Pins { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => Ok(listed?.into_iter().filter(is_version).collect()),
        }
    }
}

/// Whether a path is a pin of this very object.
pub(crate) fn holds(path: &Path, object: BorrowedFd<'_>) -> bool {
    let pinned = sys::open_pin(path).and_then(|fd| sys::identity(fd.as_fd()));
    matches!((pinned, sys::identity(object)), (Ok(pinned), Ok(wanted)) if pinned == wanted)
}

/// Pins an object, in the place of whatever has the name: the directory is ours.
pub(crate) fn pin_over(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    match sys::pin(object, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            unpin(path)?;
            sys::pin(object, path)
        }
        result => result,
    }
}

/// Removes a pin; one that is not there is fine.
pub(crate) fn unpin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn require_bpffs(existing: &Path, wanted: &Path) -> Result<(), Error> {
    let kind = statfs(existing).map_err(|errno| failed("examine", existing)(errno.into()))?.filesystem_type();
    if kind == FsType(BPF_FS) { Ok(()) } else { Err(Error::NoBpfFs { path: wanted.to_path_buf() }) }
}

/// The entries of a directory, sorted.
fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(dir).map_err(failed("list", dir))?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(failed("list", dir))?;
    paths.sort();
    Ok(paths)
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    for path in list(dir)? {
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    fs::remove_dir(dir).map_err(failed("remove", dir))
}

/// The interface that a pin's object is on; an error if it is not of the kind that the
/// name says. A program is on none by itself.
fn pinned_on(object: &OwnedFd, place: Place) -> io::Result<u32> {
    if place.mode == AttachedMode::Clsact {
        return sys::program_id(object.as_fd()).map(|_| place.ifindex);
    }
    sys::link_info(object).map(|info| info.ifindex)
}

/// What a link's pin stands for, by its name.
pub(crate) fn parse_link(path: &Path) -> Option<Place> {
    let (ifindex, mode) = path.file_name()?.to_str()?.strip_prefix("link-")?.split_once('-')?;
    let plain = mode.strip_suffix(MADE);
    let name = plain.unwrap_or(mode);
    let mode = AttachedMode::ALL.into_iter().find(|known| known.name() == name)?;
    Some(Place { ifindex: ifindex.parse().ok()?, mode, made: plain.is_some() })
}
