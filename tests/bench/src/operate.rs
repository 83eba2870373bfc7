//! Group `operate`: what running Clarion costs a node.

use anyhow::{Context, Result};
use clarion_e2e::look;
use clarion_lab::Lab;

use crate::cluster::Cluster;
use crate::{Bar, Row, Rows};

/// Measures the resident memory of agents and controllers while one Service is served.
///
/// # Errors
/// When a process is not found or the Service is not served.
pub fn run(cluster: &Cluster, rows: &mut Rows) -> Result<()> {
    let lab = &cluster.lab;
    let prober = look::prober(lab)?;
    let (address, _, _) = cluster.create("memory")?;
    look::answered(lab, &prober, address)?;
    look::http(lab, lab.client(1)?, address)?;
    let mut agents = Vec::new();
    for node in lab.nodes() {
        let name = node.machine().name();
        agents.push(resident(lab, name, "clarion-agent")?.with_context(|| format!("{name} runs no agent"))?);
    }
    let mut controllers = Vec::new();
    for node in lab.nodes() {
        controllers.extend(resident(lab, node.machine().name(), "clarion-controller")?);
    }
    cluster.delete(&prober, "memory", address)?;
    let row = |name, samples: &[f64], bar| Row::new("operate", name, "MB", samples).bar(Bar::AtMost(bar));
    rows.push(row("resident memory of an agent, one Service", &agents, 20.0));
    rows.push(row("resident memory of a controller, one Service", &controllers, 25.0));
    Ok(())
}

/// Resident memory in megabytes (10^6 bytes) of the one process of this name on
/// a node; `None` when there is none.
fn resident(lab: &Lab, node: &str, program: &str) -> Result<Option<f64>> {
    let processes = lab.node(node)?.machine().processes(program);
    let Some(process) = processes.first() else { return Ok(None) };
    let what = || format!("{program} on {node}");
    let field = process.status_field("VmRSS").with_context(what)?;
    let kib: f64 = field.trim_end_matches("kB").trim().parse().with_context(what)?;
    Ok(Some(kib * 1024.0 / 1e6))
}
