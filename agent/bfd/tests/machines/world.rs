//! Two nodes and the wire between them in virtual time: the wire loses, delays, overtakes
//! and doubles what it carries, and the clocks run at different rates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use clarion_bfd::session::{Cause, ControlPlane, Event, Role, Session, Transmit};
use clarion_bfd::sessions::{Arrival, Domain, Path};
use clarion_bfd::transport::{Hops, TTL};
use clarion_bfd::wire::{Discriminator, Interval, State};
use clarion_bfd::{SessionConfig, Sessions};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The same interval both ways, three packets.
pub(crate) fn profile(millis: u32) -> SessionConfig {
    let interval = Interval::from_millis(millis);
    SessionConfig {
        transmit_interval: interval,
        receive_interval: interval,
        multiplier: NonZeroU8::new(3).unwrap(),
        role: Role::Active,
        echo: None,
        loop_back: None,
        minimum_ttl: 254,
        control_plane: ControlPlane::Shared,
    }
}

/// SplitMix64.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// What the wire does to packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// Percent.
    pub(crate) loss: u64,
    /// Percent.
    pub(crate) doubled: u64,
    pub(crate) delay: Duration,
    /// Added at random; packets may overtake each other unless `in_order`.
    pub(crate) spread: Duration,
    pub(crate) in_order: bool,
}

impl Wire {
    pub(crate) const GOOD: Self = Self {
        loss: 0,
        doubled: 0,
        delay: Duration::from_micros(100),
        spread: Duration::ZERO,
        in_order: true,
    };
}

/// A change of state, when it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) cause: Cause,
}

pub(crate) struct Side {
    sessions: Sessions,
    id: Discriminator,
    path: Path,
    /// Parts per million that its clock is fast.
    ppm: i64,
    pub(crate) powered: bool,
    pub(crate) changes: Vec<Change>,
    pub(crate) sent: Vec<Duration>,
    arrival: Duration,
}

impl Side {
    fn new(me: u64, config: SessionConfig, seed: u64) -> Self {
        let path = Path {
            domain: Domain(0),
            hops: Hops::Single,
            interface: None,
            local: None,
            peer: address(1 - me),
        };
        let mut sessions = Sessions::new(seed);
        let id = sessions.add(path, config).unwrap();
        Self {
            sessions,
            id,
            path,
            ppm: 0,
            powered: true,
            changes: Vec::new(),
            sent: Vec::new(),
            arrival: Duration::ZERO,
        }
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        self.sessions.get_mut(self.id).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.sessions.get(self.id).unwrap().state()
    }
}

fn address(side: u64) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(side + 1).unwrap()])
}

/// When, in which order, to which side, what.
type InFlight = Reverse<(Duration, u64, usize, [u8; 24])>;

pub(crate) struct World {
    base: Instant,
    pub(crate) now: Duration,
    pub(crate) sides: [Side; 2],
    pub(crate) wire: Wire,
    pub(crate) cut: bool,
    pub(crate) dice: Dice,
    flying: BinaryHeap<InFlight>,
    count: u64,
}

impl World {
    pub(crate) fn new(seed: u64, configs: [SessionConfig; 2], wire: Wire) -> Self {
        let mut dice = Dice(seed);
        let [one, two] = configs;
        let mut world = Self {
            base: Instant::now(),
            now: Duration::ZERO,
            sides: [Side::new(0, one, dice.below(u64::MAX)), Side::new(1, two, dice.below(u64::MAX))],
            wire,
            cut: false,
            dice,
            flying: BinaryHeap::new(),
            count: 0,
        };
        world.settle();
        world
    }

    pub(crate) fn clocks(mut self, ppm: [i64; 2]) -> Self {
        for (side, ppm) in self.sides.iter_mut().zip(ppm) {
            side.ppm = ppm;
        }
        self
    }

    /// What the side's clock shows.
    pub(crate) fn clock(&self, side: usize) -> Instant {
        let nanos = i128::try_from(self.now.as_nanos()).unwrap();
        let shown = nanos + nanos * i128::from(self.sides[side].ppm) / 1_000_000;
        self.base + Duration::from_nanos(u64::try_from(shown).unwrap())
    }

