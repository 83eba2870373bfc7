//! A simulator of whole clusters, in virtual time: the shipped machine and the
//! shipped kernel rules, on a network, clocks and machines that misbehave.
//!
//! Everything follows from one seed. After every event two nodes that answer for
//! one address are looked for, each virtual millisecond also addresses that
//! nobody answers.

pub(crate) mod check;
pub(crate) mod controller;
pub(crate) mod deliver;
pub(crate) mod faults;
pub(crate) mod net;
pub(crate) mod node;
pub(crate) mod report;
pub(crate) mod rng;
pub(crate) mod world;

pub(crate) use check::{Spell, Verdict};
pub(crate) use faults::{Fault, Mix};
pub(crate) use world::{Config, Tamper, World};

/// Virtual nanoseconds of a millisecond.
pub(crate) const MS: u64 = 1_000_000;
