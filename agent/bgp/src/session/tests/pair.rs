//! Two machines, one virtual clock, and a wire that delays, stalls and breaks.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

struct Pair {
    /// The first dials, the second accepts.
    ends: [Session; 2],
    /// Octets under way to each end, with the time they arrive.
    wires: [VecDeque<(Instant, Vec<u8>)>; 2],
    now: Instant,
    delay: Duration,
    /// Nothing arrives while the wire stalls (a partition, as TCP sees it).
    stalled: bool,
}

impl Pair {
    fn new(delay: Duration, seed: u64) -> Self {
        let now = Instant::now();
        let mut ends = [Session::new(config(OURS, THEIRS), seed), Session::new(config(THEIRS, OURS), !seed)];
        ends.iter_mut().for_each(|end| end.handle_start(now));
        Self { ends, wires: [VecDeque::new(), VecDeque::new()], now, delay, stalled: false }
    }

    fn routes(count: u8) -> Arc<Routes> {
        let prefix = |i| format!("198.51.100.{i}/32").parse().unwrap();
        Arc::new((0..count).map(|i| (prefix(i), RouteAttributes::default())).collect())
    }

    fn reset(&mut self) {
        let now = self.now;
        self.wires.iter_mut().for_each(VecDeque::clear);
        self.ends.iter_mut().for_each(|end| end.handle_closed(Some("connection reset".to_owned()), now));
    }

    fn act(&mut self) {
        let now = self.now;
        for i in 0..2 {
            while let Some(action) = self.ends[i].poll_action() {
                let waits = matches!(self.ends[1].state(), StateName::Active | StateName::Connect);
                match action {
                    Action::Connect if i == 0 && waits && !self.stalled => {
                        self.wires.iter_mut().for_each(VecDeque::clear);
                        self.ends[1].handle_connected(local(), now);
                        self.ends[0].handle_connected(local(), now);
                    }
                    Action::Connect if i == 0 && self.stalled => {}
                    Action::Connect => self.ends[i].handle_connect_failed("refused".to_owned(), now),
                    Action::Close => {
                        // What was written before arrives, then the end of the stream.
                        while let Some(octets) = self.ends[i].poll_transmit(now) {
                            self.wires[1 - i].push_back((now + self.delay, octets));
                        }
                        self.wires[1 - i].push_back((now + self.delay, Vec::new()));
                    }
                }
            }
            if matches!(
                self.ends[i].state(),
                StateName::OpenSent | StateName::OpenConfirm | StateName::Established
            ) {
                while let Some(octets) = self.ends[i].poll_transmit(now) {
                    self.ends[i].handle_written(true, now);
                    self.wires[1 - i].push_back((now + self.delay, octets));
                }
            }
        }
    }

    /// Runs until `seen` or the end of `limit`; whether it was seen.
    fn run(&mut self, limit: Duration, seen: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.act();
            if seen(self) {
                return true;
            }
            let arrivals =
                self.wires.iter().filter(|_| !self.stalled).filter_map(|w| w.front().map(|(at, _)| *at));
            let next = self.ends.iter().filter_map(Session::next_deadline).chain(arrivals).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = next.max(self.now);
            let now = self.now;
            for i in 0..2 {
                while !self.stalled && self.wires[i].front().is_some_and(|(at, _)| *at <= now) {
                    let (_, octets) = self.wires[i].pop_front().unwrap();
                    if octets.is_empty() {
                        self.ends[i].handle_closed(None, now);
                        self.wires[i].clear();
                    } else {
                        self.ends[i].handle_bytes(&octets, now);
                    }
                }
                self.ends[i].handle_deadline(now);
            }
        }
    }

    fn both(&self, state: StateName) -> bool {
        self.ends.iter().all(|end| end.state() == state)
    }
}

const MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_clean_wire_leads_to_established_and_keeps_it() {
    let mut pair = Pair::new(Duration::from_millis(5), 1);
    pair.ends[0].set_routes(Pair::routes(200));
    assert!(pair.run(MINUTES, |p| p.both(StateName::Established)));
    assert!(pair.run(MINUTES, |p| p.ends[1].counters().prefixes_received == 200));
    let day = Duration::from_secs(24 * 3600);
    assert!(!pair.run(day, |p| !p.both(StateName::Established)), "nothing happens for a day");
    let kept = pair.ends[0].counters().keepalives_received;
    assert!((2880..=3900).contains(&kept), "{kept} keepalives of 22.5 to 30 s in a day");
}

#[test]
fn a_stalled_wire_ends_both_by_the_hold_timer_and_they_meet_again() {
    let mut pair = Pair::new(Duration::from_millis(5), 2);
    assert!(pair.run(MINUTES, |p| p.both(StateName::Established)));
    let since = pair.now;
    pair.stalled = true;
    assert!(pair.run(MINUTES, |p| !p.ends.iter().any(|e| e.state() == StateName::Established)));
    let after = pair.now - since;
    assert!(after <= Duration::from_secs(90) && after >= Duration::from_secs(60), "{after:?}");
    pair.stalled = false;
    pair.wires.iter_mut().for_each(VecDeque::clear);
    assert!(pair.run(MINUTES, |p| p.both(StateName::Established)));
}

#[test]
fn all_routes_are_sent_again_after_a_reset() {
    let mut pair = Pair::new(Duration::from_millis(50), 3);
    pair.ends[0].set_routes(Pair::routes(10));
    assert!(pair.run(MINUTES, |p| p.ends[1].counters().prefixes_received == 10));
    pair.reset();
    assert!(pair.run(MINUTES, |p| p.ends[1].counters().prefixes_received == 20));
    assert_eq!(pair.ends[0].announced(), 10);
}

#[test]
fn a_stop_is_heard_as_such_and_a_new_start_works() {
    let mut pair = Pair::new(Duration::from_millis(5), 4);
    assert!(pair.run(MINUTES, |p| p.both(StateName::Established)));
    let now = pair.now;
    pair.ends[0].handle_stop(Stop::Shutdown, now);
    assert!(pair.run(MINUTES, |p| p.ends[1].state() != StateName::Established));
    let told = std::iter::from_fn(|| pair.ends[1].poll_event())
        .any(|event| matches!(event, Event::Changed { cause: Cause::NotificationReceived(n), .. } if n.subcode == 2));
    assert!(told, "the shutdown is the cause");
    let now = pair.now;
    pair.ends[0].handle_start(now);
    assert!(pair.run(MINUTES, |p| p.both(StateName::Established)));
}

proptest! {
    #[test]
    fn whatever_happened_they_meet_again_when_the_wire_is_whole(
        seed: u64, delay in 0..2000_u64,
        faults in proptest::collection::vec((0..3_u8, 1..200_u64), 0..12),
    ) {
        let mut pair = Pair::new(Duration::from_millis(delay), seed);
        pair.ends[0].set_routes(Pair::routes(5));
        for (fault, seconds) in faults {
            match fault {
                0 => pair.reset(),
                1 => pair.stalled = true,
                _ => pair.stalled = false,
            }
            pair.run(Duration::from_secs(seconds), |_| false);
        }
        pair.stalled = false;
        prop_assert!(pair.run(MINUTES, |p| p.both(StateName::Established)));
        prop_assert!(pair.run(MINUTES, |p| p.ends[0].announced() == 5));
    }
}
