//! From one Service to another: an address is not shown by its next holder before its former
//! one has ceased to show it.
//!
//! Taking and giving are two writes to two objects. The allocator knows one holder at any time,
//! but the network believes statuses: were the next holder's written first, or the former's
//! refused for a while, two Services that may not share would show one address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_core::{ServiceKey, VipSet};

use crate::planner::StatusWrite;
use crate::service::ServiceView;

/// Addresses that have been taken from Services that may still show them.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    leaving: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    /// By former holder, who waits for it.
    waiting: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
}

impl Handover {
    /// Takes note of what a Service shows and shall not show any more.
    pub(crate) fn leaves(&mut self, service: &ServiceView, write: &StatusWrite) {
        let shown = service.shown.addresses.unwrap_or_default();
        for address in shown.iter().filter(|address| !write.addresses.contains(*address)) {
            self.leaving.entry(address).or_default().insert(service.key.clone());
        }
    }

    /// Takes out of a write what others still show, as `shows` tells; whether anything was. Who
    /// is to write it is called again when they have ceased to ([`Self::moved`]).
    pub(crate) fn hold_back(
        &mut self,
        write: &mut StatusWrite,
        shows: impl Fn(&ServiceKey, IpAddr) -> bool,
    ) -> bool {
        let mut free = Vec::new();
        let all: Vec<IpAddr> = write.addresses.iter().collect();
        for address in &all {
            let former = self.leaving.get(address).into_iter().flatten();
            let still = former.filter(|former| **former != write.key).find(|former| shows(former, *address));
            let Some(still) = still else {
                free.push(*address);
                continue;
            };
            self.waiting.entry(still.clone()).or_default().insert(write.key.clone());
        }
        if free.len() == all.len() {
            return false;
        }
        // Of each family there was one at most, so there is one at most.
        write.addresses = VipSet::from_addresses(free).unwrap_or_default();
        if write.addresses.is_empty() {
            write.pool = None;
        }
        true
    }

    /// A Service shows these addresses now; `None` if it is gone. Who has waited for that.
    pub(crate) fn moved(&mut self, key: &ServiceKey, shown: Option<VipSet>) -> BTreeSet<ServiceKey> {
        let shown = shown.unwrap_or_default();
        self.leaving.retain(|address, formers| {
            if !shown.contains(*address) {
                formers.remove(key);
            }
            !formers.is_empty()
        });
        self.waiting.remove(key).unwrap_or_default()
    }
}
