//! Each safeguard taken away once: the simulator must notice.

use crate::sim::faults::rough;
use crate::sim::{Config, Fault, MS, Mix, Tamper, Verdict, World};
use clarion_l2::machine::Timing;

use super::chaos;

/// The first of `seeds` in which `bad` is true, with and without the safeguard.
fn caught(tamper: Tamper, seeds: u64, run: impl Fn(Config) -> bool, base: impl Fn(u64) -> Config) {
    let found = (0..seeds).find(|seed| run(Config { tamper: Some(tamper), ..base(*seed) }));
    let Some(seed) = found else { panic!("{tamper:?}: not noticed within {seeds} seeds") };
    assert!(!run(base(seed)), "{tamper:?}: seed {seed} fails with the safeguard too");
    println!("{tamper:?}: noticed at seed {seed}");
}

/// A fault of node 0 from 2 s on.
fn struck(config: Config, begin: Fault, finish: Option<(u64, Fault)>) -> Verdict {
    let mut world = World::new(config);
    let at = 2000 * MS + world.config.seed % 30 * MS;
    world.at(at, begin);
    if let Some((after, fault)) = finish {
        world.at(at + after, fault);
    }
    world.run_until(4500 * MS);
    world.finish()
}

fn overlaps(verdict: &Verdict) -> bool {
    !verdict.overlaps.is_empty()
}

#[test]
fn without_the_fence_a_cut_node_goes_on_answering() {
    caught(Tamper::NoFence, 5, |c| overlaps(&struck(c, Fault::Cut(0), None)), |s| rough(s, 3));
}

#[test]
fn leases_that_run_from_their_arrival_outlive_the_voters_count() {
    // First nothing leaves the node, then nothing reaches it: what was granted in
    // between counts for longer than it should.
    let run = |c| overlaps(&struck(c, Fault::Mute(0), Some((70 * MS, Fault::Cut(0)))));
    caught(Tamper::LeaseFromArrival, 60, run, |s| {
        let mut config = rough(s, 3);
        config.quality.tail = true;
        config
    });
}

#[test]
fn without_the_round_trip_test_a_deaf_node_keeps_its_addresses_dark() {
    let dark = |c| {
        struck(c, Fault::Deaf(0), None)
            .dark
            .iter()
            .any(|spell| spell.from > 2000 * MS && spell.length() > 500 * MS)
    };
    caught(Tamper::NoRoundTrip, 5, dark, |s| rough(s, 3));
}

#[test]
fn promises_that_end_by_themselves_let_a_deposed_node_return() {
    caught(
        Tamper::PromiseEnds,
        400,
        |c| {
            let heal = 100 * MS + c.seed * 7 % 150 * MS;
            overlaps(&struck(c, Fault::Cut(0), Some((heal, Fault::Mend(0)))))
        },
        |s| Config::new(s, 3),
    );
}

#[test]
fn promises_to_anybody_make_two_executors() {
    // Voters 1 and 9 of node 0 cannot talk; each finds the other promises.
    let run = |c| {
        let mut world = World::new(c);
        let at = 2000 * MS + world.config.seed % 30 * MS;
        world.at(at, Fault::LinkCut(1, 9));
        world.at(at, Fault::PowerOff(0));
        world.run_until(2500 * MS);
        overlaps(&world.finish())
    };
    caught(Tamper::SharedPromise, 200, run, |s| Config { addresses: 20, ..Config::new(s, 10) });
}

fn chaotic(nodes: usize) -> impl Fn(Config) -> bool {
    move |config| {
        let mix = Mix { chaos: 12_000 * MS, healing: 7_000 * MS, clocks_stop: false };
        let (_, verdict) = chaos::run(Config { nodes, ..config }, mix);
        !chaos::problems(&verdict, 50).is_empty()
    }
}

#[test]
fn without_claims_overlaps_last() {
    caught(Tamper::NoClaims, 20, chaotic(3), |s| rough(s, 3));
}

#[test]
fn without_anybody_passing_claims_on_overlaps_last_as_long_as_a_cut() {
    // Two owners that are not peers and cannot talk; all others hear both.
    let run = |c| {
        let mut world = World::new(c);
        world.at(2000 * MS, Fault::ApiAway(0));
        world.at(2000 * MS, Fault::LinkCut(0, 5));
        world.at(2100 * MS, Fault::Place(0, 5));
        world.run_until(5000 * MS);
        world.finish().overlaps.iter().any(|spell| spell.length() > 1200 * MS)
    };
    caught(Tamper::NoForwarding, 5, run, |s| rough(s, 10));
}

