//! All faults overlapping: overlaps end soon after the owners can talk, and when
//! everything is mended everything is answered.

use crate::sim::faults::rough;
use crate::sim::report::quantile;
use crate::sim::{Config, MS, Mix, Verdict, World};
use crate::{seeds, wanted};

const MIX: Mix = Mix { chaos: 12_000 * MS, healing: 7_000 * MS, clocks_stop: false };

pub(crate) fn run(config: Config, mix: Mix) -> (World, Verdict) {
    let mut world = World::new(config);
    world.suffer(mix);
    let verdict = world.finish();
    (world, verdict)
}

pub(crate) fn problems(verdict: &Verdict, talking: u64) -> Vec<String> {
    let mut found = Vec::new();
    for spell in verdict.overlaps.iter().filter(|spell| spell.talking > talking * MS) {
        found.push(format!(
            "address {} has two owners for {} ms of talking from {} ms on",
            spell.address,
            spell.talking / MS,
            spell.from / MS
        ));
    }
    if !verdict.unanswered.is_empty() {
        found.push(format!("unanswered at the end: {:?}", verdict.unanswered));
    }
    if !verdict.fenced.is_empty() {
        found.push(format!("fenced at the end: {:?}", verdict.fenced));
    }
    found
}

/// The timeline around the first problem.
pub(crate) fn around(world: &World, verdict: &Verdict, talking: u64) -> String {
    let bad = verdict.overlaps.iter().find(|spell| spell.talking > talking * MS);
    match bad {
        Some(spell) => world.timeline.between(spell.from.saturating_sub(1500 * MS), spell.until + 20 * MS),
        None => world.timeline.between(world.now.saturating_sub(8000 * MS), world.now),
    }
}

fn all(nodes: usize, seeds: std::ops::Range<u64>, change: fn(Config) -> Config, mix: Mix) {
    let (mut spells, mut dark, mut talking, mut overlapping, mut count) = (Vec::new(), Vec::new(), 0, 0, 0);
    for seed in seeds.filter(|seed| wanted(*seed)) {
        let (world, verdict) = run(change(rough(seed, nodes)), mix);
        let problems = problems(&verdict, 50);
        assert!(
            problems.is_empty(),
            "{nodes} nodes, seed {seed}: {problems:#?}\n{}",
            around(&world, &verdict, 50)
        );
        count += 1;
        overlapping += u32::from(!verdict.overlaps.is_empty());
        talking = talking.max(verdict.talking());
        spells.extend(verdict.overlaps.iter().map(crate::sim::Spell::length));
        dark.extend(verdict.dark.iter().filter(|s| s.from > 2000 * MS).map(crate::sim::Spell::length));
    }
    spells.sort_unstable();
    dark.sort_unstable();
    let three =
        |of: &[u64]| format!("{:.0}/{:.0}/{:.0}", quantile(of, 0.5), quantile(of, 0.99), quantile(of, 1.0));
    println!(
        "chaos N={nodes}: overlap in {overlapping} of {count} seeds, {} ms; at most {:.1} ms while talking; dark {} ms",
        three(&spells),
        talking as f64 / 1e6,
        three(&dark)
    );
}

#[test]
fn chaos_of_two_nodes_ends_well() {
    all(2, seeds(40, 2500), |c| c, MIX);
}

#[test]
fn chaos_of_three_nodes_ends_well() {
    all(3, seeds(90, 4000), |c| c, MIX);
}

#[test]
fn chaos_of_three_consistent_nodes_ends_well() {
    all(3, seeds(30, 2000), Config::consistent, MIX);
}

#[test]
fn chaos_of_five_nodes_ends_well() {
    all(5, seeds(30, 1500), |c| c, MIX);
}

#[test]
fn chaos_of_ten_nodes_ends_well() {
    all(10, seeds(10, 400), |c| c, MIX);
}
