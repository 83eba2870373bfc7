//! Loading the object, or adopting what is pinned.
//!
//! aya opens an existing pin without comparing it with the object, so kind and
//! sizes of every pinned map are compared here first.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::{MapInfo, MapType};
use aya::programs::{ProgramError, ProgramFd, ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use aya_obj::generated::bpf_map_type;
use clarion_abi::{
    Clock, Conflict, Control, Filter, KeyV4, KeyV6, MAX_ADDRESSES, MAX_COUNTED, MAX_PEERS, OUTCOMES, Slot,
    Switch, VOTES_BYTES, Watched, names,
};
use clarion_fence::{Keys, Leases, Own};

use crate::error::Error;
use crate::fence::Fence;
use crate::model::AttachedMode;
use crate::pins::Pins;
use crate::sys;
use crate::tables::Tables;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("CLARION_BPF"), "/clarion.o"));

/// The BPF object that this crate loads, for tests that read it.
#[must_use]
pub fn object() -> &'static [u8] {
    OBJECT
}

/// A program in the kernel, and its id, by which links tell whose they are.
#[derive(Debug)]
struct Program {
    fd: OwnedFd,
    id: u32,
}

/// The programs in the kernel, and their maps.
#[derive(Debug)]
pub(crate) struct Loaded {
    xdp: Program,
    /// `None`: the kernel refused it. It has XDP.
    tc: Option<Program>,
    pub(crate) tables: Tables,
    pub(crate) fence: Fence,
    /// The maps once more, to pin them again.
    maps: Vec<(&'static str, OwnedFd)>,
}

impl Loaded {
    fn of(&self, mode: AttachedMode) -> Option<&Program> {
        if mode.is_xdp() { Some(&self.xdp) } else { self.tc.as_ref() }
    }

    /// The program for a mode; `None`: the kernel refused it.
    pub(crate) fn program(&self, mode: AttachedMode) -> Option<BorrowedFd<'_>> {
        self.of(mode).map(|program| program.fd.as_fd())
    }

    /// Its id.
    pub(crate) fn program_id(&self, mode: AttachedMode) -> Option<u32> {
        self.of(mode).map(|program| program.id)
    }

    /// Programs and maps, each with the path of its pin.
    pub(crate) fn pinned(&self, pins: &Pins) -> impl Iterator<Item = (PathBuf, BorrowedFd<'_>)> {
        let maps = self.maps.iter().map(|(name, map)| (pins.map(name), map.as_fd()));
        let tc = self.tc.iter().map(|program| (pins.program_tc(), program.fd.as_fd()));
        std::iter::once((pins.program(), self.xdp.fd.as_fd())).chain(tc).chain(maps)
    }

    /// Adopts the pinned maps, and the pinned programs if they are the very same;
    /// pins what was not there.
    pub(crate) fn open(pins: &Pins) -> Result<Self, Error> {
        check_object()?;
        for shape in shapes() {
            shape.check(&pins.map(shape.name))?;
        }
        let mut loader = EbpfLoader::new();
        for shape in shapes() {
            loader.map_pin_path(shape.name, pins.map(shape.name));
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| Error::Object(Box::new(error)))?;
        let xdp = adopt_or_pin(load_program(&mut ebpf)?, pins.program())?;
        let tc = match load_tc(&mut ebpf)? {
            Ok(loaded) => Some(adopt_or_pin(loaded, pins.program_tc())?),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the kernel refused the program for tc: there is XDP only");
                None
            }
        };
        let open = |shape: &Shape| {
            let path = pins.map(shape.name);
            let fd = sys::open_pin(&path);
            fd.map(|fd| (shape.name, fd)).map_err(|source| Error::Pins { operation: "open", path, source })
        };
        let maps = shapes().iter().map(open).collect::<Result<_, _>>()?;
        let own_program = xdp.fd.try_clone().map_err(|source| Error::Pins {
            operation: "open",
            path: pins.program(),
            source,
        })?;
        let fence = Fence::take(&mut ebpf, own_program)?;
        Ok(Self { xdp, tc, tables: Tables::take(&mut ebpf)?, fence, maps })
    }
}

/// What a map must be.
struct Shape {
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

fn shapes() -> [Shape; 15] {
    use std::mem::size_of;
    let shape = |name, kind, key, value, entries| Shape { name, kind, key, value, entries };
    let outcomes = u32::try_from(OUTCOMES.len()).unwrap_or(u32::MAX);
    [
        shape(names::V4, MapType::Hash, size_of::<KeyV4>(), size_of::<Slot>(), MAX_ADDRESSES),
        shape(names::V6, MapType::Hash, size_of::<KeyV6>(), size_of::<Slot>(), MAX_ADDRESSES),
        shape(names::CONTROL, MapType::Array, 4, size_of::<Control>(), 1),
        shape(names::FILTER, MapType::Array, 4, size_of::<Filter>(), 1),
        shape(names::OUTCOMES, MapType::PerCpuArray, 4, 8, outcomes),
        shape(names::ANSWERS, MapType::PerCpuArray, 4, 8, MAX_COUNTED),
        shape(names::CLOCK, MapType::PerCpuArray, 4, size_of::<Clock>(), 1),
        shape(names::CONFLICTS, MapType::Array, 4, size_of::<Conflict>(), MAX_COUNTED),
        shape(names::SWITCH, MapType::Array, 4, size_of::<Switch>(), 1),
        shape(names::OWN, MapType::Array, 4, size_of::<Own>(), 2),
        shape(names::LEASES, MapType::Array, 4, size_of::<Leases>(), 1),
        shape(names::PEERS, MapType::Hash, 8, size_of::<Watched>(), MAX_PEERS),
        shape(names::GRANTS, MapType::Hash, 8, 8, MAX_PEERS),
        shape(names::KEYS, MapType::Array, 4, size_of::<Keys>(), 1),
        shape(names::VOTES, MapType::RingBuf, 0, 0, VOTES_BYTES),
    ]
}

impl Shape {
    /// Compares with a pin; none is fine, it will be made.
    fn check(&self, path: &Path) -> Result<(), Error> {
        if !path.exists() {
            return Ok(());
        }
        let info = MapInfo::from_pin(path)
            .map_err(|source| Error::Map { name: self.name, source: Box::new(source) })?;
        let kind = info.map_type().unwrap_or(MapType::Unspecified);
        let found = describe(kind, info.key_size(), info.value_size(), info.max_entries());
        let wanted = self.wanted();
        if found == wanted {
            Ok(())
        } else {
            Err(Error::Mismatch { path: path.to_path_buf(), found, wanted })
        }
    }

