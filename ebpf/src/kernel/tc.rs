//! Frames in a socket buffer, at tc's ingress hook: TCX, or a classifier below a clsact
//! queueing discipline.
//!
//! Three things differ from XDP. The kernel has taken a VLAN tag off by now, if the NIC
//! had not; it lies beside the frame, stays there, and leaves with the answer. Only the
//! frame's beginning need lie in one piece: what is short is gathered first, what is long
//! and scattered is nobody's question. And a frame may be shared with a packet socket
//! (tcpdump): since this program writes, the kernel then gives it a copy of the beginning.

use core::mem::size_of;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_redirect, bpf_skb_change_tail, bpf_skb_pull_data};
use bytemuck::Pod;
use clarion_abi::{MAX_OPTION_UNITS, Verdict};

use super::{Context, Maps, count};
use crate::frame::Frame;

/// The longest question: a tagged solicitation with all the options that are read.
const LONGEST: usize = 18 + 40 + 24 + 8 * MAX_OPTION_UNITS;
/// What of one must be in one piece in a longer frame (padded, or with more options).
const HEAD: usize = 18 + 40 + 24;
const ARP: u16 = 0x0806_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();

struct SkbFrame {
    context: *mut __sk_buff,
}

impl SkbFrame {
    /// Beginning and end of what lies in one piece. Read anew at each view: every
    /// helper that changes the buffer may move it.
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the kernel hands the program a valid context.
        let (start, end) = unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        // SAFETY: no frame lies at the beginning of the address space.
        unsafe { core::hint::assert_unchecked(start != 0) };
        (start, end)
    }

    #[inline(always)]
    fn pointer<T>(&self, at: usize) -> Option<*mut T> {
        let (start, end) = self.bounds();
        if start + at + size_of::<T>() > end {
            return None;
        }
        Some((start + at) as *mut T)
    }

    /// Brings a frame that may be a question into one piece.
    #[inline(always)]
    fn gather(&mut self) {
        let (start, end) = self.bounds();
        let (whole, len) = (end.wrapping_sub(start), self.len());
        if whole >= LONGEST || whole >= len {
            return;
        }
        if len > LONGEST {
            // An Ethernet header always lies in one piece.
            let ether_type = self.view::<[[u8; 2]; 7]>(0).map_or(0, |words| u16::from_ne_bytes(words[6]));
            if whole >= HEAD || (ether_type != ARP && ether_type != IPV6) {
                return;
            }
        }
        // SAFETY: a helper call on a valid context; no view outlives `&mut self`. If it
        // fails, for want of memory, the frame is too short for whoever looks.
        unsafe { bpf_skb_pull_data(self.context, len.min(LONGEST) as u32) };
    }
}

impl Frame for SkbFrame {
    #[inline(always)]
    fn view<T: Pod>(&self, at: usize) -> Option<&T> {
        const { assert!(align_of::<T>() == 1) };
        // SAFETY: in bounds, of alignment 1, any bytes are a `T`; nobody writes to the
        // buffer but this program, and `&self` keeps that away.
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
    fn stripped(&self) -> Option<u16> {
        // SAFETY: the kernel hands the program a valid context.
        let (present, control) = unsafe { ((*self.context).vlan_present, (*self.context).vlan_tci) };
        (present != 0).then_some(control as u16 & 0x0fff)
    }

    #[inline(always)]
    fn sums_later(&self) -> bool {
        true
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.context).len as usize }
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> bool {
        // SAFETY: a helper call on a valid context; no view outlives `&mut self`.
        unsafe { bpf_skb_change_tail(self.context, len as u32, 0) == 0 }
    }
}

struct Skb(*mut __sk_buff);

impl Context for Skb {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.0).ifindex }
    }
}

/// Runs the program on a frame: the one exit that maps an outcome to a verdict and to its
/// counter. What passes goes on to whatever else is at the hook.
#[inline(always)]
pub fn run(context: *mut __sk_buff) -> i32 {
    let mut frame = SkbFrame { context };
    frame.gather();
    let maps = Maps { context: Skb(context) };
    let Some(outcome) = crate::handle(&mut frame, &maps) else { return TC_ACT_UNSPEC };
    count(outcome);
    match outcome.verdict() {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT as i32,
        // SAFETY: a helper that notes where the frame is to go.
        Verdict::Answer => unsafe { bpf_redirect(maps.context.ifindex(), 0) as i32 },
    }
}
