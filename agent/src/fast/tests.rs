//! The pure part of the fast half: whole values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clarion_core::NodeName;
use clarion_dataplane::{AddressKey, Entry};
use clarion_netlink::{Address, Exclusion, Interface, Link, Snapshot, select};

use super::changes::{Change, changes};
use super::ownership::{Decision, Decisions, Held, Neighbours, OwnerReason};
use super::plan::{Announcement, Host, Vips, Wanted, adopted, stranded, wanted};
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
    whole: bool,
}

/// eth0 (both families) and eth1 (IPv4 only), one address of each family.
fn case(owner: Option<&str>) -> Case {
    let vip = |_: &str| Vip {
        ownable: true,
        barred: false,
        interfaces: Interfaces::All,
        services: ["web".parse().unwrap()].into(),
    };
    let addresses = ["198.51.100.1", "2001:db8::1:2"];
    let decision = Decision {
        owner: owner.map(NodeName::from),
        reason: if owner.is_some() { OwnerReason::FirstChoice } else { OwnerReason::Unclaimed },
        held: (owner == Some("me")).then_some(HELD),
        near: false,
        list: vec!["me".into(), "other".into()],
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
        whole: true,
    }
}

impl Case {
    fn run(&self) -> Wanted {
        let exclusion = Exclusion::default();
        let (interfaces, _): (Vec<Interface>, _) = select(&self.snapshot, &exclusion);
        let host = Host {
            snapshot: &self.snapshot,
            interfaces: &interfaces,
            exclusion: &exclusion,
            neighbours: &Neighbours::default(),
            addresses: &[],
            whole: self.whole,
        };
        wanted(&"me".into(), &self.desired, &self.decisions, &host)
    }
}

fn key(ifindex: u32, address: &str) -> AddressKey {
    AddressKey { ifindex, vlan: 0, address: ip(address) }
}

const HELD: Held = Held { epoch: 7, inc: 3, next: None };
const ANSWER: Entry = Entry::Owned { mac: MAC, station: MAC, epoch: 7, inc: 3 };

