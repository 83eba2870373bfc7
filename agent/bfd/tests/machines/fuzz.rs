//! Datagrams that nobody should send: valid ones with a few octets changed, cut, joined, or
//! made at random, at a node with living sessions. It must not panic, grow, or answer one
//! packet with several. `CLARION_LONG=1` (`cargo xtask test --long`) runs more than ten million.

use std::time::{Duration, Instant};

use crate::world::{Dice, profile};
use clarion_bfd::sessions::{Arrival, Domain, Path};
use clarion_bfd::transport::Hops;
use clarion_bfd::wire::{Control, Diagnostic, Discriminator, Flags, Interval, State};
use clarion_bfd::{SessionConfig, Sessions};

fn inputs() -> u64 {
    if std::env::var_os("CLARION_LONG").is_some() { 20_000_000 } else { 300_000 }
}

fn path(hops: Hops, last: u8) -> Path {
    Path { domain: Domain(0), hops, interface: None, local: None, peer: [192, 0, 2, last].into() }
}

/// A packet that is likely to be accepted.
fn sensible(dice: &mut Dice, names: &[Discriminator]) -> Control {
    let pick = |dice: &mut Dice, count: usize| usize::try_from(dice.below(count as u64)).unwrap();
    let words = [0, 1, 10_000, 50_000, 1_000_000, u32::MAX];
    let mut word = || Interval::from_micros(words[pick(dice, words.len())]);
    let (desired_min_tx, required_min_rx, required_min_echo_rx) = (word(), word(), word());
    let mut bit = || dice.below(4) == 0;
    let flags = Flags { poll: bit(), last: bit(), independent: bit(), demand: bit() };
    Control {
        diagnostic: Diagnostic::from_code(u8::try_from(dice.below(32)).unwrap()),
        state: State::ALL[pick(dice, 4)],
        flags,
        multiplier: std::num::NonZeroU8::new(u8::try_from(1 + dice.below(255)).unwrap()).unwrap(),
        my_discriminator: Discriminator::new(u32::try_from(1 + dice.below(3)).unwrap()).unwrap(),
        your_discriminator: (dice.below(3) > 0).then(|| names[pick(dice, names.len())]),
        desired_min_tx,
        required_min_rx,
        required_min_echo_rx,
    }
}

fn mutated(dice: &mut Dice, names: &[Discriminator]) -> Vec<u8> {
    let octet = |dice: &mut Dice| u8::try_from(dice.below(256)).unwrap();
    let mut octets = sensible(dice, names).encode().to_vec();
    match dice.below(8) {
        0..=2 => {}
        3 | 4 => {
            for _ in 0..=dice.below(4) {
                let at = usize::try_from(dice.below(octets.len() as u64)).unwrap();
                octets[at] = octet(dice);
            }
        }
        5 => octets.truncate(usize::try_from(dice.below(25)).unwrap()),
        6 if dice.below(4) == 0 => {
            octets[1] |= 1 << 2;
            octets[3] = 26;
            octets.extend([1, 2]);
        }
        6 => octets.extend((0..dice.below(100)).map(|count| u8::try_from(count).unwrap())),
        _ => octets = (0..dice.below(64)).map(|_| octet(dice)).collect(),
    }
    octets
}

#[test]
fn whatever_comes_nothing_panics_grows_or_is_answered_twice() {
    let mut dice = Dice(1);
    let mut sessions = Sessions::new(2);
    let echoing = SessionConfig { echo: Some(Interval::from_millis(50)), ..profile(10) };
    let configs =
        [(Hops::Single, 2, profile(50)), (Hops::Single, 3, echoing), (Hops::Multi, 2, profile(300))];
    let names = configs.map(|(hops, last, config)| sessions.add(path(hops, last), config).unwrap());
    let mut now = Instant::now();
    let (mut accepted, mut refused, mut ups) = (0_u64, 0_u64, 0_u64);
    while sessions.poll_transmit(now).is_some() {}
    for _ in 0..inputs() {
        let octets = mutated(&mut dice, &names);
        let arrival = Arrival {
            domain: Domain(u32::from(dice.below(50) == 0)),
            hops: if dice.below(3) == 0 { Hops::Multi } else { Hops::Single },
            interface: 1,
            source: [192, 0, 2, u8::try_from(2 + dice.below(3)).unwrap()].into(),
            destination: [192, 0, 2, 1].into(),
            ttl: if dice.below(8) == 0 { 1 } else { 255 },
        };
        let result = if dice.below(20) == 0 {
            sessions.handle_echo(&octets, now)
        } else {
            sessions.handle_control(&arrival, &octets, now)
        };
        match result {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        // The answer, and at most one echo packet: the timers of others are not due yet.
        let answers = std::iter::from_fn(|| sessions.poll_transmit(now)).take(10).count();
        assert!(answers <= 3, "{answers} packets for one");
        let told = std::iter::from_fn(|| sessions.poll_event()).take(10).count();
        assert!(told <= 3, "{told} events for one");
        if dice.below(4) == 0 {
            now += Duration::from_micros(dice.below(2000));
            sessions.handle_deadline(now);
            while sessions.poll_transmit(now).is_some() {}
            while sessions.poll_event().is_some() {}
        }
        ups = sessions.iter().map(|(_, session)| session.counters().ups).sum();
    }
    let counted: u64 = sessions.refusals().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, refused, "each refusal is counted once");
    assert!(accepted > inputs() / 20 && refused > inputs() / 20, "{accepted} and {refused}");
    assert!(ups > inputs() / 1000, "sessions lived meanwhile: {ups}");
    for (label, count) in sessions.refusals().iter() {
        assert!(count > 0, "{label} was never met");
    }
}
