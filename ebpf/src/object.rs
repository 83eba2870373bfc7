//! What every object needs beside its programs; each binary includes this file.
//!
//! Not in the library: what links it has its maps as well, and the objects for
//! laboratories have none of them.

/// No helper that is used is for GPL programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";

/// Never runs: there is nothing to unwind, and the verifier would refuse it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
