//! The data plane and the host's interfaces together, in real namespaces: groups over
//! a link that flaps, and programs that a clean-up does not reach.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use clarion_dataplane::{Dataplane, Desired, Options, Plan, Remedy, leftovers};
use clarion_netlink::{GroupChange, Groups, Snapshot, Watch};
use clarion_prog_tests::sandbox::{self, Peer, ip};
use clarion_prog_tests::wire::if_index;

const PATIENCE: Duration = Duration::from_secs(10);

/// A host with the interface `node0`, and a netlink watch in its namespace.
struct Host {
    runtime: tokio::runtime::Runtime,
    watch: Watch,
    groups: Groups,
    peer: Peer,
    ifindex: u32,
}

impl Host {
    fn new() -> anyhow::Result<Self> {
        let peer = Peer::new()?;
        peer.veth("node0", "far0")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let watch = runtime.block_on(async { Watch::open() })?;
        let groups = Groups::new(&watch);
        Ok(Self { runtime, watch, groups, peer, ifindex: if_index("node0")? })
    }

    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(self.runtime.block_on(self.watch.snapshot())?)
    }

    /// Brings the groups in step, and returns what it took.
    fn reconcile(&self, wanted: &[Ipv6Addr]) -> anyhow::Result<Vec<GroupChange>> {
        let wanted: BTreeSet<_> = wanted.iter().map(|group| (self.ifindex, *group)).collect();
        let plan = Groups::plan(&self.snapshot()?, &wanted);
        for change in &plan {
            self.runtime.block_on(self.groups.apply(*change))?;
        }
        Ok(plan)
    }

    /// Whether the kernel is a member of the group, however it came to be.
    fn is_member(&self, group: Ipv6Addr) -> anyhow::Result<bool> {
        let text = std::fs::read_to_string("/proc/thread-self/net/igmp6")?;
        Ok(text.contains(&format!("{:032x}", u128::from(group))))
    }

    fn stranded(&self) -> anyhow::Result<Vec<(String, Ipv6Addr)>> {
        Ok(Groups::stranded(&self.snapshot()?)?)
    }

    /// Waits until the interface has, or has no more, its link-local address.
    fn wait_for_addresses(&self, some: bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.snapshot()?;
            if snapshot.links[&self.ifindex].addresses.is_empty() != some {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "addresses: wanted {some}, have {snapshot:?}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

fn group(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, u16::from(last))
}

#[test]
fn groups_are_joined_kept_without_the_process_and_left() {
    sandbox::enter(|_| {
        let host = Host::new()?;
        host.reconcile(&[group(1), group(2)])?;
        assert!(host.is_member(group(1))? && host.is_member(group(2))?);
        assert_eq!(host.reconcile(&[group(1), group(2)])?, []);
        assert_eq!(host.reconcile(&[group(2)])?, [GroupChange::Leave(host.ifindex, group(1))]);
        assert!(!host.is_member(group(1))? && host.is_member(group(2))?);
        let Host { runtime, watch, groups, peer, .. } = host;
        drop((groups, watch, runtime));

        let next = Host { peer, ..Host::again()? };
        assert!(next.is_member(group(2))?);
        assert_eq!(next.reconcile(&[])?, [GroupChange::Leave(next.ifindex, group(2))]);
        assert!(!next.is_member(group(2))?);
        assert_eq!(next.stranded()?, []);
        Ok(())
    })
    .unwrap();
}

impl Host {
    /// Another process's view of the interface that is there.
    fn again() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let watch = runtime.block_on(async { Watch::open() })?;
        let groups = Groups::new(&watch);
        Ok(Self { runtime, watch, groups, peer: Peer::new()?, ifindex: if_index("node0")? })
    }
}

