//! The pinned programs, run on one frame by `BPF_PROG_TEST_RUN`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, Xdp};
use clarion_abi::{Cell, Control, KeyV4, KeyV6, Slot, Watched, names};
use clarion_dataplane::Dataplane;
use clarion_fence::{Leases, NodeId};

/// Longest frame that a run gives back.
const OUTPUT: usize = 4096;

/// Where a program sits, and so which of the two is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// tc's ingress: TCX and clsact.
    Tc,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xdp, Self::Tc];
}

/// What the kernel would do with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `XDP_ABORTED`: the program failed.
    Aborted,
    /// `XDP_DROP`, `TC_ACT_SHOT`.
    Drop,
    /// `XDP_PASS`; `TC_ACT_UNSPEC`: on to the next program.
    Pass,
    /// `XDP_TX`; `TC_ACT_REDIRECT`: the test cannot say where to.
    Transmit,
    /// Anything else.
    Unknown(u32),
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The verdict.
    pub action: Action,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

/// A program that a data plane pinned, and its maps.
#[derive(Debug)]
pub struct Pinned {
    program: Program,
    dir: PathBuf,
}

#[derive(Debug)]
enum Program {
    Xdp(Xdp),
    Tc(SchedClassifier),
}

impl Pinned {
    /// Opens what is pinned below a data plane's directory.
    ///
    /// # Errors
    /// Nothing is pinned there.
    pub fn open(pin_dir: &Path, hook: Hook) -> anyhow::Result<Self> {
        let dir = pin_dir.join(format!("v{}", clarion_abi::ABI_VERSION));
        let path = dir.join(match hook {
            Hook::Xdp => "program",
            Hook::Tc => "program-tc",
        });
        let program = match hook {
            Hook::Xdp => Xdp::from_pin(&path, aya_obj::programs::XdpAttachType::Interface).map(Program::Xdp),
            Hook::Tc => SchedClassifier::from_pin(&path).map(Program::Tc),
        };
        let program = program.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { program, dir })
    }

    /// Whether the kernel runs such a frame: it makes no socket buffer of an Ethernet
    /// header alone, nor of less than a whole IP header.
    #[must_use]
    pub fn takes(&self, frame: &[u8]) -> bool {
        let least = match (&self.program, frame.get(12..14)) {
            (Program::Xdp(_), _) => 14,
            (Program::Tc(_), Some([0x08, 0x00])) => 14 + 20,
            (Program::Tc(_), Some([0x86, 0xdd])) => 14 + 40,
            (Program::Tc(_), _) => 15,
        };
        frame.len() >= least
    }

    /// Runs it once, as if the frame came in on interface 1.
    ///
    /// # Errors
    /// The kernel refused the frame.
    pub fn run(&self, frame: &[u8]) -> anyhow::Result<Ran> {
        let mut output = vec![0; OUTPUT];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut output), ..TestRunOptions::default() };
        const UNSPECIFIED: u32 = u32::MAX;
        let result = match &self.program {
            Program::Xdp(program) => program.test_run(options),
            Program::Tc(program) => program.test_run(options),
        }
        .with_context(|| format!("BPF_PROG_TEST_RUN failed with {} bytes: {frame:02x?}", frame.len()))?;
        output.truncate(usize::try_from(result.data_size_out)?);
        let action = match (&self.program, result.return_value) {
            (Program::Xdp(_), 0) => Action::Aborted,
            (Program::Xdp(_), 1) | (Program::Tc(_), 2) => Action::Drop,
            (Program::Xdp(_), 2) | (Program::Tc(_), UNSPECIFIED) => Action::Pass,
            (Program::Xdp(_), 3) | (Program::Tc(_), 7) => Action::Transmit,
            (_, other) => Action::Unknown(other),
        };
        Ok(Ran { action, frame: output })
    }

    /// Writes heartbeat and grace as no data plane would.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn set_control(&self, control: Control) -> anyhow::Result<()> {
        let mut map: Array<_, Control> = Array::try_from(Map::Array(self.map(names::CONTROL)?))?;
        Ok(map.set(0, control, 0)?)
    }

    /// Changes the value of an IPv4 address.
    ///
    /// # Errors
    /// It is not in the map.
    pub fn change_v4(&self, key: KeyV4, change: impl FnOnce(&mut Slot)) -> anyhow::Result<()> {
        let mut map: HashMap<_, KeyV4, Slot> = HashMap::try_from(Map::HashMap(self.map(names::V4)?))?;
        let mut slot = map.get(&key, 0)?;
        change(&mut slot);
        Ok(map.insert(key, slot, 0)?)
    }

    /// Changes the value of an IPv6 address.
    ///
    /// # Errors
    /// It is not in the map.
    pub fn change_v6(&self, key: KeyV6, change: impl FnOnce(&mut Slot)) -> anyhow::Result<()> {
        let mut map: HashMap<_, KeyV6, Slot> = HashMap::try_from(Map::HashMap(self.map(names::V6)?))?;
        let mut slot = map.get(&key, 0)?;
        change(&mut slot);
        Ok(map.insert(key, slot, 0)?)
    }

    /// Changes what the kernel knows of a peer, or begins to watch it.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn change_peer(&self, node: NodeId, change: impl FnOnce(&mut Watched)) -> anyhow::Result<()> {
        let mut map: HashMap<_, u64, Watched> = HashMap::try_from(Map::HashMap(self.map(names::PEERS)?))?;
        let fresh = Watched { peer: clarion_fence::Peer::new(0), busy: 0 };
        let mut watched = map.get(&node.0, 0).unwrap_or(fresh);
        change(&mut watched);
        Ok(map.insert(node.0, watched, 0)?)
    }

    /// Replaces the leases.
    ///
    /// # Errors
    /// The map could not be written.
    pub fn set_leases(&self, leases: Leases) -> anyhow::Result<()> {
        let mut map: Array<_, Cell<Leases>> = Array::try_from(Map::Array(self.map(names::LEASES)?))?;
        Ok(map.set(0, Cell(leases), 0)?)
    }

    fn map(&self, name: &str) -> anyhow::Result<MapData> {
        let path = self.dir.join(name);
        MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))
    }
}

/// The outcomes whose counters moved since an earlier reading, by how much.
///
/// # Errors
/// The counters could not be read.
pub fn moved(
    dataplane: &Dataplane,
    before: &BTreeMap<&'static str, u64>,
) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let after = dataplane.counters()?.outcomes;
    Ok(after
        .into_iter()
        .map(|(name, count)| (name, count - before.get(name).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect())
}
