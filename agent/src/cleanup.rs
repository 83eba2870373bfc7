//! `clarion-agent cleanup`: as if Clarion had never been on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clarion_core::NodeName;
use clarion_dataplane::{Dataplane, Leftover, leftovers};
use clarion_netlink::{Groups, Snapshot, Watch};

use crate::args::Args;
use crate::slow;

/// Some heartbeats of an agent that lives.
const LIVES: Duration = Duration::from_millis(500);

/// Removes the program and its maps, the multicast groups, and the node's Lease.
///
/// # Errors
/// An agent still runs here, the kernel refused to give something up, or a program
/// of ours answers on that is not pinned in this directory. An API server out of
/// reach is only reported: the Lease goes stale by itself.
pub async fn cleanup(args: &Args) -> anyhow::Result<()> {
    refuse_beside_an_agent(&args.pin_dir).await?;
    // The Lease first: the others take over while this node still answers.
    release_lease(args).await;
    Dataplane::cleanup(&args.pin_dir)?;
    let watch = Watch::open()?;
    let snapshot = watch.snapshot().await?;
    leave_groups(&watch, &snapshot).await?;
    let programs = watch.xdp_programs().await?;
    let (ours, unknown): (Vec<_>, Vec<_>) = leftovers(&programs).into_iter().partition(Leftover::is_ours);
    let names = |interfaces: &BTreeSet<u32>| {
        let name = |index| snapshot.links.get(index).map_or_else(|| format!("#{index}"), |l| l.name.clone());
        interfaces.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    for leftover in &unknown {
        tracing::warn!(interfaces = names(&leftover.interfaces), "XDP {leftover}");
    }
    if !ours.is_empty() {
        let each = ours.iter().map(|leftover| format!("{}: {leftover}", names(&leftover.interfaces)));
        bail!(
            "{} is clean, but Clarion is not gone from this node: {}",
            args.pin_dir.display(),
            each.collect::<Vec<_>>().join("; ")
        );
    }
    tracing::info!("nothing of Clarion runs or is pinned on this node any more");
    Ok(())
}

/// An agent that runs would put everything back within seconds.
async fn refuse_beside_an_agent(pin_dir: &Path) -> anyhow::Result<()> {
    let Some(before) = Dataplane::heartbeat(pin_dir)? else { return Ok(()) };
    tokio::time::sleep(LIVES).await;
    if Dataplane::heartbeat(pin_dir)? != Some(before) {
        bail!(
            "an agent is running on this node and would put everything back: delete its DaemonSet first \
             (or keep it from this node), then run cleanup again"
        );
    }
    Ok(())
}

async fn release_lease(args: &Args) {
    if args.node_name.is_empty() {
        tracing::warn!("--node-name is not set: the node's Lease, if there is one, is left to go stale");
        return;
    }
    let node = NodeName::new(args.node_name.as_str());
    let released = match clarion_daemon::client::connect().await {
        Ok(client) => slow::lease::release(client, &args.namespace, &node).await.map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = released {
        tracing::warn!(error = format!("{error:#}"), "the node's Lease is left to go stale");
    }
}

async fn leave_groups(watch: &Watch, snapshot: &Snapshot) -> anyhow::Result<()> {
    let groups = Groups::new(watch);
    for change in Groups::plan(snapshot, &BTreeSet::new()) {
        groups.apply(change).await.context("a multicast group was not left")?;
    }
    let left = watch.snapshot().await?;
    // One line an interface: there may be thousands of groups.
    let mut stranded = BTreeMap::<String, usize>::new();
    for (interface, _) in Groups::stranded(&left).context("cannot read the multicast groups")? {
        *stranded.entry(interface).or_default() += 1;
    }
    for (interface, memberships) in stranded {
        tracing::warn!(
            interface,
            memberships,
            "the kernel keeps memberships in solicited-node groups whose addresses went when the interface was \
             switched off, and lets nobody leave them: they are harmless, and end with the interface or the next boot"
        );
    }
    Ok(())
}
