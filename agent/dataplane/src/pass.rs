//! Lets the far end of a veth receive native answers; for laboratories.
//!
//! `XDP_TX` on a veth hands the frame to the peer's ring, which is only served
//! while the peer receives by NAPI. An XDP program on the peer sees to that; its
//! GRO setting does not (tried on Linux 6.18: on, off and on again, on one end and
//! on both, three times each: no answer arrived, and with this program every one
//! did). A physical NIC needs nothing of the kind.

use std::os::fd::{AsFd, OwnedFd};

use aya::programs::Xdp;
use aya::{Ebpf, include_bytes_aligned};

use crate::error::{Error, ItemError};
use crate::sys;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("CLARION_BPF"), "/pass.o"));
const NAME: &str = "clarion_pass";

/// A program that passes everything, attached natively while this value lives.
#[derive(Debug)]
pub struct Pass {
    _link: OwnedFd,
}

/// Why it could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The program was not loaded.
    #[error("cannot load the passing program")]
    Load(#[source] Error),
    /// The interface took it not.
    #[error("cannot attach the passing program")]
    Attach(#[source] ItemError),
}

/// Attaches to an interface of the calling thread's network namespace.
///
/// # Errors
/// Missing capabilities, or an interface that has a program or takes none.
pub fn attach(ifindex: u32) -> Result<Pass, PassError> {
    let load = || -> Result<OwnedFd, Error> {
        let mut ebpf = Ebpf::load(OBJECT).map_err(|error| Error::Object(Box::new(error)))?;
        let program = ebpf.program_mut(NAME).ok_or(Error::Missing { name: NAME })?;
        let failed = |error| Error::Program(Box::new(error));
        let program: &mut Xdp = <&mut Xdp>::try_from(program).map_err(failed)?;
        program.load().map_err(failed)?;
        let fd = program.fd().map_err(failed)?.as_fd().try_clone_to_owned();
        fd.map_err(|error| failed(error.into()))
    };
    let program = load().map_err(PassError::Load)?;
    let link = sys::attach(program.as_fd(), ifindex, sys::NATIVE)
        .map_err(|source| PassError::Attach(ItemError::Attach { ifindex, mode: "native", source }))?;
    Ok(Pass { _link: link })
}
