//! The ownership protocol under every fault that is promised something about.
//!
//! A seed that fails prints what happened around it. `CLARION_LONG=1` runs
//! thousands of seeds instead of some dozens each.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "virtual times and indices are small"
)]

mod sim;

#[path = "simulator/ablation.rs"]
mod ablation;
#[path = "simulator/chaos.rs"]
mod chaos;
#[path = "simulator/created.rs"]
mod created;
#[path = "simulator/links.rs"]
mod links;
#[path = "simulator/orphans.rs"]
mod orphans;
#[path = "simulator/planned.rs"]
mod planned;
#[path = "simulator/scale.rs"]
mod scale;
#[path = "simulator/single.rs"]
mod single;
#[path = "simulator/starved.rs"]
mod starved;
#[path = "simulator/times.rs"]
mod times;

/// So many seeds ordinarily, so many when the long run was asked for.
fn seeds(short: u64, long: u64) -> std::ops::Range<u64> {
    let long_run = std::env::var_os("CLARION_LONG").is_some();
    0..if long_run { long } else { short }
}

/// One seed alone, to look at it: `CLARION_SEED=17`.
fn wanted(seed: u64) -> bool {
    std::env::var("CLARION_SEED").ok().and_then(|text| text.parse().ok()).is_none_or(|only: u64| only == seed)
}
