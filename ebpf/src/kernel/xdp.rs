//! Frames in a driver's buffer, or in the stack for drivers that have none for XDP.

use core::mem::size_of;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use bytemuck::Pod;
use clarion_abi::Verdict;

use super::{Context, Maps, count};
use crate::frame::Frame;

/// A frame in the driver's buffer. The bounds are read from the context anew at
/// each view: `resize` moves them, and the verifier wants fresh ones after it.
struct XdpFrame {
    context: *mut xdp_md,
}

impl XdpFrame {
    /// The one place that makes packet pointers: an offset and a size become a
    /// pointer only after a comparison with the frame's end.
    #[inline(always)]
    fn pointer<T>(&self, at: usize) -> Option<*mut T> {
        // SAFETY: the kernel hands the program a valid context.
        let (start, end) = unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        // SAFETY: no frame lies at the beginning of the address space; said here, the
        // compiler does not look for a null pointer in every frame.
        unsafe { core::hint::assert_unchecked(start != 0) };
        if start + at + size_of::<T>() > end {
            return None;
        }
        Some((start + at) as *mut T)
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn view<T: Pod>(&self, at: usize) -> Option<&T> {
        const { assert!(align_of::<T>() == 1) };
        // SAFETY: in bounds, of alignment 1, any bytes are a `T`; the frame is
        // this CPU's alone, and `&self` keeps writers away.
        self.pointer(at).map(|pointer| unsafe { &*pointer })
    }

    #[inline(always)]
    fn put<T: Pod>(&mut self, at: usize, value: &T) -> bool {
        const { assert!(align_of::<T>() == 1) };
        let Some(pointer) = self.pointer(at) else { return false };
        // SAFETY: as above, and `&mut self` keeps every view away.
        unsafe { *pointer = *value };
        true
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { ((*self.context).data_end as usize).wrapping_sub((*self.context).data as usize) }
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> bool {
        let delta = (len as i32).wrapping_sub(self.len() as i32);
        // SAFETY: a helper call on a valid context; no view outlives `&mut self`.
        unsafe { bpf_xdp_adjust_tail(self.context, delta) == 0 }
    }
}

struct Md(*mut xdp_md);

impl Context for Md {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.0).ingress_ifindex }
    }
}

/// Runs the program on a frame: the one exit that maps an outcome to a verdict
/// and to its counter.
#[inline(always)]
pub fn run(context: *mut xdp_md) -> u32 {
    let Some(outcome) = crate::handle(&mut XdpFrame { context }, &Maps { context: Md(context) }) else {
        return XDP_PASS;
    };
    count(outcome);
    match outcome.verdict() {
        Verdict::Pass => XDP_PASS,
        Verdict::Drop => XDP_DROP,
        Verdict::Answer => XDP_TX,
    }
}