#[test]
fn the_owner_answers_announces_and_joins() {
    let wanted = case(Some("me")).run();
    let source = "fe80::1".parse().ok();
    let status = |interfaces: &[&str]| {
        Arc::new(VipStatus {
            state: VipState::Announced,
            owner: Some("me".into()),
            reason: OwnerReason::FirstChoice,
            list: vec!["me".into(), "other".into()],
            interfaces: interfaces.iter().map(|i| (*i).to_owned()).collect(),
            by_name: false,
            held_by: None,
        })
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
        groups: [(2, "ff02::1:ff01:2".parse().unwrap(), "2001:db8::1:2".parse().unwrap())].into(),
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
fn without_an_api_server_what_is_held_stays_and_what_others_claimed_is_silenced() {
    let next = [2, 0, 0, 0, 0, 7];
    let handed = Entry::Owned { mac: next, station: MAC, epoch: 7, inc: 3 };
    let (mine, theirs, silent) = (key(2, "198.51.100.1"), key(2, "2001:db8::1:2"), key(3, "2001:db8::1:2"));
    let observed = clarion_dataplane::Observed {
        addresses: [(mine, handed), (theirs, ANSWER), (silent, Entry::Silence)].into(),
        ..clarion_dataplane::Observed::default()
    };
    let desired = adopted(&observed, |address| (address == mine.address).then_some((8, 3)));
    let taken_back = Entry::Owned { mac: MAC, station: MAC, epoch: 8, inc: 3 };
    assert_eq!(
        desired.addresses,
        [(mine, taken_back), (theirs, Entry::Silence), (silent, Entry::Silence)].into()
    );
}

#[test]
fn an_owner_that_is_fenced_keeps_its_entries_and_says_nothing() {
    let wanted = Case { whole: false, ..case(Some("me")) }.run();
    assert_eq!(wanted.dataplane, case(Some("me")).run().dataplane);
    assert!(wanted.announcements.is_empty());
    assert!(wanted.vips.values().all(|vip| vip.state == VipState::Fenced));
}

#[test]
fn a_successor_joins_groups_beforehand() {
    let mut case = case(Some("other"));
    case.decisions.values_mut().for_each(|decision| decision.near = true);
    assert_eq!(
        case.run().groups,
        [(2, "ff02::1:ff01:2".parse().unwrap(), "2001:db8::1:2".parse().unwrap())].into()
    );
}

#[test]
fn what_is_wanted_of_some_addresses_is_their_part_of_all() {
    for owner in [Some("me"), Some("other"), None] {
        let all = case(owner).run();
        let mut joined = Wanted { dataplane: all.dataplane.clone(), ..Wanted::default() };
        joined.dataplane.addresses.clear();
        for address in all.vips.keys() {
            let mut one = case(owner);
            one.decisions.retain(|decided, _| decided == address);
            let part = one.run();
            assert!(part.vips.keys().eq([address]));
            joined.dataplane.addresses.extend(part.dataplane.addresses);
            joined.announcements.extend(part.announcements);
            joined.groups.extend(part.groups);
            joined.vips.extend(part.vips);
        }
        assert_eq!(joined, all);
    }
}

#[test]
fn of_services_that_nobody_serves_nothing_is_announced() {
    let mut case = case(Some("me"));
    case.desired.l2.values_mut().for_each(|vip| vip.ownable = false);
    let wanted = case.run();
    assert!(wanted.dataplane.addresses.is_empty() && wanted.announcements.is_empty());
    assert!(wanted.vips.values().all(|vip| vip.state == VipState::Unowned));
}

#[test]
fn addresses_are_stranded_once_when_they_lose_their_last_interface() {
    let first = OwnerReason::FirstChoice;
    let [mine, dark] = [VipState::Announced, VipState::NoInterface]
        .map(|state| Vips::from([(ip("198.51.100.1"), Arc::new(status(state, Some("me"), first)))]));
    assert_eq!(stranded(&mine, &dark), [ip("198.51.100.1")]);
    assert!(stranded(&dark, &dark).is_empty() && stranded(&dark, &mine).is_empty());
    assert!(stranded(&Vips::new(), &dark).is_empty(), "never had one");
}

#[test]
fn others_are_silent_and_so_are_all_while_nobody_owns() {
    let wanted = case(Some("other")).run();
    assert!(wanted.dataplane.addresses.values().all(|entry| *entry == Entry::Silence));
    assert_eq!(wanted.dataplane.addresses.len(), 4);
    assert!(wanted.announcements.is_empty() && wanted.groups.is_empty());
    assert!(wanted.vips.values().all(|vip| vip.state == VipState::OwnedElsewhere));

    let wanted = case(None).run();
    assert!(wanted.dataplane.addresses.values().all(|entry| *entry == Entry::Silence));
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
    VipStatus {
        state,
        owner,
        reason,
        list: vec![],
        interfaces: BTreeSet::new(),
        by_name: false,
        held_by: None,
    }
}

#[test]
fn what_begins_and_ends_to_be_answered_is_told_once_with_the_other_node() {
    let (first, passed) = (OwnerReason::FirstChoice, OwnerReason::Successor { passed: 1 });
    let mine = || status(VipState::Announced, Some("me"), first);
    let theirs = |node: &str| status(VipState::OwnedElsewhere, Some(node), first);
    let nobodys = || status(VipState::Unowned, None, OwnerReason::Unclaimed);
    let dark = || status(VipState::NoInterface, Some("me"), first);
    let over = || status(VipState::Announced, Some("me"), passed);
    let fenced = || status(VipState::Fenced, Some("me"), first);
    let cases = [
        (None, Some(mine()), Some((true, "firstChoice", None))),
        (Some(theirs("a")), Some(over()), Some((true, "successor", Some("a")))),
        (Some(nobodys()), Some(mine()), Some((true, "firstChoice", None))),
        (Some(dark()), Some(mine()), Some((true, "firstChoice", None))),
        (Some(mine()), Some(theirs("a")), Some((false, "notOwner", Some("a")))),
        (Some(mine()), Some(nobodys()), Some((false, "unclaimed", None))),
        (Some(mine()), Some(dark()), Some((false, "noInterface", None))),
        (Some(mine()), None, Some((false, "withdrawn", None))),
        (Some(mine()), Some(over()), None),
        (Some(mine()), Some(fenced()), None),
        (Some(fenced()), Some(mine()), None),
        (Some(fenced()), Some(theirs("a")), Some((false, "notOwner", Some("a")))),
        (Some(theirs("a")), Some(theirs("b")), None),
        (Some(theirs("a")), None, None),
        (None, Some(theirs("a")), None),
    ];
    let address = ip("198.51.100.1");
    let desired = case(None).desired;
    let services = desired.l2[&address].services.iter().next().unwrap().to_string();
    for (old, new, expected) in cases {
        let map = |vip: Option<VipStatus>| vip.into_iter().map(|vip| (address, Arc::new(vip))).collect();
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
        changes(&"me".into(), &[(address, Arc::new(mine()))].into(), &BTreeMap::new(), &Desired::default())
            [0]
        .services,
        ""
    );
}