    /// When the side's clock will show this.
    fn wakes(&self, side: usize, at: Instant) -> Duration {
        let nanos = i128::try_from((at - self.base).as_nanos()).unwrap();
        let when = nanos * 1_000_000 / (1_000_000 + i128::from(self.sides[side].ppm));
        // Rounded up, so that the timer is due.
        Duration::from_nanos(u64::try_from(when).unwrap() + 2)
    }

    /// Calls into a side's session, and lets everything follow that does.
    pub(crate) fn with(&mut self, side: usize, call: impl FnOnce(&mut Session, Instant)) {
        let now = self.clock(side);
        call(self.sides[side].session(), now);
        self.settle();
    }

    /// The side's process is replaced by one that knows nothing.
    pub(crate) fn restart(&mut self, side: usize, config: SessionConfig) {
        let seed = self.dice.below(u64::MAX);
        let it = &mut self.sides[side];
        it.sessions = Sessions::new(seed);
        it.id = it.sessions.add(it.path, config).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        for side in 0..2 {
            let now = self.clock(side);
            let it = &mut self.sides[side];
            if !it.powered {
                continue;
            }
            it.sessions.handle_deadline(now);
            let mut packets = Vec::new();
            while let Some((_, transmit)) = it.sessions.poll_transmit(now) {
                let Transmit::Control(octets) = transmit else { panic!("nobody asked for echo packets") };
                packets.push(octets);
                assert!(packets.len() < 10, "it does not end");
            }
            while let Some((_, event)) = it.sessions.poll_event() {
                if let Event::Changed { from, to, cause } = event {
                    it.changes.push(Change { at: self.now, from, to, cause });
                }
            }
            it.sent.extend(packets.iter().map(|_| self.now));
            for octets in packets {
                self.fly(1 - side, octets);
            }
        }
    }

    fn fly(&mut self, to: usize, octets: [u8; 24]) {
        let copies = 1 + u64::from(self.dice.percent(self.wire.doubled));
        for _ in 0..copies {
            if self.cut || self.dice.percent(self.wire.loss) {
                continue;
            }
            let spread = u64::try_from(self.wire.spread.as_nanos()).unwrap();
            let mut at = self.now + self.wire.delay + Duration::from_nanos(self.dice.below(spread));
            if self.wire.in_order {
                at = at.max(self.sides[to].arrival);
                self.sides[to].arrival = at;
            }
            self.count += 1;
            self.flying.push(Reverse((at, self.count, to, octets)));
        }
    }

    fn next(&self) -> Duration {
        let timer = |side: usize| {
            let it = &self.sides[side];
            let at = it.sessions.next_deadline().filter(|_| it.powered)?;
            Some(self.wakes(side, at))
        };
        let packet = self.flying.peek().map(|Reverse((at, ..))| *at);
        [timer(0), timer(1), packet].into_iter().flatten().min().unwrap_or(Duration::MAX).max(self.now)
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut still = 0;
        loop {
            let next = self.next();
            still = if next == self.now { still + 1 } else { 0 };
            assert!(still < 100, "time stands still");
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            while let Some(Reverse((at, ..))) = self.flying.peek()
                && *at <= self.now
            {
                let Reverse((_, _, to, octets)) = self.flying.pop().unwrap();
                self.deliver(to, &octets);
            }
            self.settle();
        }
    }

    fn deliver(&mut self, to: usize, octets: &[u8]) {
        let now = self.clock(to);
        let me = u64::try_from(to).unwrap();
        let arrival = Arrival {
            domain: Domain(0),
            hops: Hops::Single,
            interface: 1,
            source: address(1 - me),
            destination: address(me),
            ttl: TTL,
        };
        if self.sides[to].powered {
            // A stale name after a restart is refused, as it should be.
            let _heard = self.sides[to].sessions.handle_control(&arrival, octets, now);
            self.settle();
        }
    }

    /// Runs until both are up; how long it took.
    pub(crate) fn come_up(&mut self, within: Duration) -> Duration {
        let begin = self.now;
        while self.states() != [State::Up; 2] {
            assert!(
                self.now - begin < within,
                "not up after {within:?}: {:?} {:?}",
                self.sides[0].changes,
                self.sides[1].changes
            );
            self.run(ms(1));
        }
        self.now - begin
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [self.sides[0].state(), self.sides[1].state()]
    }

    /// Forgets what was told, to see what follows alone.
    pub(crate) fn forget(&mut self) {
        for side in &mut self.sides {
            side.changes.clear();
            side.sent.clear();
        }
    }
}
