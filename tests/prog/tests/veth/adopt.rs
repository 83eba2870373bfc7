//! Pins: what a restart finds, what a stranger wrote, and that nothing is left.

use std::fs;

use clarion_abi::names;
use clarion_dataplane::{AttachMode, AttachedMode, Dataplane, Desired, Error, Options, Plan};
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::if_index;

use crate::{OURS, addresses, desired, eventually, on_a_node, open, pins, reconcile};

#[test]
fn a_restart_adopts_addresses_and_links_and_finds_nothing_to_do() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        let mut first = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut first, &wanted)?;
        first.beat()?;
        let before = (first.observe()?, first.counters()?.answers);
        drop(first);

        let second = open(bpffs, AttachMode::Auto)?;
        assert_eq!(second.observe()?, before.0);
        // Not the outcomes: the kernel's own multicast goes on and is counted.
        assert_eq!(second.counters()?.answers, before.1);
        assert!(Plan::new(&second.observe()?, &wanted).is_empty());
        Ok(())
    });
}

#[test]
fn opening_deletes_nothing_and_an_empty_desire_deletes_all() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Auto)?, &wanted)?;

        let mut next = open(bpffs, AttachMode::Auto)?;
        assert_eq!(addresses(&next.observe()?), wanted.addresses.keys().copied().collect());
        reconcile(&mut next, &Desired::default())?;
        let left = next.observe()?;
        assert!(left.addresses.is_empty() && left.interfaces.is_empty() && left.filter_fits, "{left:?}");
        Ok(())
    });
}

#[test]
fn a_replaced_program_takes_over_the_link_without_detaching() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Auto)?, &wanted)?;
        let link = fs::canonicalize(pins(bpffs).join(format!("link-{ifindex}-native")))?;
        let made = fs::metadata(&link)?;
        // As after an upgrade: the pinned program is not the one that links run.
        fs::remove_file(pins(bpffs).join("program"))?;

        let mut next = open(bpffs, AttachMode::Auto)?;
        let observed = next.observe()?;
        assert!(!observed.interfaces[&ifindex].current, "{observed:?}");
        reconcile(&mut next, &wanted)?;
        let inode = std::os::unix::fs::MetadataExt::ino;
        assert_eq!(inode(&fs::metadata(&link)?), inode(&made), "the link was made anew");
        Ok(())
    });
}

#[test]
fn a_link_of_an_older_abi_version_is_taken_over_and_its_directory_removed() {
    another_version_is_taken_over("v0");
}

#[test]
fn a_link_of_a_newer_abi_version_is_taken_over_and_its_directory_removed() {
    // As after a downgrade.
    another_version_is_taken_over("v999");
}

fn another_version_is_taken_over(version: &str) {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Auto)?, &wanted)?;
        let old = sandbox::pin_dir(bpffs).join(version);
        fs::rename(pins(bpffs), &old)?;

        let mut next = open(bpffs, AttachMode::Auto)?;
        let observed = next.observe()?;
        assert!(observed.addresses.is_empty(), "another version's maps were read: {observed:?}");
        assert!(!observed.interfaces[&ifindex].current, "{observed:?}");
        reconcile(&mut next, &wanted)?;
        assert!(!old.exists(), "{} is left", old.display());
        Ok(())
    });
}

#[test]
fn a_link_whose_interface_is_gone_is_forgotten() {
    on_a_node(|bpffs, ifindex| {
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut dataplane, &desired(&[ifindex], OURS))?;
        ip("link del node0")?;
        eventually(
            "the link notices",
            || Ok(dataplane.observe()?),
            |observed| observed.gone.contains(&ifindex) && observed.interfaces.is_empty(),
        )?;
        reconcile(&mut dataplane, &Desired::default())?;
        assert!(dataplane.observe()?.gone.is_empty());
        Ok(())
    });
}

#[test]
fn a_new_interface_of_a_gone_ones_index_is_attached_and_not_forgotten() {
    on_a_node(|bpffs, ifindex| {
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut dataplane, &wanted)?;
        ip("link del node0")?;
        ip(&format!("link add node0 index {ifindex} type veth peer name far1"))?;
        ip("link set node0 up")?;
        reconcile(&mut dataplane, &wanted)?;
        assert_eq!(dataplane.attachments()?[&ifindex].mode, AttachedMode::Native);
        Ok(())
    });
}

