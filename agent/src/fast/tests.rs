//! The pure part of the fast half: whole values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clarion_core::NodeName;
use clarion_dataplane::{AddressKey, Entry};
use clarion_l2::ownership::{Decision, Decisions, OwnerReason, RENDEZVOUS_EPOCH};
use clarion_netlink::{Address, Exclusion, Interface, Link, Snapshot, select};

use super::changes::{Change, changes};
use super::plan::{Announcement, Host, Wanted, keep_adopted, wanted};
use super::{VipState, VipStatus};
use crate::desired::{Desired, Interfaces, Vip};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, name: &str, addresses: &[&str]) -> Link {
    Link {
        index,
        name: name.into(),
        mac: Some(MAC),
        up: true,
        running: true,
        broadcast: true,
        no_arp: false,
        master: None,
        kind: None,
        addresses: addresses
            .iter()
            .map(|a| Address { address: ip(a), prefix_len: 64, tentative: false })
            .collect(),
        groups: BTreeSet::new(),
    }
}

struct Case {
    snapshot: Snapshot,
    desired: Desired,
    decisions: Decisions,
}

/// eth0 (both families) and eth1 (IPv4 only), one address of each family.
fn case(owner: Option<&str>) -> Case {
    let vip = |_: &str| Vip {
        order: vec!["me".into(), "other".into()],
        interfaces: Interfaces::All,
        services: ["web".parse().unwrap()].into(),
    };
    let addresses = ["198.51.100.1", "2001:db8::1:2"];
    let decision = Decision {
        owner: owner.map(NodeName::from),
        reason: if owner.is_some() { OwnerReason::FirstChoice } else { OwnerReason::NobodyAlive },
        epoch: RENDEZVOUS_EPOCH,
    };
    Case {
        snapshot: Snapshot {
            links: [
                (1, link(1, "lo", &["127.0.0.1"])),
                (2, link(2, "eth0", &["fe80::1"])),
                (3, link(3, "eth1", &[])),
            ]
            .into(),
        },
        desired: Desired { l2: addresses.map(|a| (ip(a), vip(a))).into(), ..Desired::default() },
        decisions: addresses.map(|a| (ip(a), decision.clone())).into(),
    }
}

impl Case {
    fn run(&self) -> Wanted {
        let exclusion = Exclusion::default();
        let (interfaces, _): (Vec<Interface>, _) = select(&self.snapshot, &exclusion);
        let host = Host { snapshot: &self.snapshot, interfaces: &interfaces, exclusion: &exclusion };
        wanted(&"me".into(), &self.desired, &self.decisions, &host)
    }
}

fn key(ifindex: u32, address: &str) -> AddressKey {
    AddressKey { ifindex, vlan: 0, address: ip(address) }
}

const ANSWER: Entry = Entry::Answer { mac: MAC, epoch: RENDEZVOUS_EPOCH };

#[test]
fn the_owner_answers_announces_and_joins() {
    let wanted = case(Some("me")).run();
    let source = "fe80::1".parse().ok();
    let status = |interfaces: &[&str]| VipStatus {
        state: VipState::Announced,
        owner: Some("me".into()),
        reason: OwnerReason::FirstChoice,
        interfaces: interfaces.iter().map(|i| (*i).to_owned()).collect(),
        by_name: false,
        held_by: None,
    };
    let expected = Wanted {
        dataplane: clarion_dataplane::Desired {
            interfaces: [2, 3].into(),
            addresses: [
                (key(2, "198.51.100.1"), ANSWER),
                (key(3, "198.51.100.1"), ANSWER),
                (key(2, "2001:db8::1:2"), ANSWER),
                // No link-local address there: this node owns it, on other interfaces.
                (key(3, "2001:db8::1:2"), Entry::Silence),
            ]
            .into(),
        },
        groups: [(2, "ff02::1:ff01:2".parse().unwrap())].into(),
        announcements: [
            ((2, ip("198.51.100.1")), Announcement { mac: MAC, source }),
            ((3, ip("198.51.100.1")), Announcement { mac: MAC, source: None }),
            ((2, ip("2001:db8::1:2")), Announcement { mac: MAC, source }),
        ]
        .into(),
        vips: [(ip("198.51.100.1"), status(&["eth0", "eth1"])), (ip("2001:db8::1:2"), status(&["eth0"]))]
            .into(),
    };
    assert_eq!(wanted, expected);
}

#[test]
fn an_adopted_answer_is_given_up_only_for_an_owner_that_was_heard() {
    let adopted = BTreeMap::from([(key(2, "198.51.100.1"), ANSWER), (key(2, "2001:db8::1:2"), ANSWER)]);
    let mut kept = case(Some("other")).run();
    assert!(keep_adopted(&mut kept, &adopted, |_| false));
    assert_eq!(kept.dataplane.addresses[&key(2, "198.51.100.1")], ANSWER);
    assert_eq!(kept.dataplane.addresses[&key(3, "198.51.100.1")], Entry::Silence, "never answered there");
    assert!(kept.groups.contains(&(2, "ff02::1:ff01:2".parse().unwrap())));

    let mut heard = case(Some("other")).run();
    assert!(!keep_adopted(&mut heard, &adopted, |_| true));
    assert_eq!(heard, case(Some("other")).run());
}

