//! The kernel's half of ownership: its maps, as the machine of `agent/l2` needs them.
//!
//! The methods mean what those of `clarion_l2::machine::Kernel` mean, but that each
//! can fail and that addresses are elsewhere ([`crate::Dataplane::set`]): a machine
//! knows no interfaces. Nothing is kept here that the maps have not: they outlive
//! the agent.
//!
//! Until [`Fence::listen`] was called once since the boot the program knows no
//! signals, and it is as if this module were not there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use clarion_abi::{Cell, Switch, Watched, names};
use clarion_fence::{Asked, Keys, LEN, Leases, Message, NodeId, Own, Peer, Vote, Wire, seal};

use crate::error::Error;
use crate::sys;
use crate::tables::{failed, gone, take};
use crate::votes::Votes;

/// `BPF_NOEXIST`: only where there is none.
const NO_EXIST: u64 = 1;
/// Readings of a peer that the program changes meanwhile, and runs of a program that
/// finds a peer being changed. Each takes less than a microsecond.
const TRIES: usize = 64;

/// The maps of the fence.
pub struct Fence {
    switch: Array<MapData, Switch>,
    own: Array<MapData, Cell<Own>>,
    leases: Array<MapData, Cell<Leases>>,
    peers: HashMap<MapData, u64, Watched>,
    grants: HashMap<MapData, u64, u64>,
    keys: Array<MapData, Cell<Keys>>,
    votes: Option<Votes>,
    program: OwnedFd,
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").finish_non_exhaustive()
    }
}

impl Fence {
    pub(crate) fn take(ebpf: &mut Ebpf, program: OwnedFd) -> Result<Self, Error> {
        Ok(Self {
            switch: take(ebpf, names::SWITCH)?,
            own: take(ebpf, names::OWN)?,
            leases: take(ebpf, names::LEASES)?,
            peers: take(ebpf, names::PEERS)?,
            grants: take(ebpf, names::GRANTS)?,
            keys: take(ebpf, names::KEYS)?,
            votes: Some(Votes::take(ebpf)?),
            program,
        })
    }

    /// Has the program take in signals to this UDP port, on every interface that it
    /// is attached to; 0 = none any more. Signals that come elsewhere reach the
    /// agent's socket: see [`Self::relay`].
    ///
    /// # Errors
    /// The map could not be written.
    pub fn listen(&mut self, port: u16) -> Result<(), Error> {
        let switch = self.switch()?;
        self.set_switch(Switch { port: u64::from(port.to_be()), ..switch })
    }