    fn wanted(&self) -> String {
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        describe(self.kind, number(self.key), number(self.value), self.entries)
    }
}

fn describe(kind: MapType, key: u32, value: u32, entries: u32) -> String {
    format!("type {kind:?}, key {key} B, value {value} B, {entries} entries")
}

/// Compares the object's own maps with this crate's layouts, before any is made: an
/// object of another build would leave maps behind that no agent can use.
fn check_object() -> Result<(), Error> {
    let object = aya_obj::Object::parse(OBJECT).map_err(|error| Error::Parse(Box::new(error)))?;
    for shape in shapes() {
        let map = object.maps.get(shape.name).ok_or(Error::Missing { name: shape.name })?;
        let kind = bpf_map_type::try_from(map.map_type()).ok().and_then(|kind| MapType::try_from(kind).ok());
        let kind = kind.unwrap_or(MapType::Unspecified);
        let found = describe(kind, map.key_size(), map.value_size(), map.max_entries());
        let wanted = shape.wanted();
        if found != wanted {
            return Err(Error::Build { name: shape.name, found, wanted });
        }
    }
    Ok(())
}

/// Loads the program for fragmented frames, or the plain one on kernels before 5.18.
fn load_program(ebpf: &mut Ebpf) -> Result<InKernel, Error> {
    let mut first = None;
    for name in [names::PROGRAM_FRAGS, names::PROGRAM] {
        match load_one(ebpf, name)? {
            Ok(loaded) => return Ok(loaded),
            Err(error) => {
                tracing::debug!(name, error = %error, "XDP program not loaded");
                first.get_or_insert(error);
            }
        }
    }
    let error = first.ok_or(Error::Missing { name: names::PROGRAM })?;
    Err(Error::Program(Box::new(error)))
}

/// A program in the kernel. The descriptor is kept from loading on: to open one by
/// the program's id (`ProgramInfo::fd`) takes CAP_SYS_ADMIN, which agents lack.
struct InKernel {
    info: ProgramInfo,
    fd: OwnedFd,
}

fn load_one(ebpf: &mut Ebpf, name: &'static str) -> Result<Result<InKernel, ProgramError>, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Missing { name })?;
    let load = |program| -> Result<InKernel, ProgramError> {
        let program: &mut Xdp = <&mut Xdp>::try_from(program)?;
        program.load()?;
        in_kernel(program.fd()?, program.info()?)
    };
    Ok(load(program))
}

fn load_tc(ebpf: &mut Ebpf) -> Result<Result<InKernel, ProgramError>, Error> {
    let name = names::PROGRAM_TC;
    let program = ebpf.program_mut(name).ok_or(Error::Missing { name })?;
    let load = |program| -> Result<InKernel, ProgramError> {
        let program: &mut SchedClassifier = <&mut SchedClassifier>::try_from(program)?;
        program.load()?;
        in_kernel(program.fd()?, program.info()?)
    };
    Ok(load(program))
}

fn in_kernel(fd: &ProgramFd, info: ProgramInfo) -> Result<InKernel, ProgramError> {
    let fd = fd.as_fd().try_clone_to_owned().map_err(ProgramError::IOError)?;
    Ok(InKernel { info, fd })
}

/// Keeps the pinned program if it has the same instructions and the same maps, so
/// that links which run it are current; else pins the new one in its place.
fn adopt_or_pin(loaded: InKernel, path: PathBuf) -> Result<Program, Error> {
    let InKernel { info, fd } = loaded;
    if let Ok(pinned) = ProgramInfo::from_pin(&path)
        && pinned.tag() == info.tag()
        && same_maps(&pinned, &info)
    {
        let fd = sys::open_pin(&path).map_err(|source| Error::Pins { operation: "open", path, source })?;
        return Ok(Program { fd, id: pinned.id() });
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::Pins { operation: "remove", path, source: error });
        }
        _ => {}
    }
    sys::pin(fd.as_fd(), &path).map_err(|source| Error::Pins { operation: "pin", path, source })?;
    Ok(Program { fd, id: info.id() })
}

fn same_maps(one: &ProgramInfo, other: &ProgramInfo) -> bool {
    let ids = |info: &ProgramInfo| {
        info.map_ids().ok().flatten().map(|mut ids| {
            ids.sort_unstable();
            ids
        })
    };
    matches!((ids(one), ids(other)), (Some(one), Some(other)) if one == other)
}
