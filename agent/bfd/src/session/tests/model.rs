//! The session against a model that holds the variables of RFC 5880 §6.8.1 one by one and
//! follows its text line by line, through any calls in any order.

use proptest::prelude::*;

use super::*;

/// What can happen.
#[derive(Debug, Clone)]
enum Op {
    Hear(Heard),
    Pass(u64),
    Configure { tx: u32, rx: u32, multiplier: u8, passive: bool },
    Disable,
    Enable,
}

/// The fields of a packet that count.
#[derive(Debug, Clone)]
struct Heard {
    state: State,
    poll: bool,
    last: bool,
    demand: bool,
    name: u32,
    tx: u32,
    rx: u32,
    multiplier: u8,
}

/// Milliseconds among which there are slower and faster ones than a second.
const PACES: [u32; 5] = [10, 50, 300, 1000, 3000];

fn pace() -> impl Strategy<Value = u32> {
    (0..PACES.len()).prop_map(|at| PACES[at])
}

prop_compose! {
    fn heard()(
        state in 0_usize..8,
        bits in any::<[bool; 2]>(),
        demand in 0..10,
        name in 1_u32..3,
        tx in pace(),
        rx in prop_oneof![9 => pace(), 1 => Just(0)],
        multiplier in 1_u8..5,
    ) -> Heard {
        // Up more often than the rest, or sessions would never live long.
        let state = State::ALL[state.min(3)];
        Heard { state, poll: bits[0], last: bits[1], demand: demand == 0, name, tx, rx, multiplier }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => heard().prop_map(Op::Hear),
        4 => (0_u64..400).prop_map(Op::Pass),
        1 => (0_u64..10_000).prop_map(Op::Pass),
        2 => (pace(), pace(), 1_u8..5, any::<bool>())
            .prop_map(|(tx, rx, multiplier, passive)| Op::Configure { tx, rx, multiplier, passive }),
        1 => Just(Op::Disable),
        2 => Just(Op::Enable),
    ]
}

/// RFC 5880 §6.8.1, in milliseconds.
#[derive(Debug)]
struct Model {
    session_state: State,
    local_diag: u8,
    remote: Option<Heard>,
    desired_min_tx: u32,
    required_min_rx: u32,
    detect_mult: u8,
    passive: bool,
    configured: (u32, u32),
    /// What is in force, which a Poll Sequence may hold back.
    tx: u32,
    rx: u32,
    /// Changes so far, the one that the running question is about, the last one confirmed.
    change: u32,
    asked: Option<u32>,
    confirmed: u32,
    heard_at: Duration,
    final_due: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            session_state: State::Down,
            local_diag: 0,
            remote: None,
            desired_min_tx: 1000,
            required_min_rx: 100,
            detect_mult: 3,
            passive: false,
            configured: (100, 100),
            tx: 1000,
            rx: 100,
            change: 0,
            asked: None,
            confirmed: 0,
            heard_at: Duration::ZERO,
            final_due: false,
        }
    }

    fn polls(&self) -> bool {
        self.change != self.confirmed
    }

    fn hear(&mut self, heard: &Heard, now: Duration) {
        self.remote = Some(heard.clone());
        self.heard_at = now;
        if heard.last
            && let Some(asked) = self.asked.take()
        {
            self.confirmed = asked;
        }
        if self.session_state != State::AdminDown {
            let (before, diag) = (self.session_state, self.local_diag);
            if heard.state == State::AdminDown {
                if before != State::Down {
                    (self.session_state, self.local_diag) = (State::Down, 3);
                }
            } else if before == State::Down {
                if heard.state == State::Down {
                    self.session_state = State::Init;
                } else if heard.state == State::Init {
                    self.session_state = State::Up;
                }
            } else if before == State::Init {
                if heard.state == State::Init || heard.state == State::Up {
                    self.session_state = State::Up;
                }
            } else if heard.state == State::Down {
                (self.session_state, self.local_diag) = (State::Down, 3);
            }
            if self.session_state != before && self.local_diag == diag && self.session_state != State::Down {
                self.local_diag = 0;
            }
            self.final_due |= heard.poll;
        }
        self.intervals();
    }

    fn detection(&self) -> Option<Duration> {
        let remote = self.remote.as_ref()?;
        Some(ms(u64::from(remote.multiplier) * u64::from(self.rx.max(remote.tx))))
    }

    fn time(&mut self, now: Duration) {
        if self.detection().is_some_and(|detection| now >= self.heard_at + detection) {
            self.remote = None;
            self.final_due = false;
            (self.asked, self.confirmed) = (None, self.change);
            if matches!(self.session_state, State::Init | State::Up) {
                (self.session_state, self.local_diag) = (State::Down, 1);
            }
            self.intervals();
        }
    }

    /// §6.8.3.
    fn intervals(&mut self) {
        let up = self.session_state == State::Up;
        let tx = if up { self.configured.0 } else { self.configured.0.max(1000) };
        if (tx, self.configured.1) != (self.desired_min_tx, self.required_min_rx) {
            (self.desired_min_tx, self.required_min_rx) = (tx, self.configured.1);
            self.change += 1;
            if self.remote.is_none() {
                (self.asked, self.confirmed) = (None, self.change);
            }
        }
        if !up || !self.polls() || self.desired_min_tx < self.tx {
            self.tx = self.desired_min_tx;
        }
        if !up || !self.polls() || self.required_min_rx > self.rx {
            self.rx = self.required_min_rx;
        }
    }

    /// Whether §6.8.7 lets periodic packets through.
    fn may_send(&self) -> bool {
        let Some(remote) = &self.remote else { return !self.passive };
        let demanded =
            remote.demand && self.session_state == State::Up && remote.state == State::Up && !self.polls();
        remote.rx != 0 && !demanded
    }

    fn interval(&self) -> Duration {
        ms(u64::from(self.tx.max(self.remote.as_ref().map_or(0, |remote| remote.rx))))
    }

    /// State, diagnostic, multiplier, your discriminator, intervals.
    fn says(&self) -> (State, u8, u8, u32, u32, u32) {
        let yours = self.remote.as_ref().map_or(0, |remote| remote.name);
        (
            self.session_state,
            self.local_diag,
            self.detect_mult,
            yours,
            self.desired_min_tx,
            self.required_min_rx,
        )
    }
}

