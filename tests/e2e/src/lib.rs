//! End-to-end tests: the shipped binaries in the lab.
//!
//! Here is what the tests (`tests/e2e/`) and the demo (`bin/demo`) share:
//! the objects that they apply, and questions about what became of them.
//! [`harness`] runs many tests on few labs.

pub mod agents;
pub mod controllers;
pub mod crowd;
pub mod harness;
pub mod look;
pub mod objects;
pub mod verdict;
