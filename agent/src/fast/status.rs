//! What the fast half publishes, for status objects, metrics and `/state`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clarion_core::NodeName;
use clarion_dataplane::Attachment;
use clarion_netlink::{Interface, SkipReason};

use super::{Standing, Vips};

/// When the fast half last went round, for `/healthz`.
#[derive(Debug)]
pub(crate) struct Pulse {
    origin: Instant,
    millis: AtomicU64,
}

impl Pulse {
    /// Counts as alive from now on.
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), millis: AtomicU64::new(0) }
    }

    /// It goes round.
    pub(super) fn beat(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// Time since it last did.
    pub(crate) fn age(&self) -> Duration {
        self.origin.elapsed().saturating_sub(Duration::from_millis(self.millis.load(Ordering::Relaxed)))
    }
}

/// A value; compared to find out what changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FastStatus {
    /// Whether maps were brought in step with a desired state at least once.
    pub(crate) applied: bool,
    /// What is still waited for, in words; empty when everything reflects the
    /// desired state.
    pub(crate) missing: Vec<String>,
    /// Each address of the desired state.
    pub(crate) vips: Arc<Vips>,
    /// Nodes whose round trips with this one succeed: of those that it speaks to, its voters
    /// and those whose voter it is.
    pub(crate) in_contact: BTreeSet<NodeName>,
    /// Whether the kernel answers for what this node holds.
    pub(crate) standing: Standing,
    /// Interfaces that layer 2 is spoken on.
    pub(crate) interfaces: Vec<Interface>,
    /// The others, with the reason.
    pub(crate) skipped: Vec<(String, SkipReason)>,
    /// Where the program runs, and why there.
    pub(crate) attachments: BTreeMap<u32, Attachment>,
    /// Items of the last plan that failed, in words.
    pub(crate) failures: Vec<String>,
}
