//! The shipped object: one program, in two sections.
//!
//! `xdp.frags` lets frames of several buffers (jumbo frames) pass a native
//! program, from Linux 5.18; older kernels refuse the flag and get the other.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[path = "../object.rs"]
mod object;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::macros::xdp;
    use aya_ebpf::programs::XdpContext;

    #[xdp(frags)]
    #[inline(always)]
    fn clarion_frags(context: XdpContext) -> u32 {
        clarion_ebpf::kernel::run(context.ctx)
    }

    #[xdp]
    #[inline(always)]
    fn clarion(context: XdpContext) -> u32 {
        clarion_ebpf::kernel::run(context.ctx)
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
