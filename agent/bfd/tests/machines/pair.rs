//! Two machines with a wire between them, in virtual time. `CLARION_LONG=1` runs more seeds.

use std::num::NonZeroU8;
use std::time::Duration;

use crate::world::{Dice, Wire, World, ms, profile};
use clarion_bfd::session::{Cause, Role};
use clarion_bfd::wire::{Diagnostic, Interval, State};
use clarion_bfd::{Session, SessionConfig};

fn seeds() -> std::ops::Range<u64> {
    if std::env::var_os("CLARION_LONG").is_some() { 0..2000 } else { 0..50 }
}

fn passive(millis: u32) -> SessionConfig {
    SessionConfig { role: Role::Passive, ..profile(millis) }
}

/// One of the profiles that people use.
fn any_profile(dice: &mut Dice) -> SessionConfig {
    let paces = [10, 50, 300, 1000, 2000];
    let mut pace = || Interval::from_millis(paces[usize::try_from(dice.below(5)).unwrap()]);
    let (transmit_interval, receive_interval) = (pace(), pace());
    let multiplier = NonZeroU8::new(3 + u8::try_from(dice.below(3)).unwrap()).unwrap();
    SessionConfig { transmit_interval, receive_interval, multiplier, ..profile(0) }
}

#[test]
fn a_session_comes_up_within_two_packets_of_a_second_and_then_runs_at_its_pace() {
    for seed in seeds() {
        let mut world = World::new(seed, [profile(50), profile(50)], Wire::GOOD).clocks([200, -200]);
        world.come_up(ms(2100));
        world.run(ms(200));
        world.forget();
        world.run(ms(10_000));
        for side in &world.sides {
            assert!((200..=270).contains(&side.sent.len()), "seed {seed}: {} packets", side.sent.len());
            assert!(side.changes.is_empty(), "seed {seed}: {:?}", side.changes);
        }
    }
}

#[test]
fn one_side_may_be_passive_two_may_not() {
    let mut world = World::new(1, [profile(50), passive(50)], Wire::GOOD);
    world.come_up(ms(2100));
    let mut world = World::new(1, [passive(50), passive(50)], Wire::GOOD);
    world.run(ms(60_000));
    assert_eq!(world.states(), [State::Down; 2]);
    assert!(world.sides.iter().all(|side| side.sent.is_empty()));
}

#[test]
fn a_power_off_is_noticed_within_the_detection_time_of_the_last_packet() {
    for seed in seeds() {
        let mut world = World::new(seed, [profile(50), profile(50)], Wire::GOOD);
        world.come_up(ms(3000));
        world.run(ms(1000) + Duration::from_micros(Dice(seed).below(50_000)));
        world.forget();
        world.sides[0].powered = false;
        let off = world.now;
        world.run(ms(1000));
        let down = world.sides[1].changes[0];
        assert_eq!((down.to, down.cause), (State::Down, Cause::DetectionTimeExpired(ms(150))), "seed {seed}");
        let after = down.at - off;
        assert!(after >= ms(100) && after <= ms(151), "seed {seed}: {after:?}");
        world.sides[0].powered = true;
        world.run(ms(10));
        world.come_up(ms(4000));
    }
}

#[test]
fn nothing_flaps_while_clocks_differ_and_packets_are_late() {
    for seed in seeds() {
        let wire = Wire { doubled: 10, delay: ms(5), spread: ms(20), in_order: false, ..Wire::GOOD };
        let ppm = i64::try_from(Dice(seed).below(20_000)).unwrap() - 10_000;
        let mut world = World::new(seed, [profile(50), profile(50)], wire).clocks([ppm, -ppm]);
        world.come_up(ms(3000));
        world.run(ms(500));
        world.forget();
        world.run(ms(60_000));
        for side in &world.sides {
            assert!(side.changes.is_empty(), "seed {seed}: {:?}", side.changes);
        }
    }
}

#[test]
fn a_bad_wire_is_survived_and_a_good_one_brings_both_up_again() {
    for seed in seeds() {
        let wire = Wire { loss: 60, doubled: 20, delay: ms(1), spread: ms(80), in_order: false };
        let mut dice = Dice(seed);
        let configs = [any_profile(&mut dice), any_profile(&mut dice)];
        let mut world = World::new(seed, configs, wire).clocks([5000, -5000]);
        world.run(ms(120_000));
        world.wire = Wire::GOOD;
        // What still flies, and the slowest detection time.
        world.run(ms(12_000));
        world.come_up(ms(15_000));
        world.run(ms(12_000));
        world.forget();
        world.run(ms(30_000));
        assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
        assert!(world.sides.iter().all(|side| side.changes.is_empty()), "seed {seed}");
    }
}

