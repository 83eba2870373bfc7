//! Benchmarks, each against its rival in the same run.
//!
//! A group is a function `run(&mut Rows) -> anyhow::Result<()>` that pushes its
//! rows as they are measured (or, where it needs the cluster, one that takes the
//! lab as well); [`cli`] runs the groups and prints. Nothing here is asserted in
//! tests: a busy machine would make a test of a duration lie.

pub mod addresses;
pub mod addresses_alloc;
mod addresses_placement;
pub mod bgp;
pub mod cli;
pub mod cluster;
pub mod dataplane;
pub mod layer2;
pub mod operate;
pub mod row;
pub mod rows;
pub mod scale;

pub use row::{Bar, Row, Versus};
pub use rows::Rows;
