//! Group `bgp`: from creating a Service to its route in the router's kernel.

use std::time::Instant;

use anyhow::{Result, bail};
use clarion_e2e::look;
use serde_json::json;

use crate::cluster::{Cluster, DEADLINE, ms};
use crate::{Row, Rows};

/// Services, one after the other.
const RUNS: usize = 20;

/// Measures. There is no rival in the lab; the row reports.
///
/// # Errors
/// When a route does not come or go in time.
pub fn run(cluster: &Cluster, rows: &mut Rows) -> Result<()> {
    let lab = &cluster.lab;
    let router = lab.router(1)?;
    let (mut announced, mut withdrawn) = (Vec::new(), Vec::new());
    for turn in 0..RUNS {
        let name = format!("route-{turn}");
        let (address, _, begin) = cluster.create(&name)?;
        let wait = |since: Instant, wanted: bool| -> Result<f64> {
            loop {
                if router.next_hops(address)?.is_empty() != wanted {
                    return Ok(ms(since.elapsed()));
                }
                if since.elapsed() > DEADLINE {
                    let what = if wanted { "get" } else { "lose" };
                    bail!("the router did not {what} the route to {address} within {} s", DEADLINE.as_secs());
                }
            }
        };
        announced.push(wait(begin, true)?);
        let deleted = Instant::now();
        lab.send("DELETE", &look::service_path(&name), &json!({}))?;
        withdrawn.push(wait(deleted, false)?);
    }
    rows.push(Row::new("bgp", "create Service to route in the router's kernel", "ms", &announced));
    rows.push(Row::new("bgp", "delete Service to route gone from the router's kernel", "ms", &withdrawn));
    rows.note("bgp: the routes are looked at by `ip route`, so each figure is late by up to one such look");
    Ok(())
}
