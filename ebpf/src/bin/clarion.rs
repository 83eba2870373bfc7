//! The shipped object: one program, in three sections.
//!
//! `xdp.frags` lets frames of several buffers (jumbo frames) pass a native
//! program, from Linux 5.18; older kernels refuse the flag and get the other. The
//! classifier does the same at tc's ingress hook, where XDP cannot be had.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[path = "../object.rs"]
mod object;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};

    #[xdp(frags)]
    #[inline(always)]
    fn clarion_frags(context: XdpContext) -> u32 {
        clarion_ebpf::kernel::xdp::run(context.ctx)
    }

    #[xdp]
    #[inline(always)]
    fn clarion(context: XdpContext) -> u32 {
        clarion_ebpf::kernel::xdp::run(context.ctx)
    }

    #[classifier]
    #[inline(always)]
    fn clarion_tc(context: TcContext) -> i32 {
        clarion_ebpf::kernel::tc::run(context.skb.skb)
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
