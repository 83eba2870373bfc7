//! For benchmarks only: restores a frame, then calls the program under test.
//!
//! A program that answers turns the request into the answer, so from the second
//! of `BPF_PROG_TEST_RUN`'s repetitions on it would time its own answer. This one
//! writes the request back and tail-calls entry 0: the very program that ships.
//! With an empty program in entry 0 it measures its own cost, to be subtracted. The same
//! for XDP and for tc: a program can only call one of its kind.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[path = "../object.rs"]
mod object;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
    use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
    use aya_ebpf::macros::{classifier, map, xdp};
    use aya_ebpf::maps::{Array, ProgramArray};
    use aya_ebpf::programs::{TcContext, XdpContext};

    #[map(name = "BENCH_FRAME")]
    static FRAME: Array<[u8; 128]> = Array::with_max_entries(1, 0);
    #[map(name = "BENCH_NEXT")]
    static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);
    #[map(name = "BENCH_NEXT_TC")]
    static NEXT_TC: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// Writes the first `LEN` bytes of the request, in words; the last overlaps.
    #[inline(always)]
    fn restore<const LEN: usize>(start: usize, end: usize) {
        if start + LEN > end {
            return;
        }
        let Some(frame) = FRAME.get_ptr(0) else { return };
        let source = frame.cast::<u8>();
        for word in 0..=LEN / 8 {
            let at = if word == LEN / 8 { LEN - 8 } else { word * 8 };
            // SAFETY: within the frame, as compared above, and within the map's
            // 128 bytes; the target allows accesses that are not aligned.
            unsafe {
                let word = source.add(at).cast::<u64>().read_unaligned();
                ((start + at) as *mut u64).write_unaligned(word);
            }
        }
    }

    #[xdp(frags)]
    fn bench_arp(context: XdpContext) -> u32 {
        restore::<42>(context.data(), context.data_end());
        next(&context)
    }

    #[xdp(frags)]
    fn bench_vlan_arp(context: XdpContext) -> u32 {
        restore::<46>(context.data(), context.data_end());
        next(&context)
    }

    #[xdp(frags)]
    fn bench_ns(context: XdpContext) -> u32 {
        restore::<86>(context.data(), context.data_end());
        next(&context)
    }

    #[xdp(frags)]
    fn bench_signal(context: XdpContext) -> u32 {
        restore::<106>(context.data(), context.data_end());
        next(&context)
    }

    #[inline(always)]
    fn next(context: &XdpContext) -> u32 {
        // SAFETY: returns only when entry 0 is empty.
        let _ = unsafe { NEXT.tail_call(context, 0) };
        XDP_ABORTED
    }

    #[classifier]
    fn bench_arp_tc(context: TcContext) -> i32 {
        restore::<42>(context.data(), context.data_end());
        next_tc(&context)
    }

    #[classifier]
    fn bench_ns_tc(context: TcContext) -> i32 {
        restore::<86>(context.data(), context.data_end());
        next_tc(&context)
    }

    #[inline(always)]
    fn next_tc(context: &TcContext) -> i32 {
        // SAFETY: returns only when entry 0 is empty.
        let _ = unsafe { NEXT_TC.tail_call(context, 0) };
        TC_ACT_SHOT as i32
    }

    #[classifier]
    fn bench_empty_tc(_: TcContext) -> i32 {
        TC_ACT_UNSPEC
    }

    #[xdp(frags)]
    fn bench_empty(_: XdpContext) -> u32 {
        XDP_PASS
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
