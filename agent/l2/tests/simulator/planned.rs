//! What is planned or seen coming leaves nothing unanswered; the last node
//! standing serves; who has no segment does not.

use crate::sim::faults::rough;
use crate::sim::{Config, Fault, MS, Verdict, World};
use crate::{seeds, wanted};

const STRIKE: u64 = 2000 * MS;

fn run(config: Config, until: u64, prepare: impl Fn(&mut World)) -> (World, Verdict) {
    let mut world = World::new(config);
    prepare(&mut world);
    world.run_until(until);
    let verdict = world.finish();
    (world, verdict)
}

fn dark(verdict: &Verdict) -> u64 {
    verdict
        .dark
        .iter()
        .filter(|spell| spell.from >= 1000 * MS)
        .map(crate::sim::Spell::length)
        .max()
        .unwrap_or(0)
}

#[test]
fn a_planned_hand_over_leaves_nothing_unanswered_and_never_two_macs() {
    for seed in seeds(30, 1000).filter(|seed| wanted(*seed)) {
        let mut config = rough(seed, 3);
        config.sample = MS / 10;
        let (world, verdict) = run(config, 4000 * MS, |world| world.at(STRIKE, Fault::Drain(0)));
        let log = || world.timeline.between(STRIKE, 4000 * MS);
        assert_eq!(dark(&verdict), 0, "seed {seed}\n{}", log());
        assert!(verdict.overlaps.is_empty(), "seed {seed}: {:?}\n{}", verdict.overlaps, log());
        assert!(verdict.moves[0] == 1 && verdict.moves[3] == 1, "seed {seed}\n{}", log());
    }
}

#[test]
fn a_rebalancing_plan_moves_what_it_says_and_nothing_else() {
    for seed in seeds(30, 1000).filter(|seed| wanted(*seed)) {
        let (world, verdict) = run(rough(seed, 3), 7000 * MS, |world| world.at(STRIKE, Fault::Move(0, 1)));
        let log = || world.timeline.between(STRIKE, 7000 * MS);
        assert_eq!(dark(&verdict), 0, "seed {seed}\n{}", log());
        assert!(verdict.overlaps.is_empty(), "seed {seed}\n{}", log());
        assert_eq!(verdict.moves, [1, 0, 0, 0, 0, 0], "seed {seed}\n{}", log());
    }
}

#[test]
fn a_node_that_comes_back_gets_what_the_plan_names_it_for_and_no_more() {
    for seed in seeds(10, 300).filter(|seed| wanted(*seed)) {
        let back = 4000 * MS;
        let (world, verdict) = run(rough(seed, 3), 20_000 * MS, |world| {
            world.at(STRIKE, Fault::PowerOff(0));
            world.at(back, Fault::Boot(0));
        });
        let log = || world.timeline.between(back, 20_000 * MS);
        let late = verdict.dark.iter().find(|spell| spell.from > back);
        assert!(late.is_none() && verdict.overlaps.is_empty(), "seed {seed}: {late:?}\n{}", log());
        assert_eq!(verdict.moves, [2, 0, 0, 2, 0, 0], "seed {seed}\n{}", log());
    }
}

#[test]
fn under_never_a_node_that_comes_back_gets_nothing_and_a_newer_plan_is_no_reason_to_move() {
    for seed in seeds(10, 300).filter(|seed| wanted(*seed)) {
        let config = Config { stay: true, ..rough(seed, 3) };
        let (world, verdict) = run(config, 20_000 * MS, |world| {
            world.pair(STRIKE, 4000 * MS, Fault::PowerOff(0), Fault::Boot(0));
            world.at(17_000 * MS, Fault::Move(0, 0));
        });
        let log = || world.timeline.between(STRIKE, 20_000 * MS);
        assert!(verdict.overlaps.is_empty() && verdict.unanswered.is_empty(), "seed {seed}\n{}", log());
        assert_eq!(verdict.moves, [1, 0, 0, 1, 0, 0], "seed {seed}\n{}", log());
    }
}

