//! What the fast half publishes, for status objects, metrics and `/state`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::NodeName;
use clarion_dataplane::AttachedMode;
use clarion_netlink::{Interface, SkipReason};

use super::VipStatus;

/// A value; compared to find out what changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FastStatus {
    /// Whether maps were brought in step with a desired state at least once.
    pub(crate) applied: bool,
    /// What is still waited for, in words; empty when everything reflects the
    /// desired state.
    pub(crate) missing: Vec<String>,
    /// Each address of the desired state.
    pub(crate) vips: Arc<BTreeMap<IpAddr, VipStatus>>,
    /// Nodes whose Lease is fresh.
    pub(crate) alive: BTreeSet<NodeName>,
    /// No renewal comes through: nobody is declared dead.
    pub(crate) frozen: bool,
    /// Interfaces that layer 2 is spoken on.
    pub(crate) interfaces: Vec<Interface>,
    /// The others, with the reason.
    pub(crate) skipped: Vec<(String, SkipReason)>,
    /// Where the program runs.
    pub(crate) attachments: BTreeMap<u32, AttachedMode>,
    /// Items of the last plan that failed, in words.
    pub(crate) failures: Vec<String>,
}
