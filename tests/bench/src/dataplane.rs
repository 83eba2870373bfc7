//! The program in the kernel: nanoseconds a frame, and what a wire sees of it.
//!
//! Everything is measured in namespaces of its own, against the kernel in the
//! same run, the two taking turns, so that what else the machine does meets both.

use anyhow::{Context, Result};

use crate::Rows;

#[path = "dataplane_bystander.rs"]
mod bystander;
#[path = "dataplane_flood.rs"]
mod flood;
#[path = "dataplane_frames.rs"]
mod frames;
#[path = "dataplane_throughput.rs"]
mod throughput;
#[path = "dataplane_wire.rs"]
mod wire;

const GROUP: &str = "dataplane";

/// Measures all rows of the group.
///
/// # Errors
/// Not root, no BPF objects, or a request that stayed unanswered.
pub fn run(rows: &mut Rows) -> Result<()> {
    frames::run(rows).context("frame by frame")?;
    wire::run(rows).context("on a veth")?;
    bystander::run(rows).context("a flood on a switch")?;
    throughput::run(rows).context("TCP throughput")
}
