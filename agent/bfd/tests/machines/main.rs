//! Whole machines: two against each other over a bad wire, and one against garbage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fuzz;
mod pair;
mod world;
