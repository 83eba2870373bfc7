//! `BPF_PROG_TEST_RUN` fixtures for every outcome of the XDP program, and tests of
//! the data plane on veth pairs.
//!
//! The library has what those tests and the benchmarks share: frames
//! ([`frames`]), signals and a node that takes them in ([`fence`]), a namespace with a BPF file system of its own ([`sandbox`]), the
//! pinned program run on one frame ([`run`]), and packet sockets ([`wire`]).

pub mod fence;
pub mod frames;
pub mod run;
pub mod sandbox;
pub mod wire;
