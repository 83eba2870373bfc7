//! Agents that get no processor time now and then, while their kernels answer: all nodes of a
//! small laboratory at once, or each for itself. Nothing moves, since nobody has died; and who
//! dies meanwhile is noticed as soon as anybody is awake.

use crate::sim::faults::rough;
use crate::sim::report::quantile;
use crate::sim::{Config, Fault, MS, Verdict, World};
use crate::{seeds, wanted};

const BEGIN: u64 = 2000 * MS;
const END: u64 = 30_000 * MS;

/// Agents stand still for 50 to 500 ms, at the same time or not.
fn starve(world: &mut World, until: u64) {
    let nodes = world.config.nodes;
    let mut at = BEGIN;
    while at < until {
        let together = world.rng.chance(0.5);
        for node in 0..nodes {
            if together || world.rng.chance(0.4) {
                let from = at + world.rng.range(0, 20 * MS);
                let to = from + world.rng.range(50 * MS, 500 * MS);
                world.pair(from, to, Fault::AgentStop(node), Fault::AgentGo(node));
            }
        }
        at += world.rng.range(550 * MS, 1500 * MS);
    }
}

fn run(config: Config) -> (World, Verdict) {
    let mut world = World::new(config);
    starve(&mut world, END - 1500 * MS);
    world.run_until(END);
    let verdict = world.finish();
    (world, verdict)
}

#[test]
fn starved_agents_are_no_reason_to_move_anything() {
    for nodes in [2, 3, 5] {
        let (mut dark, mut moved) = (Vec::new(), 0);
        for seed in seeds(12, 400).filter(|seed| wanted(*seed)) {
            let (world, verdict) = run(Config { slow_watch: false, ..rough(seed, nodes) });
            let log = || world.timeline.between(BEGIN, world.now);
            let moves: u32 = verdict.moves.iter().sum();
            moved += moves;
            assert!(
                verdict.overlaps.is_empty(),
                "{nodes} nodes, seed {seed}: {:?}\n{}",
                verdict.overlaps,
                log()
            );
            assert!(moves == 0, "{nodes} nodes, seed {seed}: {moves} moves\n{}", log());
            dark.extend(verdict.dark.iter().filter(|s| s.from > BEGIN).map(crate::sim::Spell::length));
        }
        dark.sort_unstable();
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&dark, q));
        println!(
            "starved, N={nodes}: {moved} moves; {} dark spells of {p50:.0}/{p99:.0}/{max:.0} ms",
            dark.len()
        );
    }
}

#[test]
fn a_node_that_dies_while_agents_starve_is_replaced_soon_after_they_wake() {
    let mut all = Vec::new();
    for seed in seeds(40, 1000).filter(|seed| wanted(*seed)) {
        let mut world = World::new(Config::new(seed, 3));
        let at = BEGIN + seed * 7 % 60 * MS;
        let wake = at + 150 * MS;
        for node in [1, 2] {
            world.pair(at - 50 * MS, wake, Fault::AgentStop(node), Fault::AgentGo(node));
        }
        world.at(at, Fault::PowerOff(0));
        world.run_until(at + 1000 * MS);
        let verdict = world.finish();
        assert!(verdict.overlaps.is_empty() && verdict.unanswered.is_empty(), "seed {seed}");
        let late = verdict.dark.iter().filter(|spell| spell.until > wake).map(|spell| spell.until - wake);
        all.extend(late);
    }
    all.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&all, q));
    println!("died while all slept: answered {p50:.0}/{p99:.0}/{max:.0} ms after they woke");
    assert!(p99 <= 100.0);
}
