//! The kernel's maps as the ownership machine sees them.
//!
//! What is about nodes is in maps of the same shape ([`clarion_dataplane::Fence`]).
//! Addresses are not: the machine knows no interfaces and no MACs. It writes into
//! the [`Book`], and before anything that it says leaves this host the book's
//! changes are brought into the maps.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bytemuck::Zeroable as _;
use clarion_daemon::chain;
use clarion_dataplane::{Dataplane, Error};
use clarion_fence::{Asked, Leases, NodeId, Own, Peer};
use clarion_l2::machine::{Entry, Kernel};

/// What this node holds, by address.
#[derive(Debug, Default)]
pub(in crate::fast) struct Book {
    entries: BTreeMap<IpAddr, Entry>,
    touched: BTreeSet<IpAddr>,
    /// Whether the last access to a map failed, so that a spell is told of once.
    failing: Cell<bool>,
}

impl Book {
    /// Begins with what the maps of a predecessor hold: addresses of interfaces, of which an
    /// address may have several.
    pub(super) fn adopt(
        &mut self,
        observed: &BTreeMap<clarion_dataplane::AddressKey, clarion_dataplane::Entry>,
    ) {
        for (key, entry) in observed {
            if let clarion_dataplane::Entry::Owned { epoch, inc, .. } = *entry {
                // Whose MAC was in the answer does not matter: the machine takes it back.
                let station = NodeId::NOBODY;
                self.entries.insert(key.address, Entry { epoch, inc, station });
            }
        }
    }

    /// What is held of an address.
    pub(in crate::fast) fn get(&self, address: IpAddr) -> Option<Entry> {
        self.entries.get(&address).copied()
    }

    /// The addresses whose entry changed since the last call.
    pub(in crate::fast) fn take_touched(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.touched)
    }
}

/// Both together, for the time of one call of the machine.
pub(super) struct Maps<'a> {
    pub(super) dataplane: &'a mut Dataplane,
    pub(super) book: &'a mut Book,
}

impl Maps<'_> {
    /// The value, or what is safe where a map cannot be read or written. None of it happens
    /// while the maps exist, which this process holds open.
    fn or<T>(&self, fallback: T, result: Result<T, Error>) -> T {
        result.unwrap_or_else(|error| {
            if !self.book.failing.replace(true) {
                let error = chain(&error);
                tracing::error!(
                    error,
                    "the fence's maps fail: this node answers for nothing while its leases lapse"
                );
            }
            fallback
        })
    }
}

impl Kernel for Maps<'_> {
    fn own(&self) -> Option<Own> {
        self.or(None, self.dataplane.fence().own())
    }

    fn set_own(&mut self, own: Own) {
        match self.dataplane.fence_mut().set_own(own) {
            Ok(()) => self.book.failing.set(false),
            failed => self.or((), failed),
        }
    }

    fn leases(&self) -> Leases {
        self.or(Leases::zeroed(), self.dataplane.fence().leases())
    }

    fn peer(&self, node: NodeId) -> Option<Peer> {
        self.or(None, self.dataplane.fence().peer(node))
    }

    fn peers(&self) -> Vec<NodeId> {
        self.or(Vec::new(), self.dataplane.fence().peers())
    }

    fn watch(&mut self, node: NodeId, now: u64) {
        let result = self.dataplane.fence_mut().watch(node, now);
        self.or((), result);
    }

    fn unwatch(&mut self, node: NodeId) {
        let result = self.dataplane.fence_mut().unwatch(node);
        self.or((), result);
    }

    fn granted(&self, node: NodeId) -> u64 {
        // Unknown is never: a grant that cannot be read may have been made just now.
        self.or(u64::MAX, self.dataplane.fence().granted(node))
    }

    fn set_granted(&mut self, node: NodeId, heard: u64) {
        let result = self.dataplane.fence_mut().set_granted(node, heard);
        self.or((), result);
    }

    fn ask(&mut self, about: NodeId, inc: u64, now: u64) -> Asked {
        let result = self.dataplane.fence_mut().ask(about, inc, now);
        self.or(Asked::NotSuspect, result)
    }

    fn entries(&self) -> Vec<(IpAddr, Entry)> {
        self.book.entries.iter().map(|(address, entry)| (*address, *entry)).collect()
    }

    fn set_entry(&mut self, address: IpAddr, entry: Entry) {
        if self.book.entries.insert(address, entry) != Some(entry) {
            self.book.touched.insert(address);
        }
    }

    fn delete_entry(&mut self, address: IpAddr) {
        self.book.entries.remove(&address);
        self.book.touched.insert(address);
    }
}
