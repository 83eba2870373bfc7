//! The few `bpf(2)` calls on links that aya does not offer as they are needed.
//!
//! aya falls back to netlink when a link cannot be made, which leaves a program
//! attached that no pin holds, and it cannot say which interface a link is on.
//! Here are the plain system calls; all `unsafe` of the crate is in this file.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
/// Before every program that is there (`BPF_F_BEFORE`).
const FIRST: u32 = 1 << 3;
/// `BPF_LINK_TYPE_XDP` and `BPF_LINK_TYPE_TCX`.
const LINKS: [u32; 2] = [6, 11];

/// `XDP_TX`.
pub(crate) const TX: u32 = 3;
/// Attach in the network stack (`XDP_FLAGS_SKB_MODE`).
pub(crate) const GENERIC: u32 = 1 << 1;
/// Attach in the driver (`XDP_FLAGS_DRV_MODE`).
pub(crate) const NATIVE: u32 = 1 << 2;

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// With the part that TCX reads: relative to which program, at which state of the list;
/// to none and at any.
#[repr(C)]
struct TcxCreate {
    link: LinkCreate,
    relative: u32,
    pad: u32,
    revision: u64,
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
struct LinkDetach {
    link: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    len: u32,
    info: u64,
}

/// The part of the attributes that Linux 5.15 has, too.
#[repr(C)]
struct TestRun {
    program: u32,
    verdict: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// What every kind of `struct bpf_*_info` begins with.
#[repr(C)]
#[derive(Default)]
struct InfoHead {
    kind: u32,
    id: u32,
}

/// Kinds of objects that a pin can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Program,
    Link,
}

/// Which object a descriptor is of: two with equal identities are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    pub(crate) id: u32,
}

/// `struct bpf_link_info` of a link of XDP or TCX.
#[repr(C)]
#[derive(Default)]
pub(crate) struct LinkInfo {
    kind: u32,
    id: u32,
    /// Id of the program that the link runs.
    pub(crate) program: u32,
    pad: u32,
    /// Index of the interface, 0 once it is gone.
    pub(crate) ifindex: u32,
    rest: [u32; 3],
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are a valid, initialised prefix of `union bpf_attr`
    // of the size given; pointers in them outlive the call in every caller.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), std::mem::size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for the caller alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// Opens a pinned object.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    bpf(BPF_OBJ_GET, &mut Object { path: path.as_ptr() as u64, fd: 0, flags: 0 }).map(owned)
}

/// Pins an object; the file must not exist.
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    bpf(BPF_OBJ_PIN, &mut Object { path: path.as_ptr() as u64, fd: raw(fd), flags: 0 }).map(drop)
}

/// Attaches a classifier to an interface's ingress by TCX, before what is there; Linux
/// before 6.6 says `EINVAL`.
pub(crate) fn attach_tcx(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    let link = LinkCreate { program: raw(program), ifindex, attach_type: BPF_TCX_INGRESS, flags: FIRST };
    bpf(BPF_LINK_CREATE, &mut TcxCreate { link, relative: 0, pad: 0, revision: 0 }).map(owned)
}

/// Attaches an XDP program to an interface, [`NATIVE`] or [`GENERIC`].
pub(crate) fn attach(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate { program: raw(program), ifindex, attach_type: BPF_XDP, flags };
    bpf(BPF_LINK_CREATE, &mut attributes).map(owned)
}

/// Lets a link run another program, atomically.
pub(crate) fn update(link: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes =
        LinkUpdate { link: raw(link.as_fd()), program: raw(program), flags: 0, old_program: 0 };
    bpf(BPF_LINK_UPDATE, &mut attributes).map(drop)
}

/// Detaches a link at once; removing its pin alone would do so a little later.
pub(crate) fn detach(link: &OwnedFd) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &mut LinkDetach { link: raw(link.as_fd()) }).map(drop)
}

/// The id of a program; an error for an object of another kind.
pub(crate) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    match identity(program)? {
        Identity { kind: Kind::Program, id } => Ok(id),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a program")),
    }
}

/// Runs an XDP program on a frame, which becomes what the program made of it. The
/// verdict.
pub(crate) fn run(program: BorrowedFd<'_>, frame: &mut [u8]) -> io::Result<u32> {
    let size = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let data_out = frame.as_mut_ptr() as u64;
    // The kernel copies the frame before it runs the program and back afterwards.
    let mut attributes = TestRun {
        program: raw(program),
        verdict: 0,
        size_in: size,
        size_out: size,
        data_in: data_out,
        data_out,
        repeat: 1,
        duration: 0,
    };
    bpf(BPF_PROG_TEST_RUN, &mut attributes)?;
    Ok(attributes.verdict)
}

fn info<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let len = u32::try_from(std::mem::size_of::<T>()).map_err(io::Error::other)?;
    let mut attributes = InfoByFd { fd: raw(object), len, info: std::ptr::from_mut(info) as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes).map(drop)
}

/// What a link of XDP or TCX is on, and what it runs; an error for an object of another
/// kind.
pub(crate) fn link_info(link: &OwnedFd) -> io::Result<LinkInfo> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a link of XDP or TCX");
    if kind(link.as_fd())? != Kind::Link {
        return Err(wrong());
    }
    let mut found = LinkInfo::default();
    info(link.as_fd(), &mut found)?;
    if LINKS.contains(&found.kind) { Ok(found) } else { Err(wrong()) }
}

/// Which object a descriptor is of.
pub(crate) fn identity(object: BorrowedFd<'_>) -> io::Result<Identity> {
    let mut head = InfoHead::default();
    info(object, &mut head)?;
    Ok(Identity { kind: kind(object)?, id: head.id })
}

/// The kernel gives maps, programs and links ids of their own and the same call to
/// ask for them; which of the three a descriptor is shows in its name only.
fn kind(object: BorrowedFd<'_>) -> io::Result<Kind> {
    let name = fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
    let name = name.to_string_lossy();
    [("map", Kind::Map), ("prog", Kind::Program), ("link", Kind::Link)]
        .into_iter()
        .find_map(|(word, kind)| (name.contains("bpf") && name.ends_with(word)).then_some(kind))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a BPF object"))
}

/// The clock that the program compares with: runs on through a suspend.
pub(crate) fn boot_clock() -> io::Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?))
}

/// Gives back what reading the object and its types took: a megabyte or more, which the
/// allocator would keep for as long as the agent lives.
pub(crate) fn give_memory_back() {
    // SAFETY: malloc_trim(3) takes no pointer and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
