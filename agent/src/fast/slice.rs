//! Being scheduled soon.
//!
//! Probes leave each 30 ms, and a node whose probes stay away for 120 ms is fenced. On a node
//! whose processors are all busy a thread that slept waits for its turn among all others, and for
//! longer the less weight its pod has. The fast half needs little time, but soon: it asks
//! for short slices, which Linux takes into account since 6.12 and for which it wants no
//! capability; what is refused or not known costs nothing.

use std::io;

/// The slice asked for: the least that Linux grants.
const SLICE: u64 = 100_000;

/// `struct sched_attr` of `sched_setattr(2)`, in its first version.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// For `SCHED_OTHER`: the slice in nanoseconds.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for short slices for the calling thread. Its nice value stays.
///
/// # Errors
/// The kernel or a seccomp profile refused.
pub(super) fn shorten() -> io::Result<()> {
    let mut attributes = Attributes::default();
    let size = u32::try_from(size_of::<Attributes>()).unwrap_or_default();
    // SAFETY: the kernel writes at most `size` bytes to a value of that size.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes = Attributes { size, runtime: SLICE, ..attributes };
    // SAFETY: the kernel reads `size` bytes of a value of that size.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_may_ask_for_short_slices_without_any_right() {
        super::shorten().unwrap();
    }
}
