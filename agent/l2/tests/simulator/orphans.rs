//! What nobody owns any more is taken without a controller: voters dead with the owner, lists dead
//! to the last node, records forgotten, first owners that never came.

use crate::sim::faults::rough;
use crate::sim::{Config, Fault, MS, Spell, Verdict, World};
use crate::{seeds, wanted};

const STRIKE: u64 = 4000 * MS;
const END: u64 = 15_000 * MS;

fn run(config: Config, prepare: impl Fn(&mut World)) -> (World, Verdict) {
    let mut world = World::new(config);
    prepare(&mut world);
    world.run_until(END);
    let verdict = world.finish();
    (world, verdict)
}

/// From the strike until all is answered.
fn dark(verdict: &Verdict) -> u64 {
    let struck = |spell: &&Spell| spell.until > STRIKE && spell.from < STRIKE + 300 * MS;
    verdict.dark.iter().filter(struck).map(|spell| spell.until - STRIKE).max().unwrap_or(0)
}

fn check(what: &str, base: impl Fn(u64) -> Config, within: u64, prepare: impl Fn(&mut World)) {
    let mut longest = 0;
    for seed in seeds(10, 300).filter(|seed| wanted(*seed)) {
        let (world, verdict) = run(Config { slow_watch: false, ..base(seed) }, &prepare);
        let log = || world.timeline.between(STRIKE, END);
        assert!(verdict.unanswered.is_empty(), "{what}, seed {seed}: {:?}\n{}", verdict.unanswered, log());
        // Two seekers may find enough silent at one moment; their claims cross.
        assert!(verdict.talking() <= 50 * MS, "{what}, seed {seed}: {:?}\n{}", verdict.overlaps, log());
        assert!(dark(&verdict) <= within * MS, "{what}, seed {seed}: {} ms\n{}", dark(&verdict) / MS, log());
        longest = longest.max(dark(&verdict));
    }
    println!("{what}: all is answered within {} ms", longest / MS);
}

#[test]
fn the_last_nodes_of_a_list_are_no_end() {
    // Address i is for nodes i and i+1 (or another) alone, and both die.
    let base = |seed| Config { list: 2, ..rough(seed, 5) };
    check("a whole list off, N=5", base, 600, |world| {
        world.at(STRIKE, Fault::PowerOff(0));
        world.at(STRIKE, Fault::PowerOff(1));
    });
}

#[test]
fn owner_and_voters_may_die_together() {
    let base = |seed| Config { list: 2, ..rough(seed, 12) };
    check("owner, list and voters off, N=12", base, 5500, |world| {
        for node in [0, 1, 2, 10, 11] {
            world.at(STRIKE, Fault::PowerOff(node));
        }
    });
}

#[test]
fn what_voters_have_forgotten_is_taken_nevertheless() {
    check(
        "agents restarted, then power off, N=3",
        |seed| rough(seed, 3),
        3500,
        |world| {
            // Their kernels keep the leases; the owner's next claim never comes.
            for node in [1, 2] {
                world.at(STRIKE - 40 * MS, Fault::ApiAway(node));
                world.pair(STRIKE - 30 * MS, STRIKE + MS, Fault::AgentKill(node), Fault::AgentStart(node));
                world.at(STRIKE + 10 * MS, Fault::ApiBack(node));
            }
            world.at(STRIKE, Fault::PowerOff(0));
        },
    );
}

#[test]
fn who_comes_second_takes_what_the_first_never_took() {
    for seed in seeds(10, 300).filter(|seed| wanted(*seed)) {
        let config = Config { addresses: 7, later: 1, slow_watch: false, ..rough(seed, 3) };
        let (world, verdict) = run(config, |world| {
            world.at(STRIKE - 1000 * MS, Fault::PowerOff(0));
            world.at(STRIKE, Fault::Create(6, 0));
        });
        let log = || world.timeline.between(STRIKE, END);
        assert!(verdict.unanswered.is_empty() && dark(&verdict) <= 3500 * MS, "seed {seed}\n{}", log());
    }
}

#[test]
fn nodes_that_may_not_own_an_address_do_not_take_it() {
    for seed in seeds(10, 300).filter(|seed| wanted(*seed)) {
        let barred = vec![2, 3, 4];
        let config = Config { list: 2, barred, slow_watch: false, ..rough(seed, 5) };
        let (world, verdict) = run(config, |world| {
            world.at(STRIKE, Fault::PowerOff(0));
            world.at(STRIKE, Fault::PowerOff(1));
        });
        // Address 0 is for nodes 0 and 1 alone.
        assert_eq!(verdict.unanswered, [0], "seed {seed}\n{}", world.timeline.between(STRIKE, END));
    }
}

#[test]
fn the_smaller_side_of_a_partition_takes_nothing_that_nobody_claims() {
    for seed in seeds(10, 300).filter(|seed| wanted(*seed)) {
        let config = Config { slow_watch: false, ..rough(seed, 12) };
        let (world, verdict) = run(config.consistent(), |world| {
            world.at(STRIKE, Fault::Split(5, false));
        });
        let log = || world.timeline.between(STRIKE, END);
        let smaller = |index: &usize| {
            let mut holders = world.answering(*index);
            holders.any(|node| node < 5) && index % 12 >= 5
        };
        let robbed: Vec<_> = (0..world.config.addresses).filter(smaller).collect();
        assert!(robbed.is_empty(), "seed {seed}: {robbed:?}\n{}", log());
        assert!(verdict.unanswered.is_empty(), "seed {seed}: {:?}\n{}", verdict.unanswered, log());
    }
}
