//! Attaching: modes, refusals, and entries that cannot be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use clarion_dataplane::{
    Action, AddressKey, AttachMode, AttachedMode, ChoiceReason, Dataplane, Desired, Entry, ItemError,
    Options, Plan, pass,
};
use clarion_prog_tests::sandbox::{self, run};
use clarion_prog_tests::wire::if_index;

use crate::{OURS, VIP4, desired, eventually, on_a_node, open, options, pins, reconcile};

#[test]
fn auto_is_native_on_a_veth_and_tcx_on_the_loopback_interface_whose_driver_takes_none() {
    on_a_node(|bpffs, ifindex| {
        let (veth, lo) = (ifindex, if_index("lo")?);
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut dataplane, &desired(&[veth, lo], OURS))?;
        let attached = dataplane.attachments()?;
        assert_eq!(
            (attached[&veth].mode, attached[&veth].reason),
            (AttachedMode::Native, ChoiceReason::Driver)
        );
        assert_eq!(
            (attached[&lo].mode, attached[&lo].reason),
            (AttachedMode::Tcx, ChoiceReason::DriverRefuses)
        );
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
        assert_eq!(dataplane.attachments()?[&ifindex].mode, AttachedMode::Generic);
        Ok(())
    });
}

#[test]
fn a_foreign_program_on_the_interface_is_left_alone_and_named_if_native_is_set() {
    on_a_node(|bpffs, ifindex| {
        let _foreign = pass::attach(ifindex)?;
        let mut dataplane = open(bpffs, AttachMode::Native)?;
        let plan = Plan::new(&dataplane.observe()?, &desired(&[ifindex], OURS));
        let report = dataplane.apply(&plan);
        let failures: Vec<_> = report.failures().collect();
        assert!(matches!(failures[..], [(_, ItemError::Occupied { .. })]), "{report:#?}");
        assert!(failures[0].1.to_string().contains("xdp off"), "{}", failures[0].1);
        Ok(())
    });
}

/// Whether `tc` shows something of ours, or clsact, on an interface.
fn shown_by_tc(interface: &str) -> anyhow::Result<String> {
    let run = |arguments: &[&str]| {
        let output = Command::new("tc").args(arguments).output()?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    Ok(run(&["qdisc", "show", "dev", interface])? + &run(&["filter", "show", "dev", interface, "ingress"])?)
}

#[test]
fn beside_a_foreign_program_auto_takes_tcx_and_goes_back_when_it_is_gone() {
    on_a_node(|bpffs, ifindex| {
        let foreign = pass::attach(ifindex)?;
        let options = Options { foreign_patience: Duration::ZERO, ..options(bpffs, AttachMode::Auto) };
        let mut dataplane = Dataplane::open(options)?;
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut dataplane, &wanted)?;
        let attached = dataplane.attachments()?[&ifindex];
        assert_eq!((attached.mode, attached.reason), (AttachedMode::Tcx, ChoiceReason::ForeignXdp));
        drop(foreign);
        eventually(
            "the foreign program is gone",
            || Ok(Plan::new(&dataplane.observe()?, &wanted)),
            |plan| plan.attach == [ifindex].into(),
        )?;
        reconcile(&mut dataplane, &wanted)?;
        let attached = dataplane.attachments()?[&ifindex];
        assert_eq!((attached.mode, attached.reason), (AttachedMode::Native, ChoiceReason::Driver));
        let pinned = |mode: &str| pins(bpffs).join(format!("link-{ifindex}-{mode}")).exists();
        assert!(pinned("native") && !pinned("tcx"), "the former link is left");
        Ok(())
    });
}

#[test]
fn who_replaces_a_foreign_program_does_not_find_ours_in_its_place() {
    on_a_node(|bpffs, ifindex| {
        let foreign = pass::attach(ifindex)?;
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut dataplane, &wanted)?;
        drop(foreign);
        // A pass program that comes once the former has gone; links go a little later.
        eventually("there is room", || Ok(pass::attach(ifindex).is_ok()), |there| *there)?;
        assert!(Plan::new(&dataplane.observe()?, &wanted).is_empty(), "the choice flaps");
        assert_eq!(dataplane.attachments()?[&ifindex].reason, ChoiceReason::ForeignXdp);
        Ok(())
    });
}

#[test]
fn clsact_is_made_kept_replaced_and_removed_with_its_last_classifier() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Clsact)?, &wanted)?;
        let shown = shown_by_tc("node0")?;
        assert!(shown.contains("clsact") && shown.contains("clarion_tc"), "{shown}");
        // The next one adopts it.
        let mut next = open(bpffs, AttachMode::Clsact)?;
        assert!(Plan::new(&next.observe()?, &wanted).is_empty());
        // Somebody removed it.
        run("tc", "filter del dev node0 ingress")?;
        reconcile(&mut next, &wanted)?;
        assert!(shown_by_tc("node0")?.contains("clarion_tc"));
        drop(next);
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        let shown = shown_by_tc("node0")?;
        assert!(!shown.contains("clsact") && !shown.contains("clarion_tc"), "{shown}");
        assert!(!sandbox::pin_dir(bpffs).exists());
        Ok(())
    });
}

/// A filter of somebody else's at one of clsact's hooks, that lets everything pass.
fn somebodys_filter(hook: &str) -> anyhow::Result<()> {
    let program = tempfile::NamedTempFile::new()?;
    std::fs::write(&program, "1,6 0 0 0,\n")?;
    run("tc", &format!("filter add dev node0 {hook} prio 7 bpf bytecode-file {}", program.path().display()))
}

#[test]
fn clsact_of_somebody_elses_stays_with_what_they_have_there() {
    on_a_node(|bpffs, ifindex| {
        run("tc", "qdisc add dev node0 clsact")?;
        somebodys_filter("ingress")?;
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Clsact)?, &wanted)?;
        let shown = shown_by_tc("node0")?;
        assert!(shown.contains("pref 7 bpf") && shown.contains("clarion_tc"), "{shown}");
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        let shown = shown_by_tc("node0")?;
        assert!(shown.contains("pref 7 bpf") && !shown.contains("clarion_tc"), "{shown}");
        run("tc", "filter del dev node0 ingress")?;
        // Ours, but others came to use it.
        run("tc", "qdisc del dev node0 clsact")?;
        reconcile(&mut open(bpffs, AttachMode::Clsact)?, &wanted)?;
        somebodys_filter("egress")?;
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        assert!(shown_by_tc("node0")?.contains("clsact"), "somebody's filter went with it");
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
