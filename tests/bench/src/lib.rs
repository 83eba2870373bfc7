//! Benchmarks, each against its rival in the same run.
//!
//! A group is a function `run(&mut Rows) -> anyhow::Result<()>` that pushes its
//! rows as they are measured; `main.rs` prints them. Nothing here is asserted in
//! tests: a busy machine would make a test of a duration lie.

pub mod row;
pub mod rows;

pub use row::{Bar, Row, Versus};
pub use rows::Rows;
