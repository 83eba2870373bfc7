//! Many Services and few addresses.

use anyhow::{Result, ensure};
use clarion_e2e::controllers::all_ready;
use clarion_e2e::crowd::{all_settled, create, delete_one, disperse, present, watch};
use clarion_e2e::harness::Case;
use clarion_lab::Lab;
use std::time::Duration;

pub(crate) const CASES: &[Case] =
    &[("of a full pool, five hundred deletions give their addresses to five hundred that wait", deletions)];

/// Addresses of the pool.
const COUNT: usize = 1_000;
/// Services that find it full.
const WAITING: usize = 500;

fn deletions(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    all_ready(lab)?;
    create(lab, "first", COUNT, Some("thousand"), &|_| ())?;
    let first = all_settled(lab, COUNT)?;
    create(lab, "waits", WAITING, Some("thousand"), &|_| ())?;
    let last = format!("waits-{}", WAITING - 1);
    lab.wait_until("a refusal of the last", Duration::from_secs(30), || {
        let events = lab.events(clarion_e2e::crowd::NAMESPACE, "Service", &last)?;
        Ok(events.iter().any(|(reason, _)| reason == "AllocationFailed").then_some(()))
    })?;
    let held = present(lab)?.values().filter(|(address, _)| address.is_some()).count();
    ensure!(held == COUNT, "{held} addresses are held of a pool of {COUNT}");
    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(lab, "waits-", WAITING));
        (0..WAITING).try_for_each(|number| delete_one(lab, &format!("first-{number}")))?;
        watch.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?
    })?;
    ensure!(seen.moved.is_empty(), "{:?}", seen.moved.first());
    let now = all_settled(lab, COUNT)?;
    let stayed = first.iter().filter(|(name, address)| now.get(*name) == Some(address)).count();
    ensure!(stayed == COUNT - WAITING, "{stayed} kept their address");
    disperse(lab)
}