#[test]
fn takers_that_do_not_ask_rob_owners() {
    // The controller gives node 1 what node 0 has, which hears nothing of it.
    let run = |c| {
        let mut world = World::new(c);
        world.at(1500 * MS, Fault::ApiAway(0));
        world.at(2000 * MS, Fault::Place(0, 1));
        world.run_until(4500 * MS);
        overlaps(&world.finish())
    };
    caught(Tamper::NoResolve, 5, run, |s| rough(s, 3));
}

/// As [`caught`], for what the machine's times switch off.
fn missed(
    what: &str,
    seeds: u64,
    bad: impl Fn(Config) -> bool,
    base: impl Fn(u64) -> Config,
    off: fn(&mut Timing),
) {
    let without = |seed| {
        let mut config = base(seed);
        off(&mut config.timing);
        config
    };
    let Some(seed) = (0..seeds).find(|seed| bad(without(*seed))) else {
        panic!("{what}: not noticed within {seeds} seeds")
    };
    assert!(!bad(base(seed)), "{what}: seed {seed} fails with the safeguard too");
    println!("{what}: noticed at seed {seed}");
}

#[test]
fn without_resignation_a_deposed_node_stays_fenced() {
    let run = |c| {
        let mut world = World::new(c);
        world.pair(2000 * MS, 4000 * MS, Fault::Cut(0), Fault::Mend(0));
        world.run_until(8000 * MS);
        !world.finish().fenced.is_empty()
    };
    missed("resignation", 5, run, |s| Config::new(s, 3), |timing| timing.resign = u64::MAX);
}

#[test]
fn without_the_orphans_rule_what_voters_forgot_stays_dark() {
    let run = |c| {
        let mut world = World::new(Config { list: 2, ..c });
        for node in [0, 1, 2, 10, 11] {
            world.at(4000 * MS, Fault::PowerOff(node));
        }
        world.run_until(12_000 * MS);
        !world.finish().unanswered.is_empty()
    };
    missed("orphans", 5, run, |s| Config::new(s, 12), |timing| timing.orphan = None);
}

#[test]
fn without_the_last_standing_two_of_three_leave_everything_dark() {
    let run = |c| {
        let mut world = World::new(c);
        for node in [1, 2] {
            world.at(2000 * MS, Fault::PowerOff(node));
        }
        world.run_until(6000 * MS);
        !world.finish().unanswered.is_empty()
    };
    missed("last standing", 5, run, |s| Config::new(s, 3), |timing| timing.available = None);
}

#[test]
fn without_a_stagger_voters_ask_at_once_and_all_too_late() {
    let run = |c: Config| {
        let verdict = struck(c, Fault::PowerOff(0), None);
        verdict.dark.iter().any(|spell| spell.from >= 2000 * MS && spell.length() > 165 * MS)
    };
    missed("stagger", 400, run, |s| Config::new(s, 3), |timing| timing.stagger = 0);
}

#[test]
fn without_a_majority_both_sides_of_a_split_answer() {
    let run = |c| {
        let mut world = World::new(Config::consistent(c));
        world.at(2000 * MS, Fault::Split(2, false));
        world.run_until(5000 * MS);
        overlaps(&world.finish())
    };
    caught(Tamper::NoMajority, 5, run, |s| Config::new(s, 5));
}

#[test]
fn without_a_proof_of_the_segment_a_node_that_is_cut_off_takes_all() {
    let run = |c| {
        let mut world = World::new(c);
        world.at(2000 * MS, Fault::Cut(0));
        world.run_until(5000 * MS);
        world.finish().moves[1] > 0
    };
    caught(Tamper::NoProof, 5, run, |s| Config::new(s, 2));
}

#[test]
fn without_heartbeats_a_hung_node_is_chosen() {
    let dark = |c: Config| {
        let mut world = World::new(c);
        // Hung before, so that its age is known.
        world.at(2000 * MS, Fault::AgentStop(1));
        world.at(2400 * MS, Fault::PowerOff(0));
        world.run_until(3500 * MS);
        world.finish().dark.iter().any(|spell| spell.from > 2000 * MS && spell.length() > 150 * MS)
    };
    caught(Tamper::NoHeartbeat, 5, dark, |s| Config::new(s, 3));
}
