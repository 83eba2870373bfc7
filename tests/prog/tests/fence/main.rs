//! The fence in the program, by `BPF_PROG_TEST_RUN`: what becomes of each signal, who
//! promises what, and that an owned address is answered while the leases hold.

mod lease;
mod race;
mod signal;
mod vote;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use clarion_abi::{Outcome, Verdict};
use clarion_dataplane::{Dataplane, Options};
use clarion_fence::{Message, Wire, open};
use clarion_prog_tests::fence::{datagram, keys, now, switch_on};
use clarion_prog_tests::frames::Udp;
use clarion_prog_tests::run::{Action, Hook, Pinned, Ran, moved};
use clarion_prog_tests::sandbox;

/// Bytes before the payload of an untagged IPv4 datagram.
const HEAD: usize = 14 + 20 + 8;

/// A node with its fence switched on.
struct Bed {
    dataplane: Dataplane,
    pinned: Pinned,
    /// When that was.
    now: u64,
}

impl Bed {
    fn new(bpffs: &Path, hook: Hook) -> anyhow::Result<Self> {
        let pin_dir = sandbox::pin_dir(bpffs);
        let mut dataplane = Dataplane::open(Options { pin_dir: pin_dir.clone(), ..Options::default() })?;
        let pinned = Pinned::open(&pin_dir, hook)?;
        let now = now();
        switch_on(&mut dataplane, now)?;
        Ok(Self { dataplane, pinned, now })
    }

    /// Runs a frame; what moved is the outcome's counter alone, and the verdict its own.
    fn run(&self, name: &str, frame: &[u8], outcome: Option<Outcome>) -> anyhow::Result<Ran> {
        let before = self.dataplane.counters()?;
        let ran = self.pinned.run(frame)?;
        let wanted: BTreeMap<_, _> = outcome.iter().map(|outcome| (outcome.name(), 1)).collect();
        assert_eq!(moved(&self.dataplane, &before.outcomes)?, wanted, "{name}: counters");
        let verdict = match outcome.map_or(Verdict::Pass, Outcome::verdict) {
            Verdict::Pass => Action::Pass,
            Verdict::Drop => Action::Drop,
            Verdict::Answer => Action::Transmit,
        };
        assert_eq!(ran.action, verdict, "{name}: verdict");
        Ok(ran)
    }

    /// Runs a datagram and checks every byte of what comes back but the message, which
    /// is returned.
    fn exchange(&self, name: &str, sent: &Udp, outcome: Outcome) -> anyhow::Result<Option<Message>> {
        let frame = sent.frame();
        let ran = self.run(name, &frame, Some(outcome))?;
        if outcome.verdict() != Verdict::Answer {
            assert_eq!(ran.frame, frame, "{name}: the frame changed");
            return Ok(None);
        }
        let payload = &ran.frame[frame.len() - 64..];
        assert_eq!(ran.frame, sent.back(payload).frame(), "{name}: the answer's headers");
        let wire: Wire = bytemuck::pod_read_unaligned(payload);
        let reply = open(&wire, &keys()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        Ok(Some(reply))
    }

    /// Sends a message over IPv4 that must have this outcome.
    fn send(&self, name: &str, message: &Message, outcome: Outcome) -> anyhow::Result<Option<Message>> {
        self.exchange(name, &datagram(message, false), outcome)
    }
}

/// A test on a node of its own for each program; nothing must show which.
fn on_a_node(test: impl Fn(Bed) -> anyhow::Result<()> + Sync) {
    for hook in Hook::ALL {
        let entered =
            sandbox::enter(|bpffs| test(Bed::new(bpffs, hook)?).with_context(|| format!("{hook:?}")));
        entered.expect("a test that passes");
    }
}