#[test]
fn a_pinned_map_of_another_shape_is_refused_by_name() {
    sandbox::enter(|bpffs| {
        drop(open(bpffs, AttachMode::Auto)?);
        let v4 = pins(bpffs).join(names::V4);
        fs::remove_file(&v4)?;
        fs::rename(pins(bpffs).join(names::CONTROL), &v4)?;
        let error = open(bpffs, AttachMode::Auto).unwrap_err();
        let error = error.downcast::<Error>()?;
        assert!(matches!(&error, Error::Mismatch { path, .. } if *path == v4), "{error:?}");
        assert!(error.to_string().contains("clarion-agent cleanup"), "{error}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_missing_map_is_made_anew_and_the_others_keep_what_they_hold() {
    on_a_node(|bpffs, ifindex| {
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut open(bpffs, AttachMode::Auto)?, &wanted)?;
        fs::remove_file(pins(bpffs).join(names::OUTCOMES))?;
        let mut next = open(bpffs, AttachMode::Auto)?;
        let observed = next.observe()?;
        assert_eq!(addresses(&observed), wanted.addresses.keys().copied().collect());
        // The link's program counts in the lost map still.
        assert!(!observed.interfaces[&ifindex].current, "{observed:?}");
        reconcile(&mut next, &wanted)?;
        Ok(())
    });
}

#[test]
fn without_the_kernels_type_information_the_program_loads_all_the_same() {
    const BTF: &str = "/sys/kernel/btf";
    sandbox::enter(|bpffs| {
        if std::path::Path::new(BTF).exists() {
            let empty = tempfile::tempdir()?;
            let none = None::<&str>;
            // In this thread's mount namespace only.
            nix::mount::mount(Some(empty.path()), BTF, none, nix::mount::MsFlags::MS_BIND, none)?;
            assert!(!std::path::Path::new(BTF).join("vmlinux").exists());
        }
        drop(open(bpffs, AttachMode::Auto)?);
        Ok(())
    })
    .unwrap();
}

#[test]
fn without_a_bpf_file_system_the_error_says_what_to_mount() {
    sandbox::enter(|_| {
        let elsewhere = tempfile::tempdir()?;
        let pin_dir = elsewhere.path().join("clarion");
        let error = Dataplane::open(Options { pin_dir: pin_dir.clone(), ..Options::default() }).unwrap_err();
        assert!(matches!(error, Error::NoBpfFs { .. }), "{error:?}");
        assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
        assert!(!pin_dir.exists(), "something was made all the same");
        Ok(())
    })
    .unwrap();
}

#[test]
fn cleanup_leaves_no_pin_and_no_program() {
    on_a_node(|bpffs, ifindex| {
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut dataplane, &desired(&[ifindex], OURS))?;
        drop(dataplane);
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        assert!(!sandbox::pin_dir(bpffs).exists());
        let link = std::process::Command::new("ip").args(["link", "show", "dev", "node0"]).output()?;
        let text = String::from_utf8_lossy(&link.stdout).into_owned();
        assert!(!text.contains("xdp"), "still attached: {text}");
        Dataplane::cleanup(&sandbox::pin_dir(bpffs))?;
        Ok(())
    });
}

#[test]
fn an_interface_made_again_under_its_name_is_attached_and_the_former_forgotten() {
    on_a_node(|bpffs, former| {
        let mut dataplane = open(bpffs, AttachMode::Auto)?;
        reconcile(&mut dataplane, &desired(&[former], OURS))?;
        ip("link del node0")?;
        let peer = Peer::new()?;
        peer.veth("node0", "far1")?;
        let ifindex = if_index("node0")?;
        assert_ne!(ifindex, former, "the kernel gives no index twice");
        let wanted = desired(&[ifindex], OURS);
        reconcile(&mut dataplane, &wanted)?;
        assert_eq!(dataplane.attachments()?.keys().copied().collect::<Vec<_>>(), [ifindex]);
        assert_eq!(addresses(&dataplane.observe()?), wanted.addresses.keys().copied().collect());
        assert!(!pins(bpffs).join(format!("link-{former}-native")).exists(), "the former's pin is left");
        Ok(())
    });
}
