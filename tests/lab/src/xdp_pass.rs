//! An XDP program that passes every frame, for the switch's side of a veth pair.
//!
//! Native XDP_TX on one end of a veth reaches the other end only when that end
//! receives by NAPI, which it does as long as it carries a native XDP program
//! itself. A hardware switch needs no such thing: this is a property of the
//! lab's wires, not of what is tested.
//!
//! Two instructions, loaded by bpf(2) itself: the lab shall not need a BPF
//! toolchain or the product's own loader.

use anyhow::{Context, Result};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// bpf(2) commands and numbers (include/uapi/linux/bpf.h).
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// include/uapi/linux/if_link.h
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// The program understands frames of several fragments (kernel 5.18).
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// `r0 = XDP_PASS; exit`
const PROGRAM: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The head of `union bpf_attr` for BPF_PROG_LOAD, up to `expected_attach_type`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The head of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The attachment; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct XdpPass {
    _link: File,
}

impl XdpPass {
    /// Attaches to an interface of the *calling thread's* namespace, native mode.
    ///
    /// # Errors
    /// When the kernel refuses (no CAP_BPF, no native XDP on that driver).
    pub(crate) fn attach(interface: &str) -> Result<Self> {
        let ifindex = nix::net::if_::if_nametoindex(interface).with_context(|| interface.to_owned())?;
        // Kernels before 5.18 know no fragments; there the plain program does.
        let program = load(BPF_F_XDP_HAS_FRAGS).or_else(|_| load(0)).context("load an XDP program")?;
        let attr = LinkCreate {
            prog_fd: u32::try_from(program.as_raw_fd()).context("descriptor")?,
            target_ifindex: ifindex,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        };
        let link = bpf(BPF_LINK_CREATE, &attr).with_context(|| format!("attach XDP to {interface}"))?;
        Ok(Self { _link: File::from(link) })
    }
}

fn load(flags: u32) -> std::io::Result<OwnedFd> {
    let license = c"GPL";
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: 2,
        insns: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_flags: flags,
        expected_attach_type: BPF_XDP,
        ..ProgLoad::default()
    };
    bpf(BPF_PROG_LOAD, &attr)
}

fn bpf<T>(command: libc::c_long, attr: &T) -> std::io::Result<OwnedFd> {
    // SAFETY: `attr` is one of the two structs above, laid out as the head of union bpf_attr, and
    // what it points to (PROGRAM, a literal) is static.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(std::io::Error::other)?;
    // SAFETY: both commands return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
