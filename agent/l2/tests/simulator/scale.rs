//! Many addresses, many nodes, many hours.

use crate::seeds;
use crate::sim::report::quantile;
use crate::sim::{Config, Fault, MS, World};

fn power_off(config: Config) -> (World, Vec<u64>) {
    let mut world = World::new(config);
    let at = 3000 * MS + world.rng.range(0, 60 * MS);
    world.run_until(2000 * MS);
    let (signals, datagrams) = (world.signals, world.datagrams);
    world.run_until(3000 * MS);
    println!(
        "{} nodes, {} addresses: each node sends {} signals and {} datagrams a second",
        world.config.nodes,
        world.config.addresses,
        (world.signals - signals) / world.config.nodes as u64,
        (world.datagrams - datagrams) / world.config.nodes as u64
    );
    world.at(at, Fault::PowerOff(0));
    world.run_until(at + 700 * MS);
    let verdict = world.finish();
    assert!(verdict.overlaps.is_empty() && verdict.unanswered.is_empty(), "{:?}", verdict.overlaps.first());
    let mut dark: Vec<_> =
        verdict.dark.iter().filter(|spell| spell.until > at).map(|spell| spell.until - at).collect();
    dark.sort_unstable();
    let [p50, max] = [0.5, 1.0].map(|q| quantile(&dark, q));
    println!("  of {} addresses half are answered after {p50:.0} ms, all after {max:.0} ms", dark.len());
    (world, dark)
}

#[test]
fn ten_thousand_addresses_move_within_400_ms() {
    let mut config = Config::new(1, 3).loss(0.01);
    (config.addresses, config.sample) = (10_000, 20 * MS);
    let (world, dark) = power_off(config);
    assert!(dark.len() >= 3333, "{} addresses were node 0's", dark.len());
    assert!(quantile(&dark, 1.0) <= 400.0);
    let held: Vec<_> = world.nodes.iter().map(|node| node.maps.entries.len()).collect();
    assert_eq!(held.iter().sum::<usize>(), 10_000);
    assert!(held[1] > 3334 && held[2] > 3334, "{held:?}");
}

#[test]
fn large_clusters_stay_within_the_traffic_bar() {
    // A thousand nodes take a gigabyte: only in the long run.
    for nodes in [100, 1000].into_iter().take(seeds(1, 2).count()) {
        let mut config = Config::new(2, nodes).loss(0.01);
        (config.addresses, config.sample) = (nodes, 20 * MS);
        let (world, dark) = power_off(config);
        let each_second = world.signals / nodes as u64 * 1000 * MS / world.now;
        assert!(each_second <= 1000, "{each_second} signals a node and second");
        assert!(quantile(&dark, 1.0) <= 250.0, "{dark:?}");
    }
}

#[test]
fn nothing_moves_because_packets_are_lost() {
    for (loss, seconds) in
        [(0.05, seeds(400, 40_000).end), (0.15, seeds(100, 4000).end), (0.25, seeds(100, 1000).end)]
    {
        let mut config = Config::new(3, 3).loss(loss);
        config.sample = 50 * MS;
        let mut world = World::new(config);
        world.run_until(seconds * 1000 * MS);
        let (suspected, fenced) = world.timeline.suspicions();
        let verdict = world.finish();
        let moves: u32 = verdict.moves.iter().sum();
        println!(
            "loss {:.0} %: in {:.2} node-hours a voter suspected {suspected} times, a node was fenced {fenced} times, {moves} moves",
            loss * 100.0,
            seconds as f64 * 3.0 / 3600.0
        );
        assert!(verdict.overlaps.is_empty());
        assert!(loss > 0.1 || moves == 0, "{}", world.timeline.between(0, world.now));
    }
}
