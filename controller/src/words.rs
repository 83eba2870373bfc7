//! Events, worded as MetalLB words them (contract §3.1): users search for these texts
//! and select by these reasons.

use std::net::IpAddr;

use clarion_alloc::{Decision, Outcome, Refusal, quoted};
use clarion_core::{AllocReason, PoolName, ServiceKey};
use clarion_daemon::cut;

use crate::service::FamilyProblem;

/// The longest message. An event's has at most 1024 octets.
const LONGEST: usize = 1000;

/// An event to be told about a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Saying {
    /// `reason`, and by it the type.
    pub reason: AllocReason,
    /// `message`.
    pub message: String,
}

impl Saying {
    /// Annotations are quoted in messages and may have 256 KiB; nobody reads so much, and all that
    /// is said is kept as long as it stands.
    fn new(reason: AllocReason, message: String) -> Self {
        Self { reason, message: cut(message, LONGEST) }
    }

    /// It got these addresses.
    #[must_use]
    pub fn assigned(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self::new(AllocReason::IpAllocated, format!("Assigned IP {}", quoted(addresses)))
    }

    /// It got nothing.
    #[must_use]
    pub fn failed(service: &ServiceKey, why: &Refusal) -> Self {
        Self::new(AllocReason::AllocationFailed, format!("Failed to allocate IP for \"{service}\": {why}"))
    }

    /// It got nothing, since the pool that it asks for is there, but not in force.
    #[must_use]
    pub fn set_aside(service: &ServiceKey, refusal: &Refusal, pool: &PoolName, why: &str) -> Self {
        let Self { reason, message } = Self::failed(service, refusal);
        Self::new(reason, format!("{message}: IPAddressPool {pool} is set aside: {why}"))
    }

    /// It had to give up what it had.
    #[must_use]
    pub fn cleared(service: &ServiceKey, why: &Refusal) -> Self {
        Self::new(
            AllocReason::ClearAssignment,
            format!(
                "current IP for \"{service}\" not allowed by config, will attempt for new IP assignment: {why}"
            ),
        )
    }

    /// It has one address and would like one of each family.
    #[must_use]
    pub fn single(why: &Refusal) -> Self {
        Self::new(
            AllocReason::AdditionalAssignFailed,
            format!("cannot assign additional IP in PreferDualStack: {why}"),
        )
    }

    /// It uses an annotation with the old prefix.
    #[must_use]
    pub fn deprecated(key: &str) -> Self {
        Self::new(AllocReason::DeprecatedAnnotation, format!("Service uses deprecated annotation {key}"))
    }

    /// Somebody else writes its status, too: the manager of what is there, if that is known.
    #[must_use]
    pub fn contested(manager: Option<&str>) -> Self {
        Self::new(AllocReason::StatusContested, crate::rival::remedy(manager))
    }

    /// Its families cannot be told. `None` while the API server has not given it a ClusterIP
    /// yet. `holds`: it keeps the addresses that it has.
    #[must_use]
    pub fn families(service: &ServiceKey, problem: &FamilyProblem, holds: bool) -> Option<Self> {
        match problem {
            FamilyProblem::NoClusterIps => None,
            FamilyProblem::NotEnough(texts) => Some(Self::new(
                AllocReason::NotEnoughClusterIps,
                format!("Service requires dual stack but not enough clusterips [{}]", texts.join(" ")),
            )),
            FamilyProblem::Unreadable { texts, first } if holds => Some(Self::new(
                AllocReason::NoClusterIpsIpFamily,
                format!(
                    "Failed to retrieve ClusterIPs IPFamily for {} {first}: {}",
                    list(texts),
                    not_a_family(texts)
                ),
            )),
            FamilyProblem::Unreadable { texts, .. } => Some(Self::new(
                AllocReason::AllocationFailed,
                format!("Failed to allocate IP for \"{service}\": {}", not_a_family(texts)),
            )),
        }
    }