    /// Replaces the keys: what is sent and accepted from now on.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn set_keys(&mut self, keys: &Keys) -> Result<(), Error> {
        self.keys.set(0, Cell(*keys), 0).map_err(failed(names::KEYS))
    }

    /// The keys in force; of number 0 as long as none were set since the boot.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn keys(&self) -> Result<Keys, Error> {
        let Cell(keys) = self.keys.get(&0, 0).map_err(failed(names::KEYS))?;
        Ok(keys)
    }

    /// The votes that come for this agent. There is one reader, so a second call
    /// returns `None`.
    pub fn take_votes(&mut self) -> Option<Votes> {
        self.votes.take()
    }

    /// What was last written about this node; `None` on the first start since boot.
    ///
    /// # Errors
    /// A map could not be read.
    pub fn own(&self) -> Result<Option<Own>, Error> {
        let Cell(own) = self.own.get(&present(&self.switch()?), 0).map_err(failed(names::OWN))?;
        Ok((own.id != NodeId::NOBODY).then_some(own))
    }

    /// Replaces it, heartbeat included. The program reads the one or the other, never
    /// a mixture. ([`crate::Dataplane::beat`] is the heartbeat of addresses that need
    /// no lease; both are needed.)
    ///
    /// # Errors
    /// A map could not be written.
    pub fn set_own(&mut self, own: Own) -> Result<(), Error> {
        let switch = self.switch()?;
        let other = 1 - present(&switch);
        self.own.set(other, Cell(own), 0).map_err(failed(names::OWN))?;
        self.set_switch(Switch { own: u64::from(other), ..switch })
    }

    /// This node's leases.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn leases(&self) -> Result<Leases, Error> {
        let Cell(leases) = self.leases.get(&0, 0).map_err(failed(names::LEASES))?;
        Ok(leases)
    }

    /// What was heard of a peer; `None` if it is not watched.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn peer(&self, node: NodeId) -> Result<Option<Peer>, Error> {
        let Some(mut last) = self.watched(node)? else { return Ok(None) };
        // The kernel copies a value while the program may change it: what was read
        // twice alike was not.
        for _ in 0..TRIES {
            let Some(again) = self.watched(node)? else { return Ok(None) };
            if again == last && again.busy == 0 {
                break;
            }
            last = again;
        }
        Ok(Some(last.peer))
    }

    /// The peers watched.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn peers(&self) -> Result<Vec<NodeId>, Error> {
        self.peers.keys().map(|key| key.map(NodeId).map_err(failed(names::PEERS))).collect()
    }

    /// Watches a node from now on; one that is watched stays as it is. At most
    /// `clarion_abi::MAX_PEERS` are.
    ///
    /// # Errors
    /// The map is full, or could not be written.
    pub fn watch(&mut self, node: NodeId, now: u64) -> Result<(), Error> {
        let watched = Watched { peer: Peer::new(now), busy: 0 };
        match self.peers.insert(node.0, watched, NO_EXIST) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                Ok(())
            }
            result => result.map_err(failed(names::PEERS)),
        }
    }

    /// Ends that, and what was promised about it; one that is not watched is fine.
    ///
    /// # Errors
    /// A map could not be written.
    pub fn unwatch(&mut self, node: NodeId) -> Result<(), Error> {
        gone(self.peers.remove(&node.0)).map_err(failed(names::PEERS))?;
        gone(self.grants.remove(&node.0)).map_err(failed(names::GRANTS))
    }

    /// When the newest stamp of the peer's that a probe of ours granted a lease was
    /// heard; 0 = never.
    ///
    /// # Errors
    /// The map could not be read.
    pub fn granted(&self, node: NodeId) -> Result<u64, Error> {
        found(self.grants.get(&node.0, 0)).map(Option::unwrap_or_default).map_err(failed(names::GRANTS))
    }

    /// Replaces it. On return the program sees it: who reads the peer afterwards sees
    /// every promise that was made without knowing of it.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn set_granted(&mut self, node: NodeId, heard: u64) -> Result<(), Error> {
        let written = self.grants.insert(node.0, heard, 0).map_err(failed(names::GRANTS));
        // The program stores its promise, and then reads this number.
        fence(Ordering::SeqCst);
        written
    }

    /// Has this node's own kernel promise us something about a peer, as any voter's
    /// kernel would promise it; a node that is not watched is not suspect.
    ///
    /// # Errors
    /// A map could not be read, or the kernel does not run the program.
    pub fn ask(&mut self, about: NodeId, inc: u64, now: u64) -> Result<Asked, Error> {
        let Some(own) = self.own()? else { return Ok(Asked::NotSuspect) };
        let keys = self.keys()?;
        let question = Message::ask(own.id, own.id, own.inc, Vote { about, inc, nonce: now });
        for _ in 0..TRIES {
            if self.relay(&seal(&question, &keys.current))?.is_some() {
                return Ok(Asked::Yes);
            }
            // The program says no more than no. The rules know why.
            let Some(mut peer) = self.peer(about)? else { return Ok(Asked::NotSuspect) };
            let word = self.granted(about)?;
            let granted = |peer: &Peer| peer.granted.max(word);
            let asked = clarion_fence::ask(&own, &mut peer, granted, inc, own.id, now);
            if asked != Asked::Yes {
                return Ok(asked);
            }
            // They would have said yes: the peer was just being changed.
        }
        Ok(Asked::NotSuspect)
    }

    /// Has the program take in a signal that came to the agent's socket (from an
    /// interface that the program is not attached to). Returns the answer, to be sent
    /// to whoever sent the signal.
    ///
    /// # Errors
    /// A map could not be read, or the kernel does not run the program.
    pub fn relay(&self, signal: &Wire) -> Result<Option<Wire>, Error> {
        let mut frame = [0; FRAME];
        let (head, payload) = frame.split_at_mut(FRAME - LEN);
        head.copy_from_slice(&HEAD);
        let port = self.switch()?.port.to_ne_bytes();
        for at in [34, 36] {
            if let Some(place) = head.get_mut(at..at + 2) {
                place.copy_from_slice(port.get(..2).unwrap_or_default());
            }
        }
        payload.copy_from_slice(bytemuck::bytes_of(signal));
        let verdict = sys::run(self.program.as_fd(), &mut frame).map_err(Error::Run)?;
        let answer = frame.get(FRAME - LEN..).unwrap_or_default();
        Ok((verdict == sys::TX).then(|| bytemuck::pod_read_unaligned(answer)))
    }

    fn watched(&self, node: NodeId) -> Result<Option<Watched>, Error> {
        found(self.peers.get(&node.0, 0)).map_err(failed(names::PEERS))
    }

    fn switch(&self) -> Result<Switch, Error> {
        self.switch.get(&0, 0).map_err(failed(names::SWITCH))
    }

    fn set_switch(&mut self, switch: Switch) -> Result<(), Error> {
        self.switch.set(0, switch, 0).map_err(failed(names::SWITCH))
    }
}

/// Ethernet, IPv4 and UDP around a signal.
const FRAME: usize = 14 + 20 + 8 + LEN;
/// All of it but the ports: from one loopback address to another. (The program reads
/// no checksum: the tag says more.)
const HEAD: [u8; FRAME - LEN] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
    0x45, 0, 0, 92, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IPv4
    0, 0, 0, 0, 0, 72, 0, 0, // UDP
];

/// Which of the two counts.
fn present(switch: &Switch) -> u32 {
    u32::from(switch.own & 1 == 1)
}

fn found<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
