//! A program that lets everything pass.
//!
//! For the far end of a veth: a native answer reaches only a peer that receives
//! by NAPI, which an XDP program makes it do.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
#[path = "../object.rs"]
mod object;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action::XDP_PASS;
    use aya_ebpf::macros::xdp;
    use aya_ebpf::programs::XdpContext;

    #[xdp(frags)]
    fn clarion_pass(_: XdpContext) -> u32 {
        XDP_PASS
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