fn says(packet: &Control) -> (State, u8, u8, u32, u32, u32) {
    (
        packet.state,
        packet.diagnostic.code(),
        packet.multiplier.get(),
        packet.your_discriminator.map_or(0, Discriminator::get),
        packet.desired_min_tx.micros() / 1000,
        packet.required_min_rx.micros() / 1000,
    )
}

/// Session and model side by side, and what both have said.
struct Run {
    session: Session,
    model: Model,
    begin: Instant,
    now: Duration,
    last: Option<(State, u8, u8, u32, u32, u32)>,
    last_at: Option<Duration>,
}

impl Run {
    fn at(&self) -> Instant {
        self.begin + self.now
    }

    fn settle(&mut self) -> Result<(), TestCaseError> {
        let (session, model) = (&mut self.session, &mut self.model);
        prop_assert_eq!(session.state(), model.session_state);
        prop_assert_eq!(session.diagnostic().code(), model.local_diag);
        prop_assert_eq!(
            session.remote().map(|it| it.discriminator.get()),
            model.remote.as_ref().map(|it| it.name)
        );
        prop_assert_eq!(session.detection_time(), model.detection());
        prop_assert_eq!(session.transmit_interval().duration().max(ms(1)), model.interval().max(ms(1)));
        let now = self.begin + self.now;
        for packet in sent(session, now) {
            prop_assert_eq!(says(&packet), model.says());
            prop_assert!(!packet.flags.demand);
            let news = self.last != Some(model.says()) || self.last_at.is_none();
            self.last = Some(model.says());
            if packet.flags.last {
                prop_assert!(std::mem::take(&mut model.final_due) && !packet.flags.poll);
                continue;
            }
            prop_assert!(model.may_send());
            prop_assert_eq!(packet.flags.poll, model.polls());
            if model.polls() && model.asked.is_none() {
                model.asked = Some(model.change);
            }
            let early = self.last_at.is_some_and(|at| self.now - at < model.interval() * 3 / 4);
            prop_assert!(news || !early, "§6.8.7: a quarter is taken off at most");
            self.last_at = Some(self.now);
        }
        prop_assert!(!model.final_due, "P was not answered");
        if model.may_send() {
            prop_assert_eq!(self.last, Some(model.says()), "a change was not told");
            let late = self.last_at.is_none_or(|at| self.now > at + model.interval());
            prop_assert!(!late, "the packet is late");
        }
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<(), TestCaseError> {
        let until = self.now + time;
        while self.now < until {
            let next = self.session.next_deadline().map_or(until, |at| at - self.begin);
            prop_assert!(next > self.now, "a deadline in the past");
            self.now = next.min(until);
            self.model.time(self.now);
            let now = self.at();
            self.session.handle_deadline(now);
            self.settle()?;
        }
        Ok(())
    }

    fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        let now = self.at();
        match op {
            Op::Pass(millis) => return self.pass(ms(millis)),
            Op::Hear(heard) => {
                let packet = Control {
                    flags: Flags {
                        poll: heard.poll,
                        last: heard.last,
                        demand: heard.demand,
                        independent: false,
                    },
                    multiplier: mult(heard.multiplier),
                    my_discriminator: discriminator(heard.name),
                    desired_min_tx: Interval::from_millis(heard.tx),
                    required_min_rx: Interval::from_millis(heard.rx),
                    ..theirs(heard.state)
                };
                self.model.hear(&heard, self.now);
                self.session.handle_packet(&packet, now);
            }
            Op::Configure { tx, rx, multiplier, passive } => {
                self.model.configured = (tx, rx);
                (self.model.detect_mult, self.model.passive) = (multiplier, passive);
                self.model.intervals();
                let config = SessionConfig {
                    transmit_interval: Interval::from_millis(tx),
                    receive_interval: Interval::from_millis(rx),
                    multiplier: mult(multiplier),
                    role: if passive { Role::Passive } else { Role::Active },
                    ..config()
                };
                self.session.set_config(config, now);
            }
            Op::Disable => {
                if self.model.session_state != State::AdminDown {
                    (self.model.session_state, self.model.local_diag) = (State::AdminDown, 7);
                    self.model.intervals();
                }
                self.session.disable(now);
            }
            Op::Enable => {
                if self.model.session_state == State::AdminDown {
                    (self.model.session_state, self.model.local_diag) = (State::Down, 0);
                    self.model.intervals();
                }
                self.session.enable(now);
            }
        }
        // What has changed may have let time run out, as a timer would find now.
        self.model.time(self.now);
        self.session.handle_deadline(now);
        self.settle()
    }
}

/// A million operations and more with CLARION_LONG (`cargo xtask test --long`).
fn cases() -> u32 {
    if std::env::var_os("CLARION_LONG").is_some() { 24_000 } else { 1_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]
    #[test]
    fn the_session_does_what_the_text_says(ops in prop::collection::vec(op(), 1..100)) {
        let begin = Instant::now();
        let mut run = Run {
            session: new(config()),
            model: Model::new(),
            begin,
            now: Duration::ZERO,
            last: None,
            last_at: None,
        };
        run.settle()?;
        for op in ops {
            run.apply(op)?;
        }
        prop_assert!(run.session.events.len() <= 200);
    }
}