#[test]
fn a_side_that_was_restarted_comes_up_again() {
    for seed in seeds() {
        let mut world = World::new(seed, [profile(50), profile(50)], Wire::GOOD);
        world.come_up(ms(3000));
        world.run(ms(500));
        world.forget();
        world.restart(0, profile(50));
        world.run(ms(20));
        let cause = world.sides[1].changes[0].cause;
        assert_eq!(cause, Cause::NeighborDown(Diagnostic::None), "seed {seed}: its first packet tells");
        world.come_up(ms(4000));
    }
}

#[test]
fn other_profiles_take_effect_without_a_flap() {
    for seed in seeds() {
        let mut dice = Dice(seed);
        let wire = Wire { doubled: 10, delay: ms(1), spread: ms(3), ..Wire::GOOD };
        let configs = [any_profile(&mut dice), any_profile(&mut dice)];
        let mut world = World::new(seed, configs.clone(), wire).clocks([100, -100]);
        world.come_up(ms(20_000));
        world.run(ms(10_000));
        world.forget();
        let mut last = configs;
        for _ in 0..20 {
            let side = usize::from(dice.below(2) == 1);
            last[side] = any_profile(&mut dice);
            let config = last[side].clone();
            world.with(side, |session, now| session.set_config(config, now));
            // Often before the former change is settled.
            let longest = [20, 4000][usize::from(dice.below(2) == 1)];
            world.run(ms(dice.below(longest)));
        }
        world.run(ms(20_000));
        for side in &world.sides {
            assert!(side.changes.is_empty(), "seed {seed}: {:?}", side.changes);
        }
        for side in 0..2 {
            let transmit = last[side].transmit_interval.max(last[1 - side].receive_interval);
            let receive = last[side].receive_interval.max(last[1 - side].transmit_interval);
            let timing = world.sides[side].session().timing().unwrap();
            assert_eq!(
                (timing.transmit, timing.receive),
                (transmit.duration(), receive.duration()),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_change_that_is_lost_on_the_way_takes_effect_later() {
    for seed in seeds() {
        // A lossy wire and enough packets: a few may be lost, not ten in a row.
        let wire = Wire { loss: 20, ..Wire::GOOD };
        let patient = |millis| SessionConfig { multiplier: NonZeroU8::new(20).unwrap(), ..profile(millis) };
        let mut world = World::new(seed, [patient(50), patient(50)], wire);
        world.come_up(ms(30_000));
        world.run(ms(3000));
        world.forget();
        for millis in [200, 20, 500] {
            world.with(0, |session, now| session.set_config(patient(millis), now));
            world.run(ms(15_000));
            let timing = world.sides[0].session().timing().unwrap();
            assert_eq!(timing.transmit, ms(u64::from(millis.max(50))), "seed {seed}");
        }
        assert!(world.sides.iter().all(|side| side.changes.is_empty()), "seed {seed}");
    }
}

#[test]
fn an_operator_s_switch_is_known_for_what_it_is_on_the_other_side() {
    for seed in seeds() {
        let mut world = World::new(seed, [profile(50), profile(50)], Wire::GOOD);
        world.come_up(ms(3000));
        world.run(ms(500));
        world.forget();
        world.with(0, Session::disable);
        world.run(ms(10_000));
        assert_eq!(world.states(), [State::AdminDown, State::Down]);
        let cause = world.sides[1].changes[0].cause;
        assert_eq!(cause, Cause::NeighborAdminDown(Diagnostic::AdministrativelyDown), "seed {seed}");
        assert_eq!(world.sides[1].changes.len(), 1, "and stays so: {:?}", world.sides[1].changes);
        world.with(0, Session::enable);
        world.come_up(ms(3000));
    }
}

#[test]
fn a_cut_wire_takes_both_sides_down_and_a_healed_one_brings_them_up() {
    for seed in seeds() {
        let mut world = World::new(seed, [profile(300), profile(10)], Wire::GOOD);
        world.come_up(ms(3000));
        world.run(ms(2000));
        world.forget();
        world.cut = true;
        world.run(ms(901));
        for side in &world.sides {
            let down = side.changes[0];
            assert_eq!(down.cause, Cause::DetectionTimeExpired(ms(900)), "seed {seed}");
        }
        world.cut = false;
        world.come_up(ms(4000));
    }
}
