//! Which nodes an L2Advertisement lets announce, in one place: the controller plans owners by
//! it and the agents announce by it (contract §2.8, §4.1).

use clarion_core::{AnnounceReason, LabelSelector, Labels};

use crate::{Config, L2Advertisement, Pool};

/// The label that keeps load balancers away from a node, whatever its value.
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Whether an endpoint of an EndpointSlice takes traffic, by its conditions: one that is ready (or
/// of which that is not known), and one that terminates and still serves (contract §2.8).
#[must_use]
pub fn serves(ready: Option<bool>, serving: Option<bool>, addresses: &[String]) -> bool {
    (ready.unwrap_or(true) || serving.unwrap_or(false)) && !addresses.is_empty()
}

impl Config {
    /// The advertisements of the pool that select a Service with these labels.
    ///
    /// # Errors
    /// There are none; or the Service may share its address (`shared`) and some select by Service:
    /// of two Services on one address, one selected and the other not, both could not be right.
    pub fn l2_advertisements(
        &self,
        pool: &Pool,
        labels: &Labels,
        shared: bool,
    ) -> Result<Vec<&L2Advertisement>, AnnounceReason> {
        let selects = |a: &&L2Advertisement| {
            a.pools.matches(pool) && LabelSelector::any_matches(&a.service_selectors, labels)
        };
        let matching: Vec<_> = self.l2.values().filter(selects).collect();
        if matching.is_empty() {
            return Err(AnnounceReason::NoMatchingAdvertisement);
        }
        if shared && matching.iter().any(|a| !a.service_selectors.is_empty()) {
            return Err(AnnounceReason::SharedIpWithServiceSelector);
        }
        Ok(matching)
    }
}

impl L2Advertisement {
    /// Whether a node with these labels may announce by it.
    #[must_use]
    pub fn covers(&self, node_labels: &Labels) -> bool {
        LabelSelector::any_matches(&self.node_selectors, node_labels)
    }
}

/// How much a node with these labels is preferred: the sum of the weights of all matching
/// `preferredNodeSelectors` of the advertisements that cover it.
///
/// # Errors
/// None covers it.
pub fn l2_score(advertisements: &[&L2Advertisement], node_labels: &Labels) -> Result<u32, AnnounceReason> {
    let mut covering = advertisements.iter().filter(|a| a.covers(node_labels)).peekable();
    if covering.peek().is_none() {
        return Err(AnnounceReason::NoMatchingAdvertisement);
    }
    let preferences = covering.flat_map(|a| &a.preferred_nodes);
    Ok(preferences.filter(|(_, s)| s.matches(node_labels)).map(|(weight, _)| u32::from(*weight)).sum())
}
