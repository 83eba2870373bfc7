//! Why something is so. The same values feed logs, metrics, events, conditions
//! and `kubectl clarion explain`; the words are the ones MetalLB's users search for.

use std::fmt;

use serde::Serialize;

/// Why a node does or does not announce an address. The text forms are MetalLB's
/// `reason` values of its `serviceWithdrawn` log lines (contract §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AnnounceReason {
    /// It is announced from here.
    Announced,
    /// The Service is of another type than LoadBalancer, or of another class.
    NotLoadBalancer,
    /// The controller has not assigned an address yet.
    NoIpAllocated,
    /// No pool of the configuration holds the address.
    IpNotAllowed,
    /// Another node owns the address.
    NotOwner,
    /// No advertisement selects this pool, Service and node.
    NoMatchingAdvertisement,
    /// A shared address and an advertisement with serviceSelectors exclude each other.
    SharedIpWithServiceSelector,
    /// Two advertisements give one route different local preferences.
    ConflictingAdvertisements,
    /// The node has condition NetworkUnavailable.
    NodeNetworkUnavailable,
    /// The node is labelled `node.kubernetes.io/exclude-from-external-load-balancers`.
    NodeLabeledExcludeBalancers,
    /// externalTrafficPolicy is Local and no serving endpoint is on this node.
    NoLocalEndpoints,
    /// No endpoint serves anywhere.
    NoEndpoints,
    /// No agent runs on the node.
    NodeWithoutAgent,
}

impl AnnounceReason {
    /// The word used in logs, metric labels and conditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::NotLoadBalancer => "notLoadBalancer",
            Self::NoIpAllocated => "noIPAllocated",
            Self::IpNotAllowed => "ipNotAllowed",
            Self::NotOwner => "notOwner",
            Self::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Self::SharedIpWithServiceSelector => "sharedIPWithServiceSelector",
            Self::ConflictingAdvertisements => "conflictingAdvertisements",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeLabeledExcludeBalancers => "nodeLabeledExcludeBalancers",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoEndpoints => "noEndpoints",
            Self::NodeWithoutAgent => "nodeWithoutAgent",
        }
    }
}

impl fmt::Display for AnnounceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the controller says of a Service in an event: the `reason` field
/// (contract §3.1, spelled as MetalLB spells it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum AllocReason {
    /// `IPAllocated`, Normal.
    IpAllocated,
    /// `ClearAssignment`, Normal: the configuration no longer allows the address.
    ClearAssignment,
    /// `AdditionalAssignFailed`, Normal: no second family for PreferDualStack.
    AdditionalAssignFailed,
    /// `AllocationFailed`, Warning.
    AllocationFailed,
    /// `LoadBalancerFailed`, Warning: the requested addresses cannot be read.
    LoadBalancerFailed,
    /// `not enough clusterips`, Warning: RequireDualStack on one cluster IP.
    NotEnoughClusterIps,
    /// `nolbIPsIPFamily`, Warning: the status has what are no addresses of one Service.
    NoLbIpsIpFamily,
    /// `noclusterIPsIPFamily`, Warning: a Service with addresses whose cluster IPs are none.
    NoClusterIpsIpFamily,
    /// `deprecatedAnnotation`, Warning: a `metallb.universe.tf/` annotation.
    DeprecatedAnnotation,
    /// `statusContested`, Warning: somebody else writes this Service's status, too. Not MetalLB's.
    StatusContested,
}

impl AllocReason {
    /// The event's `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IpAllocated => "IPAllocated",
            Self::ClearAssignment => "ClearAssignment",
            Self::AdditionalAssignFailed => "AdditionalAssignFailed",
            Self::AllocationFailed => "AllocationFailed",
            Self::LoadBalancerFailed => "LoadBalancerFailed",
            Self::NotEnoughClusterIps => "not enough clusterips",
            Self::NoLbIpsIpFamily => "nolbIPsIPFamily",
            Self::NoClusterIpsIpFamily => "noclusterIPsIPFamily",
            Self::DeprecatedAnnotation => "deprecatedAnnotation",
            Self::StatusContested => "statusContested",
        }
    }

    /// Whether the event's `type` is Warning (else Normal).
    #[must_use]
    pub fn is_warning(self) -> bool {
        match self {
            Self::IpAllocated | Self::ClearAssignment | Self::AdditionalAssignFailed => false,
            Self::AllocationFailed
            | Self::LoadBalancerFailed
            | Self::NotEnoughClusterIps
            | Self::NoLbIpsIpFamily
            | Self::NoClusterIpsIpFamily
            | Self::DeprecatedAnnotation
            | Self::StatusContested => true,
        }
    }
}

impl fmt::Display for AllocReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
