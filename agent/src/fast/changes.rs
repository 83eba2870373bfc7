//! What of this node's answering changed, for the log: pure. One line a change of an
//! address's state, so the network cannot make the log grow. That the whole node is fenced is
//! told in one line ([`super::Standing`]), whatever it holds.

use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::NodeName;

use super::plan::{VipState, VipStatus, Vips};
use crate::desired::Desired;

/// The node begins or ceases to answer for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) address: IpAddr,
    pub(super) answers: bool,
    pub(super) reason: &'static str,
    /// Who answered before (a beginning) or owns it now (an end), if it is known and
    /// another node.
    pub(super) other: Option<NodeName>,
    /// The Services that have the address, separated by commas; empty if it has none any more.
    pub(super) services: String,
}

/// The changes from `old` to `new`, by address.
pub(super) fn changes(me: &NodeName, old: &Vips, new: &Vips, desired: &Desired) -> Vec<Change> {
    let answers = |vip: &&Arc<VipStatus>| matches!(vip.state, VipState::Announced | VipState::Fenced);
    let other = |vip: Option<&Arc<VipStatus>>| vip.and_then(|v| v.owner.clone()).filter(|node| node != me);
    let services = |address: &IpAddr| {
        let services = desired.l2.get(address).into_iter().flat_map(|vip| &vip.services);
        services.map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    let begin = new.iter().filter(|(_, vip)| answers(vip)).filter_map(|(address, vip)| {
        let before = old.get(address);
        (!before.as_ref().is_some_and(answers)).then(|| Change {
            address: *address,
            answers: true,
            reason: vip.reason.as_str(),
            other: other(before),
            services: services(address),
        })
    });
    let end = old.iter().filter(|(_, vip)| answers(vip)).filter_map(|(address, _)| {
        let now = new.get(address);
        (!now.as_ref().is_some_and(answers)).then(|| Change {
            address: *address,
            answers: false,
            reason: now.map_or("withdrawn", |vip| why_not(vip)),
            other: other(now),
            services: services(address),
        })
    });
    begin.chain(end).collect()
}

/// Why a node does not answer for an address that is still to be announced.
fn why_not(vip: &VipStatus) -> &'static str {
    match vip.state {
        VipState::OwnedElsewhere => "notOwner",
        VipState::NoInterface => "noInterface",
        VipState::Unowned | VipState::Announced | VipState::Fenced => vip.reason.as_str(),
    }
}

impl Change {
    /// Writes the line.
    pub(super) fn log(&self) {
        let Self { address, reason, .. } = self;
        let service = (!self.services.is_empty()).then_some(self.services.as_str());
        let other = self.other.as_ref().map(NodeName::as_str);
        if self.answers {
            tracing::info!(%address, service, reason, from = other, "this node answers for the address");
        } else {
            tracing::info!(%address, service, reason, to = other, "this node no longer answers for the address");
        }
    }
}
