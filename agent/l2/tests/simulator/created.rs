//! Addresses that are created while the cluster runs: the first of the list takes them at
//! once, and nobody's are taken although plans are late, agents have just begun, packets are
//! lost and links come back.

use crate::sim::faults::rough;
use crate::sim::report::quantile;
use crate::sim::{Config, Fault, MS, Verdict, World};
use crate::{seeds, wanted};

/// All claims have been heard by then.
const SETTLED: u64 = 4000 * MS;
/// The address that is created.
const NEW: usize = 6;

fn config(base: Config) -> Config {
    Config { addresses: NEW + 1, later: 1, ..base }
}

/// When the address was first answered.
fn first_answer(verdict: &Verdict) -> u64 {
    let spell = verdict.dark.iter().find(|spell| spell.address == NEW);
    spell.map_or(u64::MAX, |spell| spell.until)
}

#[test]
fn an_address_that_is_created_is_answered_at_once() {
    let mut all = Vec::new();
    for seed in seeds(60, 1000).filter(|seed| wanted(*seed)) {
        let mut world = World::new(config(Config::new(seed, 3)));
        let at = SETTLED + seed * 7 % 1000 * MS;
        world.at(at, Fault::Create(NEW, (seed % 3) as usize));
        world.run_until(at + 500 * MS);
        let verdict = world.finish();
        assert!(verdict.overlaps.is_empty(), "seed {seed}");
        all.push(first_answer(&verdict) - at);
    }
    all.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&all, q));
    println!("created -> answered, plans 2 ms + exp(4 ms) on their way: {p50:.1}/{p99:.1}/{max:.1} ms");
    assert!(p50 <= 12.0, "{p50}");
}

#[test]
fn an_agent_that_has_just_begun_asks_thoroughly_before_it_takes_what_was_created() {
    for seed in seeds(10, 100).filter(|seed| wanted(*seed)) {
        let mut world = World::new(config(Config::new(seed, 3)));
        world.at(SETTLED, Fault::AgentKill(0));
        world.at(SETTLED + 10 * MS, Fault::AgentStart(0));
        world.at(SETTLED + 200 * MS, Fault::Create(NEW, 0));
        world.run_until(SETTLED + 700 * MS);
        let took = first_answer(&world.finish()) - SETTLED - 200 * MS;
        assert!(took >= 20 * MS, "seed {seed}: after {} us", took / 1000);
    }
}

/// Creates an address for node 0 and gives it to node 1 a moment later; in between `spoil`.
fn contested(seed: u64, nodes: usize, spoil: impl Fn(&mut World, u64)) -> (World, Verdict) {
    let mut world = World::new(config(Config { later: 1, ..rough(seed, nodes) }));
    let at = SETTLED + seed * 13 % 1000 * MS;
    world.at(at, Fault::Create(NEW, 0));
    spoil(&mut world, at);
    let again = at + world.rng.range(0, 1200 * MS);
    world.at(again, if seed.is_multiple_of(2) { Fault::Place(NEW, 1) } else { Fault::Move(NEW, 1) });
    world.run_until(at + 4000 * MS);
    let verdict = world.finish();
    (world, verdict)
}

fn all(what: &str, nodes: usize, spoil: impl Fn(&mut World, u64)) {
    let (mut overlapping, mut longest, mut count) = (0, 0, 0);
    for seed in seeds(60, 4000).filter(|seed| wanted(*seed)) {
        let (world, verdict) = contested(seed, nodes, &spoil);
        let talking = verdict.talking();
        count += 1;
        overlapping += u64::from(!verdict.overlaps.is_empty());
        longest = longest.max(talking);
        let log = || world.timeline.between(SETTLED, world.now);
        assert!(talking <= 50 * MS, "{what}, {nodes} nodes, seed {seed}: {} us\n{}", talking / 1000, log());
        assert!(verdict.unanswered.is_empty(), "{what}, {nodes} nodes, seed {seed}\n{}", log());
    }
    println!(
        "created and given to another, {what}, N={nodes}: overlap in {overlapping} of {count} seeds, at most {:.1} ms while talking",
        longest as f64 / 1e6
    );
}

#[test]
fn what_was_created_has_one_owner_though_plans_are_late() {
    all("plans late", 3, |_, _| {});
    all("plans late", 10, |_, _| {});
}

#[test]
fn what_was_created_has_one_owner_though_agents_begin() {
    all("agent restarted", 3, |world, at| {
        let begin = at + world.rng.range(0, 1000 * MS);
        world.pair(begin, begin + 20 * MS, Fault::AgentKill(1), Fault::AgentStart(1));
    });
}

#[test]
fn what_was_created_has_one_owner_though_a_link_comes_back() {
    all("link cut and back", 3, |world, at| {
        let back = at + world.rng.range(50 * MS, 1200 * MS);
        world.pair(at - 500 * MS, back, Fault::LinkCut(0, 1), Fault::LinkMend(0, 1));
    });
    all("node cut and back", 5, |world, at| {
        let back = at + world.rng.range(50 * MS, 1200 * MS);
        world.pair(at - 500 * MS, back, Fault::Cut(1), Fault::Mend(1));
    });
}
