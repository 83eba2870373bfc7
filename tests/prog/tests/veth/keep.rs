//! What somebody else does to the pins while the data plane runs.

use std::fs;
use std::path::Path;

use clarion_abi::names;
use clarion_dataplane::{Action, AttachMode, AttachedMode, Dataplane, Plan};
use clarion_prog_tests::sandbox;
use nix::mount::{MntFlags, umount2};

use crate::resolve::{answers, bed};
use crate::{OURS, PATIENCE, desired, on_a_node, open, pins, reconcile};

/// Pins of a data plane with one interface: fifteen maps, two programs, a link.
const PINS: usize = 18;

#[test]
fn pins_that_are_removed_are_made_again_and_no_request_goes_unanswered() {
    sandbox::enter(|bpffs| {
        let mut bed = bed(bpffs, AttachMode::Native)?;
        fs::remove_dir_all(sandbox::pin_dir(bpffs))?;
        assert!(answers(&bed.peer, PATIENCE)?, "dark without pins");
        assert_eq!(bed.dataplane.observe()?.unpinned.len(), PINS);
        let report = reconcile(&mut bed.dataplane, &bed.wanted)?;
        let made = report.items.iter().filter(|item| matches!(item.action, Action::Pin(_))).count();
        assert_eq!(made, report.items.len(), "more was done than to pin: {report:?}");
        assert_eq!(made, PINS);

        // What was pinned is what runs: a restart adopts it.
        bed.dataplane = open(bpffs, AttachMode::Native)?;
        assert!(Plan::new(&bed.dataplane.observe()?, &bed.wanted).is_empty());
        assert!(answers(&bed.peer, PATIENCE)?, "dark after a restart");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_foreign_object_under_a_links_name_gives_way_to_the_link_that_runs() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        let mut dataplane = open(bpffs, AttachMode::Native)?;
        reconcile(&mut dataplane, &wanted)?;
        let link = usurp(bpffs, ifindex)?;
        let unpinned = dataplane.observe()?.unpinned;
        assert_eq!(unpinned, [pins(bpffs).join(names::CLOCK), link].into());
        reconcile(&mut dataplane, &wanted)?;
        drop(dataplane);
        let next = open(bpffs, AttachMode::Native)?;
        assert!(Plan::new(&next.observe()?, &wanted).is_empty());
        Ok(())
    });
}

#[test]
fn a_foreign_object_under_a_links_name_does_not_hinder_a_start() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Native)?, &wanted)?;
        // The pin was all that held the link.
        usurp(bpffs, ifindex)?;
        let mut next = open(bpffs, AttachMode::Native)?;
        assert!(next.observe()?.interfaces.is_empty());
        reconcile(&mut next, &wanted)?;
        assert_eq!(next.attachments()?[&ifindex].mode, AttachedMode::Native);
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        assert!(!sandbox::pin_dir(bpffs).exists());
        Ok(())
    });
}

/// Lets another pinned object have the name of an interface's link.
fn usurp(bpffs: &Path, ifindex: u32) -> anyhow::Result<std::path::PathBuf> {
    let link = pins(bpffs).join(format!("link-{ifindex}-native"));
    fs::remove_file(&link)?;
    fs::rename(pins(bpffs).join(names::CLOCK), &link)?;
    Ok(link)
}

#[test]
fn what_a_cleanup_beside_it_detached_is_attached_and_pinned_again() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut dataplane, &wanted)?;
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        let observed = dataplane.observe()?;
        assert!(observed.interfaces.is_empty() && observed.gone.contains(&ifindex), "{observed:?}");
        reconcile(&mut dataplane, &wanted)?;
        assert_eq!(dataplane.attachments()?[&ifindex].mode, AttachedMode::Native);
        assert!(pins(bpffs).join(format!("link-{ifindex}-native")).exists());
        Ok(())
    });
}

#[test]
fn without_the_file_system_nothing_can_be_pinned_and_the_program_stays() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        let mut dataplane = open(bpffs, AttachMode::Native)?;
        reconcile(&mut dataplane, &wanted)?;
        umount2(bpffs, MntFlags::MNT_DETACH)?;
        let plan = Plan::new(&dataplane.observe()?, &wanted);
        let report = dataplane.apply(&plan);
        assert_eq!(report.failures().count(), PINS, "{report:#?}");
        let (action, error) = report.failures().next().expect("some");
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        assert!(
            matches!(action, Action::Pin(_)) && cause.contains("mount -t bpf"),
            "{action}: {error}: {cause}"
        );
        assert_eq!(dataplane.attachments()?[&ifindex].mode, AttachedMode::Native);
        assert!(!sandbox::pin_dir(bpffs).exists(), "something was made elsewhere");
        Ok(())
    });
}
