//! Group `layer2`: how long an address is unanswered when its node loses power.
//!
//! Reported without a bar: ownership is decided by Leases for now, whose
//! staleness of seconds dominates.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clarion_e2e::look;

use crate::cluster::{Cluster, DEADLINE, ms};
use crate::{Row, Rows};

/// Power-offs. Each node boots again in between.
const RUNS: usize = 5;

/// One ARP request each.
const INTERVAL: Duration = Duration::from_millis(5);

/// Measures.
///
/// # Errors
/// When nobody takes over or the node does not come back.
pub fn run(cluster: &mut Cluster, rows: &mut Rows) -> Result<()> {
    let mut samples = Vec::new();
    for turn in 0..RUNS {
        let name = format!("failover-{turn}");
        let (address, _, _) = cluster.create(&name)?;
        let prober = look::prober(&cluster.lab)?;
        let answer = look::answered(&cluster.lab, &prober, address)?;
        let owner = look::owner(&cluster.lab, &answer)?;
        let watch = look::prober(&cluster.lab)?.watch(address, INTERVAL);
        let off = cluster.lab.power_off(&owner)?;
        let next = loop {
            if let Some(next) = watch.first_other(off, answer.mac) {
                break next;
            }
            if off.elapsed() > DEADLINE {
                bail!("nobody took {address} over from {owner} within {} s", DEADLINE.as_secs());
            }
            std::thread::park_timeout(INTERVAL);
        };
        samples.push(ms(next.at.saturating_duration_since(off)));
        watch.stop()?;
        cluster.lab.power_on(&owner)?;
        cluster.lab.wait_nodes_ready(DEADLINE)?;
        cluster.lab.wait_clarion_ready(DEADLINE).with_context(|| format!("{owner} after its boot"))?;
        look::wait_deployment(&cluster.lab, "web", 3)?;
        cluster.delete(&prober, &name, address)?;
    }
    rows.push(Row::new("layer2", "power-off of the owner to the next owner's answer", "ms", &samples));
    Ok(())
}