    /// Its status has what are no addresses of one Service; they are replaced.
    #[must_use]
    pub fn strange(texts: &[String]) -> Self {
        Self::new(
            AllocReason::NoLbIpsIpFamily,
            format!("Failed to retrieve LBIPs IPFamily for {}: {}", list(texts), not_a_family(texts)),
        )
    }
}

/// Texts as Go prints a list with `%q`.
fn list(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// Why texts are not one address, or one of each family.
fn not_a_family(texts: &[String]) -> String {
    let readable = texts.iter().all(|text| text.parse::<IpAddr>().is_ok());
    let why = match texts.len() {
        0 | 3.. => {
            return format!("IPFamilyForAddresses: invalid ips length {} {}", texts.len(), list(texts));
        }
        2 if readable => "same address family",
        _ => "Invalid address",
    };
    format!("IPFamilyForAddresses: {why} {}", list(texts))
}

/// What is to be said of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sayings {
    /// Something happened: said each time, once it is written.
    pub happened: Vec<Saying>,
    /// Something is so: said when it begins to be so.
    pub standing: Vec<Saying>,
}

impl Sayings {
    /// Of a decision of the allocator.
    #[must_use]
    pub fn of(service: &ServiceKey, decision: &Decision) -> Self {
        let mut said = Self::default();
        if let Some(why) = decision.cleared.as_ref().and_then(|cleared| cleared.why.as_ref()) {
            said.happened.push(Saying::cleared(service, why));
        }
        match &decision.outcome {
            Outcome::Kept(_) => {}
            Outcome::Assigned(grant) => said.happened.push(Saying::assigned(grant.addresses.iter())),
            Outcome::Extended { added, .. } => said
                .happened
                .push(Saying::new(AllocReason::IpAllocated, format!("Assigned additional IP \"{added}\""))),
            Outcome::AssignedSingle { grant, why } => {
                said.happened.push(Saying::assigned(grant.addresses.iter()));
                said.standing.push(Saying::single(why));
            }
            Outcome::KeptSingle { why, .. } => said.standing.push(Saying::single(why)),
            Outcome::KeptDespite { why, .. } => said.standing.push(Saying::new(
                AllocReason::LoadBalancerFailed,
                format!("invalid requested loadbalancer IPs: {why}"),
            )),
            Outcome::Refused(why) => said.standing.push(Saying::failed(service, why)),
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_alloc::{Cleared, Grant, Lack, Unfit, WishError};
    use clarion_core::VipSet;

    #[test]
    fn events_are_worded_as_in_section_3_1() {
        let addresses = VipSet::from_addresses(["192.0.2.1".parse().unwrap()]).unwrap();
        let grant = || Grant { addresses, pool: "gold".into() };
        let full = || Refusal::PoolExhausted("gold".into(), Lack::Addresses);
        let added = "2001:db8::1".parse().unwrap();
        let gone = || Cleared { addresses, why: Some(Refusal::NotAllowed(addresses, Unfit::Unknown)) };
        // (lost, outcome, events: reason, warning, message)
        type Row = (Option<Cleared>, Outcome, &'static [(&'static str, bool, &'static str)]);
        let table: [Row; 8] = [
            (None, Outcome::Kept(grant()), &[]),
            (None, Outcome::Assigned(grant()), &[("IPAllocated", false, r#"Assigned IP ["192.0.2.1"]"#)]),
            (
                None,
                Outcome::Extended { grant: grant(), added },
                &[("IPAllocated", false, r#"Assigned additional IP "2001:db8::1""#)],
            ),
            (
                None,
                Outcome::KeptSingle { grant: grant(), why: full() },
                &[(
                    "AdditionalAssignFailed",
                    false,
                    "cannot assign additional IP in PreferDualStack: no available IPs in pool gold",
                )],
            ),
            (
                None,
                Outcome::KeptDespite { grant: grant(), why: WishError::Spec("x".into()) },
                &[(
                    "LoadBalancerFailed",
                    true,
                    r#"invalid requested loadbalancer IPs: invalid spec.loadBalancerIP "x""#,
                )],
            ),
            (
                None,
                Outcome::Refused(Refusal::UnknownPool("nope".into())),
                &[("AllocationFailed", true, r#"Failed to allocate IP for "ns/web": unknown pool "nope""#)],
            ),
            (
                Some(Cleared { addresses, why: None }),
                Outcome::Assigned(grant()),
                &[("IPAllocated", false, r#"Assigned IP ["192.0.2.1"]"#)],
            ),
            (
                Some(gone()),
                Outcome::Refused(Refusal::NoneAvailable(Lack::Addresses)),
                &[
                    (
                        "ClearAssignment",
                        false,
                        r#"current IP for "ns/web" not allowed by config, will attempt for new IP assignment: ["192.0.2.1"] is not allowed in config"#,
                    ),
                    ("AllocationFailed", true, r#"Failed to allocate IP for "ns/web": no available IPs"#),
                ],
            ),
        ];
        for (cleared, outcome, expected) in table {
            let said = Sayings::of(&ServiceKey::new("ns", "web"), &Decision { cleared, outcome });
            let all = said.happened.iter().chain(&said.standing);
            let seen: Vec<_> =
                all.map(|s| (s.reason.as_str(), s.reason.is_warning(), s.message.as_str())).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn what_others_wrote_makes_no_message_long() {
        let huge = "x".repeat(240_000);
        let said = Saying::failed(&ServiceKey::new("ns", "web"), &Refusal::UnknownPool(huge.as_str().into()));
        assert!(said.message.starts_with("Failed to allocate IP for \"ns/web\": unknown pool \"xxx"));
        assert!(said.message.len() < LONGEST + 4, "{}", said.message.len());
        assert!(Saying::strange(&[huge]).message.len() < LONGEST + 4);
    }

    #[test]
    fn trouble_with_families_is_worded_as_in_section_3_1() {
        let key = ServiceKey::new("ns", "web");
        let said =
            |problem, holds| Saying::families(&key, &problem, holds).map(|s| (s.reason.as_str(), s.message));
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let unreadable = |list| FamilyProblem::Unreadable { texts: texts(list), first: list[0].to_owned() };
        assert_eq!(said(FamilyProblem::NoClusterIps, false), None);
        // (problem, whether it keeps addresses, reason, message)
        let table = [
            (
                FamilyProblem::NotEnough(texts(&["10.0.0.1"])),
                false,
                "not enough clusterips",
                "Service requires dual stack but not enough clusterips [10.0.0.1]",
            ),
            (
                unreadable(&["None"]),
                false,
                "AllocationFailed",
                r#"Failed to allocate IP for "ns/web": IPFamilyForAddresses: Invalid address ["None"]"#,
            ),
            (
                unreadable(&["None"]),
                true,
                "noclusterIPsIPFamily",
                r#"Failed to retrieve ClusterIPs IPFamily for ["None"] None: IPFamilyForAddresses: Invalid address ["None"]"#,
            ),
            (
                unreadable(&["10.0.0.1", "10.0.0.2"]),
                false,
                "AllocationFailed",
                r#"Failed to allocate IP for "ns/web": IPFamilyForAddresses: same address family ["10.0.0.1" "10.0.0.2"]"#,
            ),
        ];
        for (problem, holds, reason, message) in table {
            assert_eq!(said(problem, holds), Some((reason, message.to_owned())));
        }
        let strange = Saying::strange(&texts(&["192.0.2.1", "192.0.2.2", "x"]));
        assert_eq!(strange.reason.as_str(), "nolbIPsIPFamily");
        assert_eq!(
            strange.message,
            r#"Failed to retrieve LBIPs IPFamily for ["192.0.2.1" "192.0.2.2" "x"]: IPFamilyForAddresses: invalid ips length 3 ["192.0.2.1" "192.0.2.2" "x"]"#
        );
        assert_eq!(
            Saying::deprecated("metallb.universe.tf/address-pool").message,
            "Service uses deprecated annotation metallb.universe.tf/address-pool"
        );
    }
}
