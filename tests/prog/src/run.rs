//! The pinned program, run on one frame by `BPF_PROG_TEST_RUN`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::Xdp;
use aya::programs::{TestRun, TestRunOptions};
use clarion_abi::{Cell, Control, KeyV4, KeyV6, Slot, Watched, names};
use clarion_dataplane::Dataplane;
use clarion_fence::{Leases, NodeId};

/// Longest frame that a run gives back.
const OUTPUT: usize = 4096;

/// What the kernel would do with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `XDP_ABORTED`: the program failed.
    Aborted,
    /// `XDP_DROP`.
    Drop,
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
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

/// The program that a data plane pinned, and its maps.
#[derive(Debug)]
pub struct Pinned {
    program: Xdp,
    dir: PathBuf,
}

impl Pinned {
    /// Opens what is pinned below a data plane's directory.
    ///
    /// # Errors
    /// Nothing is pinned there.
    pub fn open(pin_dir: &Path) -> anyhow::Result<Self> {
        let dir = pin_dir.join(format!("v{}", clarion_abi::ABI_VERSION));
        let path = dir.join("program");
        let program = Xdp::from_pin(&path, aya_obj::programs::XdpAttachType::Interface)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { program, dir })
    }

    /// Runs it once, as if the frame came in on interface 1.
    ///
    /// # Errors
    /// The kernel refused the frame.
    pub fn run(&self, frame: &[u8]) -> anyhow::Result<Ran> {
        let mut output = vec![0; OUTPUT];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut output), ..TestRunOptions::default() };
        let result = self.program.test_run(options).context("BPF_PROG_TEST_RUN failed")?;
        output.truncate(usize::try_from(result.data_size_out)?);
        let action = match result.return_value {
            0 => Action::Aborted,
            1 => Action::Drop,
            2 => Action::Pass,
            3 => Action::Transmit,
            other => Action::Unknown(other),
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
