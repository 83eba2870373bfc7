//! One fault at a time: no overlap at all, darkness within its bound, nothing
//! moves that need not.

use crate::sim::controller::address;
use crate::sim::faults::rough;
use crate::sim::{Config, Fault, MS, Verdict, World};
use crate::{seeds, wanted};

/// When the fault strikes at the earliest.
const STRIKE: u64 = 1500 * MS;
/// When it is mended.
const MEND: u64 = 5000 * MS;
/// The end: a node that returns begins anew within a second and a bit.
const END: u64 = 8000 * MS;

/// A fault of node 0 (and how it is mended), and how long an address may be dark.
struct Kind {
    name: &'static str,
    begin: fn(&mut World, u64),
    finish: Fault,
    dark: u64,
    /// The addresses of node 0 go to others.
    moves: bool,
}

const KINDS: [Kind; 12] = [
    Kind {
        name: "power off",
        begin: |w, t| w.at(t, Fault::PowerOff(0)),
        finish: Fault::Boot(0),
        dark: 500,
        moves: true,
    },
    Kind {
        name: "power off and back at once",
        begin: |w, t| {
            w.at(t, Fault::PowerOff(0));
            w.at(t + 300 * MS, Fault::Boot(0));
        },
        finish: Fault::Voters,
        dark: 500,
        moves: true,
    },
    Kind {
        name: "cut",
        begin: |w, t| w.at(t, Fault::Cut(0)),
        finish: Fault::Mend(0),
        dark: 500,
        moves: true,
    },
    Kind {
        name: "cut for a moment",
        begin: |w, t| {
            let long = w.rng.range(20 * MS, 400 * MS);
            w.pair(t, t + long, Fault::Cut(0), Fault::Mend(0));
        },
        finish: Fault::Voters,
        dark: 1500,
        moves: true,
    },
    Kind {
        name: "deaf",
        begin: |w, t| w.at(t, Fault::Deaf(0)),
        finish: Fault::Mend(0),
        dark: 500,
        moves: true,
    },
    Kind {
        name: "mute",
        begin: |w, t| w.at(t, Fault::Mute(0)),
        finish: Fault::Mend(0),
        dark: 500,
        moves: true,
    },
    Kind {
        name: "frozen, clock running",
        begin: |w, t| w.at(t, Fault::Freeze(0)),
        finish: Fault::Thaw(0, true),
        dark: 500,
        moves: true,
    },
    Kind {
        name: "agent hung",
        begin: |w, t| w.at(t, Fault::AgentStop(0)),
        finish: Fault::AgentGo(0),
        dark: 0,
        moves: false,
    },
    Kind {
        name: "agent killed",
        begin: |w, t| w.at(t, Fault::AgentKill(0)),
        finish: Fault::AgentStart(0),
        dark: 0,
        moves: false,
    },
    Kind {
        name: "agent restarted at once",
        begin: |w, t| w.pair(t, t + 20 * MS, Fault::AgentKill(0), Fault::AgentStart(0)),
        finish: Fault::Voters,
        dark: 0,
        moves: false,
    },
    Kind {
        name: "one link cut",
        begin: |w, t| w.at(t, Fault::LinkCut(0, 1)),
        finish: Fault::LinkMend(0, 1),
        dark: 0,
        moves: false,
    },
    Kind {
        name: "API away",
        begin: |w, t| w.at(t, Fault::ApiAway(0)),
        finish: Fault::ApiBack(0),
        dark: 0,
        moves: false,
    },
];

fn run(kind: &Kind, seed: u64, config: Config) -> (World, Verdict, u64) {
    let mut world = World::new(config);
    let at = STRIKE + seed * 7919 % 1000 * MS / 10;
    (kind.begin)(&mut world, at);
    world.at(MEND, kind.finish);
    world.run_until(END);
    let verdict = world.finish();
    (world, verdict, at)
}

/// What is wrong with a run; empty if nothing is.
fn problems(kind: &Kind, world: &World, verdict: &Verdict, at: u64) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(spell) = verdict.overlaps.first() {
        found.push(format!("address {} has two owners for {} us", spell.address, spell.length() / 1000));
    }
    for spell in verdict.dark.iter().filter(|spell| spell.from > at / 2) {
        if spell.length() > kind.dark * MS {
            found.push(format!("address {} is dark for {} ms", spell.address, spell.length() / MS));
        }
    }
    for (index, moves) in verdict.moves.iter().enumerate() {
        let of_node_0 = index % world.config.nodes == 0;
        if *moves > u32::from(of_node_0 && kind.moves) {
            found.push(format!("address {index} ({}) moved {moves} times", address(index)));
        }
    }
    if !verdict.unanswered.is_empty() || !verdict.fenced.is_empty() {
        found.push(format!("unanswered {:?}, fenced {:?}", verdict.unanswered, verdict.fenced));
    }
    found
}

fn all(nodes: usize, short: u64, long: u64) {
    for kind in &KINDS {
        for seed in seeds(short, long).filter(|seed| wanted(*seed)) {
            let mut config = rough(seed, nodes);
            config.slow_watch = false;
            let (world, verdict, at) = run(kind, seed, config);
            let problems = problems(kind, &world, &verdict, at);
            assert!(
                problems.is_empty(),
                "{}, {nodes} nodes, seed {seed}: {problems:#?}\n{}",
                kind.name,
                world.timeline.between(at, END)
            );
        }
    }
}

#[test]
fn no_overlap_in_any_single_fault_of_three_nodes() {
    all(3, 15, 400);
}

#[test]
fn no_overlap_in_any_single_fault_of_five_nodes() {
    all(5, 5, 150);
}

#[test]
fn no_overlap_in_any_single_fault_of_ten_nodes() {
    all(10, 1, 60);
}
