//! `clarion-agent cleanup`: as if Clarion had never been on this node.

use anyhow::Context as _;
use clarion_core::NodeName;
use clarion_dataplane::Dataplane;
use clarion_netlink::{Groups, Watch};

use crate::args::Args;
use crate::{run, slow};

/// Removes the program and its maps, the multicast groups, and the node's Lease.
///
/// # Errors
/// The kernel refused to give something up. An API server out of reach is only
/// reported: the Lease goes stale by itself.
pub async fn cleanup(args: &Args) -> anyhow::Result<()> {
    // The Lease first: the others take over while this node still answers.
    if args.node_name.is_empty() {
        tracing::warn!("--node-name is not set: the node's Lease, if there is one, is left to go stale");
    } else {
        let node = NodeName::new(args.node_name.as_str());
        let released = match run::client().await {
            Ok(client) => {
                slow::lease::release(client, &args.namespace, &node).await.map_err(anyhow::Error::from)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = released {
            tracing::warn!(error = format!("{error:#}"), "the node's Lease is left to go stale");
        }
    }
    Dataplane::cleanup(&args.pin_dir)?;
    let watch = Watch::open()?;
    let snapshot = watch.snapshot().await?;
    let groups = Groups::new(&watch);
    for change in Groups::plan(&snapshot, &std::collections::BTreeSet::new()) {
        groups.apply(change).await.context("a multicast group was not left")?;
    }
    tracing::info!("nothing of Clarion is left on this node");
    Ok(())
}
