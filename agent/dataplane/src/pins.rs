//! The directory of pins: names, listing, removal.
//!
//! `<pin_dir>/v<ABI>/` holds the maps by their names, `program`, and a link for
//! each interface, `link-<ifindex>-<mode>`. The kernel does not tell a link's
//! mode, and it never changes, so the name keeps it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clarion_abi::ABI_VERSION;
use nix::sys::statfs::{FsType, statfs};

use crate::error::Error;
use crate::model::AttachedMode;
use crate::sys;

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS: i64 = 0xcafe_4a11;

/// The pins below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    root: PathBuf,
}

/// A pinned link.
#[derive(Debug, Clone)]
pub(crate) struct LinkPin {
    pub(crate) path: PathBuf,
    /// The interface that it was made for.
    pub(crate) ifindex: u32,
    pub(crate) mode: AttachedMode,
    /// Whether it lies in this ABI's directory.
    pub(crate) ours: bool,
    /// Id of its program, `None` once the interface is gone.
    pub(crate) program: Option<u32>,
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

    pub(crate) fn link(&self, ifindex: u32, mode: AttachedMode) -> PathBuf {
        self.dir().join(format!("link-{ifindex}-{mode}"))
    }

    /// Makes the directory, if it can hold pins at all.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        // The first ancestor that exists decides: nothing is made elsewhere.
        let existing = self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        require_bpffs(existing, &self.root)?;
        fs::create_dir_all(self.dir()).map_err(failed("create", &self.dir()))
    }

    /// All pinned links, those of other ABI versions too.
    pub(crate) fn links(&self) -> Result<Vec<LinkPin>, Error> {
        let mut links = Vec::new();
        for dir in self.versions()? {
            for path in list(&dir)? {
                let Some((ifindex, mode)) = parse_link(&path) else { continue };
                let link = sys::open_pin(&path).map_err(failed("open", &path))?;
                let info = sys::link_info(&link).map_err(failed("read", &path))?;
                let program = (info.ifindex != 0).then_some(info.program);
                links.push(LinkPin { ours: dir == self.dir(), path, ifindex, mode, program });
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
        for dir in self.versions()? {
            // Links first: without them nothing of the rest is used.
            for path in list(&dir)?.iter().filter(|path| parse_link(path).is_some()) {
                remove_link(path).map_err(failed("detach", path))?;
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
        Ok(list(&self.root)?.into_iter().filter(is_version).collect())
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

/// Detaches a pinned link and removes the pin.
pub(crate) fn remove_link(path: &Path) -> std::io::Result<()> {
    let link = sys::open_pin(path)?;
    // An interface that is gone has taken the attachment with it; a kernel that
    // cannot detach does so when the pin goes.
    if let Err(error) = sys::detach(&link) {
        tracing::debug!(path = %path.display(), %error, "link not detached before its pin is removed");
    }
    fs::remove_file(path)
}

fn parse_link(path: &Path) -> Option<(u32, AttachedMode)> {
    let (ifindex, mode) = path.file_name()?.to_str()?.strip_prefix("link-")?.split_once('-')?;
    let mode =
        [AttachedMode::Native, AttachedMode::Generic].into_iter().find(|known| known.name() == mode)?;
    Some((ifindex.parse().ok()?, mode))
}
