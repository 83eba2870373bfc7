//! Which rights the data plane needs: the four that the DaemonSet grants.

use clarion_dataplane::{AttachMode, Desired, pass};
use clarion_fence::Asked;
use clarion_prog_tests::fence::{STRANGER, VOTER, now, switch_on};
use clarion_prog_tests::sandbox::{self, Peer};
use clarion_prog_tests::wire::if_index;

use crate::{OURS, desired, open, reconcile};

/// Drops every capability of the calling thread but those four, for good.
fn keep_only_the_agents_rights() -> anyhow::Result<()> {
    use caps::{CapSet, Capability::*, CapsHashSet};
    let kept: CapsHashSet = [CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON].into();
    caps::clear(None, CapSet::Inheritable)?;
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept)?;
    }
    Ok(())
}

#[test]
fn four_capabilities_are_enough_to_load_attach_adopt_and_detach() {
    sandbox::enter(|bpffs| {
        let peer = Peer::new()?;
        peer.veth("node0", "far0")?;
        let ifindex = if_index("node0")?;
        keep_only_the_agents_rights()?;
        for mode in [AttachMode::Native, AttachMode::Generic, AttachMode::Tcx, AttachMode::Clsact] {
            let mut dataplane = open(bpffs, mode)?;
            reconcile(&mut dataplane, &desired(&[ifindex], OURS))?;
            dataplane.beat()?;
            drop(dataplane);
            let mut adopted = open(bpffs, mode)?;
            assert_eq!(adopted.observe()?.addresses.len(), 2);
            adopted.counters()?;
            // A question to the own kernel runs the program, and votes lie in a shared ring.
            switch_on(&mut adopted, now())?;
            assert_eq!(adopted.fence_mut().ask(VOTER, 1, now())?, Asked::NotSuspect);
            adopted.fence_mut().watch(STRANGER, 0)?;
            assert_eq!(adopted.fence_mut().ask(STRANGER, 1, now())?, Asked::Yes);
            assert!(adopted.fence_mut().take_votes().expect("the first reader").next_vote().is_none());
            adopted.fence_mut().unwatch(STRANGER)?;
            reconcile(&mut adopted, &Desired::default())?;
        }
        drop(pass::attach(ifindex)?);
        Ok(())
    })
    .unwrap();
}
