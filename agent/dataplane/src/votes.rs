//! Votes that came for the agent: the program has checked them and leaves them in a
//! ring. No host firewall stands between, and no socket of the agent's can be full
//! of something else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use clarion_abi::names;
use clarion_fence::Wire;

use crate::error::Error;
use crate::tables::take;

/// The ring's only reader. Its descriptor is readable while a vote waits, so that it
/// fits `poll` and tokio's `AsyncFd` alike (edge-triggered: read until `None`).
pub struct Votes {
    ring: RingBuf<MapData>,
}

impl std::fmt::Debug for Votes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Votes").finish_non_exhaustive()
    }
}

impl Votes {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self { ring: take(ebpf, names::VOTES)? })
    }

    /// The next vote, as it came: `clarion_l2::machine::Input::Yes` takes it.
    pub fn next_vote(&mut self) -> Option<Wire> {
        loop {
            let item = self.ring.next()?;
            // The program writes nothing of another length.
            if let Ok(wire) = bytemuck::try_pod_read_unaligned(&item) {
                return Some(wire);
            }
        }
    }
}

impl AsFd for Votes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for Votes {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_fd().as_raw_fd()
    }
}