#[test]
fn a_lost_carrier_moves_its_addresses_within_60_ms() {
    for seed in seeds(30, 1000).filter(|seed| wanted(*seed)) {
        let config = Config::new(seed, 3).loss(0.01 * (seed % 2) as f64);
        let (world, verdict) = run(config, 4000 * MS, |world| world.at(STRIKE, Fault::CarrierLost(0)));
        let longest = dark(&verdict);
        assert!(longest <= 60 * MS, "seed {seed}: {longest}\n{}", world.timeline.between(STRIKE, 4000 * MS));
        assert!(verdict.overlaps.is_empty() && verdict.unanswered.is_empty());
    }
}

#[test]
fn the_last_node_standing_answers_everything_within_two_seconds() {
    for (nodes, seed) in [3, 5].into_iter().flat_map(|nodes| seeds(10, 300).map(move |seed| (nodes, seed))) {
        let (world, verdict) = run(rough(seed, nodes), 6000 * MS, |world| {
            for node in 1..nodes {
                world.at(STRIKE, Fault::PowerOff(node));
            }
        });
        let log = || world.timeline.between(STRIKE, 6000 * MS);
        assert!(
            dark(&verdict) <= 2000 * MS,
            "{nodes} nodes, seed {seed}: {} ms\n{}",
            dark(&verdict) / MS,
            log()
        );
        assert!(verdict.unanswered.is_empty(), "{nodes} nodes, seed {seed}\n{}", log());
    }
}

#[test]
fn a_consistent_cluster_stays_silent_without_a_majority() {
    let (_, verdict) = run(Config::new(1, 3).consistent(), 6000 * MS, |world| {
        world.at(STRIKE, Fault::PowerOff(1));
        world.at(STRIKE, Fault::PowerOff(2));
    });
    assert_eq!(verdict.unanswered.len(), 6);
}

#[test]
fn of_two_nodes_the_one_without_a_segment_takes_nothing() {
    for seed in seeds(20, 500).filter(|seed| wanted(*seed)) {
        let (world, verdict) = run(rough(seed, 2), 6000 * MS, |world| {
            world.pair(STRIKE, 4000 * MS, Fault::Cut(0), Fault::Mend(0));
        });
        let log = world.timeline.between(STRIKE, 6000 * MS);
        assert_eq!([verdict.moves[1], verdict.moves[3]], [0, 0], "seed {seed}\n{log}");
        assert!(verdict.talking() <= 50 * MS, "seed {seed}\n{log}");
    }
}

#[test]
fn a_split_with_the_gateway_on_the_larger_side_has_no_overlap() {
    for seed in seeds(20, 500).filter(|seed| wanted(*seed)) {
        let (world, verdict) = run(rough(seed, 5), 7000 * MS, |world| {
            world.pair(STRIKE, 4500 * MS, Fault::Split(2, false), Fault::HealAll);
        });
        let log = || world.timeline.between(STRIKE, 7000 * MS);
        assert!(verdict.overlaps.is_empty(), "seed {seed}: {:?}\n{}", verdict.overlaps, log());
        assert!(dark(&verdict) <= 500 * MS, "seed {seed}: {} ms\n{}", dark(&verdict) / MS, log());
    }
}

#[test]
fn a_machine_whose_clock_stood_still_yields_within_35_ms() {
    let mut longest = 0;
    for seed in seeds(40, 1000).filter(|seed| wanted(*seed)) {
        // A lost packet costs one more call, and one more look.
        let (loss, bar) = if seed % 2 == 0 { (0.0, 35) } else { (0.01, 65) };
        let (world, verdict) = run(Config::new(seed, 3).loss(loss), 6000 * MS, |world| {
            world.pair(STRIKE + seed * MS, 3500 * MS, Fault::Freeze(0), Fault::Thaw(0, false));
        });
        for spell in &verdict.overlaps {
            longest = longest.max(spell.length());
            assert!(
                spell.length() <= bar * MS,
                "seed {seed}: {spell:?}\n{}",
                world.timeline.between(STRIKE, 4000 * MS)
            );
        }
        assert!(verdict.unanswered.is_empty() && verdict.fenced.is_empty());
    }
    println!("clock stood still: overlap of at most {:.1} ms", longest as f64 / 1e6);
}