#[test]
fn groups_outlast_a_carrier_that_comes_and_goes() {
    sandbox::enter(|_| {
        let host = Host::new()?;
        host.reconcile(&[group(1)])?;
        host.peer.run(|| ip("link set far0 down"))??;
        host.peer.run(|| ip("link set far0 up"))??;
        assert_eq!(host.reconcile(&[group(1)])?, []);
        host.reconcile(&[])?;
        assert!(!host.is_member(group(1))?);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_link_that_was_switched_off_keeps_its_groups_and_joining_again_is_no_error() {
    sandbox::enter(|_| {
        let host = Host::new()?;
        host.wait_for_addresses(true)?;
        host.reconcile(&[group(1)])?;
        ip("link set node0 down")?;
        host.wait_for_addresses(false)?;
        ip("link set node0 up")?;
        // The address is gone, the membership is not: the kernel says EADDRINUSE.
        assert_eq!(host.reconcile(&[group(1)])?, [GroupChange::Join(host.ifindex, group(1))]);
        assert!(host.is_member(group(1))?);
        host.reconcile(&[])?;
        assert_eq!(host.stranded()?, [("node0".to_owned(), group(1))], "a clean-up would not tell");
        Ok(())
    })
    .unwrap();
}

/// A data plane on node0, pinned below a directory.
fn attach(host: &Host, pin_dir: &Path) -> anyhow::Result<Dataplane> {
    let mut dataplane = Dataplane::open(Options { pin_dir: pin_dir.to_owned(), ..Options::default() })?;
    let wanted = Desired { interfaces: [host.ifindex].into(), ..Desired::default() };
    let report = dataplane.apply(&Plan::new(&dataplane.observe()?, &wanted));
    assert!(report.is_ok(), "{report:#?}");
    Ok(dataplane)
}

#[test]
fn a_clean_up_of_another_directory_finds_what_still_answers_and_says_how_to_end_it() {
    sandbox::enter(|bpffs| {
        let host = Host::new()?;
        let found = || anyhow::Ok(leftovers(&host.runtime.block_on(host.watch.xdp_programs())?));
        assert_eq!(found()?, []);
        let pin_dir = bpffs.join("deep/er");
        drop(attach(&host, &pin_dir)?);
        Dataplane::cleanup(&bpffs.join("mistyped"))?;
        let left = found()?;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].remedy, Remedy::Cleanup([pin_dir.clone()].into()));
        assert_eq!(left[0].interfaces, [host.ifindex].into());
        let command = format!("clarion-agent cleanup --pin-dir {}", pin_dir.display());
        assert!(left[0].to_string().contains(&command), "{}", left[0]);
        Dataplane::cleanup(&pin_dir)?;
        assert_eq!(found()?, []);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_program_that_no_pin_holds_is_found_by_its_name() {
    sandbox::enter(|bpffs| {
        let host = Host::new()?;
        let pin_dir = sandbox::pin_dir(bpffs);
        let dataplane = attach(&host, &pin_dir)?;
        std::fs::remove_dir_all(&pin_dir)?;
        let left = leftovers(&host.runtime.block_on(host.watch.xdp_programs())?);
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(matches!(&left[0].remedy, Remedy::Detach(links) if links.len() == 1), "{left:?}");
        assert!(left[0].to_string().contains("bpftool link detach id"), "{}", left[0]);
        drop(dataplane);
        // Somebody else's program is none of ours.
        let _pass = clarion_dataplane::pass::attach(host.ifindex)?;
        assert_eq!(leftovers(&host.runtime.block_on(host.watch.xdp_programs())?), []);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_heartbeat_is_read_from_the_pins_by_whoever_cleans_up() {
    sandbox::enter(|bpffs| {
        let pin_dir = sandbox::pin_dir(bpffs);
        assert_eq!(Dataplane::heartbeat(&pin_dir)?, None, "no agent was ever here");
        let dataplane = Dataplane::open(Options { pin_dir: pin_dir.clone(), ..Options::default() })?;
        assert_eq!(Dataplane::heartbeat(&pin_dir)?, None, "none that gave a sign of life");
        dataplane.beat()?;
        let first = Dataplane::heartbeat(&pin_dir)?;
        assert!(first.is_some() && Dataplane::heartbeat(&pin_dir)? == first);
        dataplane.beat()?;
        assert!(Dataplane::heartbeat(&pin_dir)? > first);
        Ok(())
    })
    .unwrap();
}
