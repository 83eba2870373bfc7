//! How long it takes: figures, and the bars that they must meet.

use crate::seeds;
use crate::sim::report::quantile;
use crate::sim::{Config, Fault, MS, World};

const STRIKE: u64 = 2000 * MS;

/// From a fault of node 0 until each of its addresses is answered, sorted.
fn takeover(config: &Config, runs: std::ops::Range<u64>, fault: fn(&mut World, u64)) -> Vec<u64> {
    let mut all = Vec::new();
    for seed in runs {
        let config = Config { seed: seed + 1000, ..config.clone() };
        let mut world = World::new(config);
        let at = STRIKE + world.rng.range(0, 60 * MS);
        fault(&mut world, at);
        world.run_until(at + 700 * MS);
        let verdict = world.finish();
        assert!(
            verdict.overlaps.is_empty(),
            "seed {seed}: {:?}\n{}",
            verdict.overlaps,
            world.timeline.between(at, world.now)
        );
        for spell in verdict.dark.iter().filter(|spell| spell.until > at) {
            all.push(spell.until - at.min(spell.from));
        }
    }
    all.sort_unstable();
    all
}

fn print(what: &str, all: &[u64]) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(all, q));
    println!("{what}: {p50:.0}/{p99:.0}/{max:.0} ms of {}", all.len());
}

#[test]
fn power_off_is_answered_within_the_bars() {
    let runs = seeds(60, 1000);
    for nodes in [2, 3, 5, 10] {
        for loss in [0.0, 0.01, 0.05] {
            let all = takeover(&Config::new(0, nodes).loss(loss), runs.clone(), |world, at| {
                world.at(at, Fault::PowerOff(0));
            });
            print(&format!("power off, N={nodes}, loss {:.0} %", loss * 100.0), &all);
            assert!(quantile(&all, 0.5) <= 150.0 && quantile(&all, 0.99) <= 250.0, "N={nodes}, loss {loss}");
        }
    }
}

#[test]
fn other_faults_are_answered_in_time() {
    type Strike = fn(&mut World, u64);
    let strikes: [(&str, usize, Strike, f64); 5] = [
        ("deaf", 3, |w, at| w.at(at, Fault::Deaf(0)), 300.0),
        ("isolated", 3, |w, at| w.at(at, Fault::Cut(0)), 250.0),
        (
            "next owner hung with it",
            3,
            |w, at| {
                w.at(at, Fault::PowerOff(0));
                w.at(at, Fault::AgentStop(1));
            },
            250.0,
        ),
        (
            "first voter hung with it",
            5,
            |w, at| {
                w.at(at, Fault::PowerOff(0));
                w.at(at, Fault::AgentStop(4));
            },
            250.0,
        ),
        (
            "two off at once",
            5,
            |w, at| {
                w.at(at, Fault::PowerOff(0));
                w.at(at, Fault::PowerOff(1));
            },
            250.0,
        ),
    ];
    for (what, nodes, strike, bar) in strikes {
        let all = takeover(&Config::new(0, nodes), seeds(40, 600), strike);
        print(&format!("{what}, N={nodes}"), &all);
        assert!(quantile(&all, 0.99) <= bar, "{what}");
    }
}

#[test]
fn a_hundred_nodes_answer_within_the_bars() {
    let mut config = Config::new(0, 100).loss(0.01);
    config.sample = 10 * MS;
    let all = takeover(&config, seeds(2, 60), |world, at| world.at(at, Fault::PowerOff(0)));
    print("power off, N=100, loss 1 %", &all);
    assert!(quantile(&all, 0.5) <= 150.0 && quantile(&all, 0.99) <= 250.0);
}
