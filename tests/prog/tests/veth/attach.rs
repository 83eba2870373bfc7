//! Attaching: modes, refusals, and entries that cannot be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use clarion_dataplane::{
    Action, AddressKey, AttachMode, AttachedMode, Desired, Entry, ItemError, Plan, pass,
};
use clarion_prog_tests::sandbox;
use clarion_prog_tests::wire::if_index;

use crate::{OURS, VIP4, desired, on_a_node, open, reconcile};

#[test]
fn auto_is_native_on_a_veth_and_generic_on_the_loopback_interface() {
    on_a_node(|bpffs, ifindex| {
        let (veth, lo) = (ifindex, if_index("lo")?);
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut dataplane, &desired(&[veth, lo], OURS))?;
        let wanted = BTreeMap::from([(veth, AttachedMode::Native), (lo, AttachedMode::Generic)]);
        assert_eq!(dataplane.attachments()?, wanted);
        Ok(())
    });
}

#[test]
fn native_alone_is_refused_where_the_driver_cannot_and_says_so() {
    sandbox::enter(|bpffs| {
        let lo = if_index("lo")?;
        let mut dataplane = open(bpffs, AttachMode::Native)?;
        let plan = Plan::new(&dataplane.observe()?, &desired(&[lo], OURS));
        let report = dataplane.apply(&plan);
        let failures: Vec<_> = report.failures().collect();
        assert!(
            matches!(failures[..], [(Action::Attach(_, None), ItemError::Attach { mode: "native", .. })]),
            "{report:#?}"
        );
        // The rest was done.
        assert_eq!(dataplane.observe()?.addresses.len(), 2);
        Ok(())
    })
    .unwrap();
}

#[test]
fn another_setting_attaches_anew_in_the_other_mode() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Auto)?, &wanted)?;
        let mut dataplane = open(bpffs, AttachMode::Generic)?;
        reconcile(&mut dataplane, &wanted)?;
        assert_eq!(dataplane.attachments()?[&ifindex], AttachedMode::Generic);
        Ok(())
    });
}

#[test]
fn a_foreign_program_on_the_interface_is_left_alone_and_named() {
    on_a_node(|bpffs, ifindex| {
        let _foreign = pass::attach(ifindex)?;
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        let plan = Plan::new(&dataplane.observe()?, &desired(&[ifindex], OURS));
        let report = dataplane.apply(&plan);
        let failures: Vec<_> = report.failures().collect();
        assert!(matches!(failures[..], [(_, ItemError::Occupied { .. })]), "{report:#?}");
        assert!(failures[0].1.to_string().contains("xdp off"), "{}", failures[0].1);
        Ok(())
    });
}

#[test]
fn an_interface_that_does_not_exist_is_reported_and_the_others_attached() {
    on_a_node(|bpffs, ifindex| {
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        let interfaces = BTreeSet::from([ifindex, 9999]);
        let plan = Plan::new(&dataplane.observe()?, &Desired { interfaces, ..Desired::default() });
        let report = dataplane.apply(&plan);
        let failures: Vec<_> = report.failures().map(|(_, error)| error).collect();
        assert!(matches!(failures[..], [ItemError::NoInterface { ifindex: 9999 }]), "{report:#?}");
        assert_eq!(dataplane.attachments()?.keys().copied().collect::<Vec<_>>(), [ifindex]);
        Ok(())
    });
}

#[test]
fn entries_that_cannot_be_meant_are_refused_and_the_others_written() {
    sandbox::enter(|bpffs| {
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        let key =
            |ifindex, vlan, address: [u8; 4]| AddressKey { ifindex, vlan, address: IpAddr::from(address) };
        let good = key(1, 0, VIP4.octets());
        let answer = |mac| Entry::Answer { mac, epoch: 1 };
        let addresses = BTreeMap::from([
            (good, answer(OURS)),
            (key(0, 0, [192, 0, 2, 1]), answer(OURS)),
            (key(1, 4095, [192, 0, 2, 2]), answer(OURS)),
            (key(1, 0, Ipv4Addr::UNSPECIFIED.octets()), answer(OURS)),
            (key(1, 0, [224, 0, 0, 1]), Entry::Silence),
            (key(1, 0, [192, 0, 2, 3]), answer([0xff; 6])),
            (key(1, 0, [192, 0, 2, 4]), answer([0; 6])),
        ]);
        let desired = Desired { addresses, ..Desired::default() };
        let plan = Plan::new(&dataplane.observe()?, &desired);
        let report = dataplane.apply(&plan);
        let refused = report.failures().filter(|(_, error)| matches!(error, ItemError::Refused { .. }));
        assert_eq!(refused.count(), 6, "{report:#?}");
        assert_eq!(dataplane.observe()?.addresses.keys().copied().collect::<Vec<_>>(), [good]);
        Ok(())
    })
    .unwrap();
}