#[test]
fn others_are_silent_and_nobody_is_when_nobody_owns() {
    let wanted = case(Some("other")).run();
    assert!(wanted.dataplane.addresses.values().all(|entry| *entry == Entry::Silence));
    assert_eq!(wanted.dataplane.addresses.len(), 4);
    assert!(wanted.announcements.is_empty() && wanted.groups.is_empty());
    assert!(wanted.vips.values().all(|vip| vip.state == VipState::OwnedElsewhere));

    let wanted = case(None).run();
    assert_eq!(wanted.dataplane.addresses, BTreeMap::new());
    assert!(wanted.vips.values().all(|vip| vip.state == VipState::Unowned));
    assert_eq!(wanted.dataplane.interfaces, [2, 3].into(), "the program stays attached");
}

#[test]
fn an_address_of_the_host_itself_is_never_silenced() {
    let mut case = case(Some("other"));
    case.snapshot.links.insert(3, link(3, "eth1", &["198.51.100.1"]));
    let wanted = case.run();
    let silenced: Vec<_> = wanted.dataplane.addresses.keys().map(|k| k.address).collect();
    assert_eq!(silenced, [ip("2001:db8::1:2"), ip("2001:db8::1:2")]);
    assert_eq!(wanted.vips[&ip("198.51.100.1")].held_by.as_deref(), Some("eth1"));
}

#[test]
fn an_address_that_kube_proxy_put_on_a_dummy_is_silenced() {
    for (index, name) in [(1, "lo"), (7, "kube-ipvs0")] {
        let mut case = case(Some("other"));
        case.snapshot.links.insert(index, link(index, name, &["198.51.100.1"]));
        let wanted = case.run();
        assert_eq!(wanted.dataplane.addresses[&key(2, "198.51.100.1")], Entry::Silence, "{name}");
        assert_eq!(wanted.vips[&ip("198.51.100.1")].held_by, None);
    }
}

#[test]
fn named_interfaces_answer_and_the_others_are_silent() {
    let mut case = case(Some("me"));
    let named = |names: &[&str]| Interfaces::Named(names.iter().map(|n| (*n).to_owned()).collect());
    case.desired.l2.get_mut(&ip("198.51.100.1")).unwrap().interfaces = named(&["eth1", "missing"]);
    let wanted = case.run();
    assert_eq!(wanted.dataplane.addresses[&key(3, "198.51.100.1")], ANSWER);
    assert_eq!(wanted.dataplane.addresses[&key(2, "198.51.100.1")], Entry::Silence);
    assert!(wanted.vips[&ip("198.51.100.1")].by_name);

    case.desired.l2.get_mut(&ip("198.51.100.1")).unwrap().interfaces = named(&["missing"]);
    let wanted = case.run();
    assert_eq!(wanted.vips[&ip("198.51.100.1")].state, VipState::NoInterface);
}

fn status(state: VipState, owner: Option<&str>, reason: OwnerReason) -> VipStatus {
    let owner = owner.map(NodeName::from);
    VipStatus { state, owner, reason, interfaces: BTreeSet::new(), by_name: false, held_by: None }
}

#[test]
fn what_begins_and_ends_to_be_answered_is_told_once_with_the_other_node() {
    let (first, passed) = (OwnerReason::FirstChoice, OwnerReason::Successor { passed: 1 });
    let mine = || status(VipState::Announced, Some("me"), first);
    let theirs = |node: &str| status(VipState::OwnedElsewhere, Some(node), first);
    let nobodys = || status(VipState::Unowned, None, OwnerReason::NobodyAlive);
    let dark = || status(VipState::NoInterface, Some("me"), first);
    let over = || status(VipState::Announced, Some("me"), passed);
    let cases = [
        (None, Some(mine()), Some((true, "firstChoice", None))),
        (Some(theirs("a")), Some(over()), Some((true, "successor", Some("a")))),
        (Some(nobodys()), Some(mine()), Some((true, "firstChoice", None))),
        (Some(dark()), Some(mine()), Some((true, "firstChoice", None))),
        (Some(mine()), Some(theirs("a")), Some((false, "notOwner", Some("a")))),
        (Some(mine()), Some(nobodys()), Some((false, "nobodyAlive", None))),
        (Some(mine()), Some(dark()), Some((false, "noInterface", None))),
        (Some(mine()), None, Some((false, "withdrawn", None))),
        (Some(mine()), Some(over()), None),
        (Some(theirs("a")), Some(theirs("b")), None),
        (Some(theirs("a")), None, None),
        (None, Some(theirs("a")), None),
    ];
    let address = ip("198.51.100.1");
    let desired = case(None).desired;
    let services = desired.l2[&address].services.iter().next().unwrap().to_string();
    for (old, new, expected) in cases {
        let map = |vip: Option<VipStatus>| vip.into_iter().map(|vip| (address, vip)).collect();
        let told = changes(&"me".into(), &map(old), &map(new), &desired);
        let expected = expected.map(|(answers, reason, other)| Change {
            address,
            answers,
            reason,
            other: other.map(NodeName::from),
            services: services.clone(),
        });
        assert_eq!(told, Vec::from_iter(expected));
    }
    assert_eq!(
        changes(&"me".into(), &[(address, mine())].into(), &BTreeMap::new(), &Desired::default())[0].services,
        ""
    );
}
