//! Programs of ours that still run on a node after a clean-up, and how to end them.
//!
//! A clean-up of the wrong directory finds nothing and removes nothing. What runs is
//! known by the interfaces (any process may ask which XDP program one has); whose it
//! is shows in the pins below any BPF file system, or in the program's name, which
//! only CAP_SYS_ADMIN may ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::{loaded_links, loaded_programs};
use clarion_abi::names;

use crate::pins::parse_link;
use crate::sys;

/// Directories looked at below a BPF file system, and entries of each; beyond that
/// it is no place for pins but a mistake.
const DEPTH: usize = 6;
const ENTRIES: usize = 4096;

/// An XDP program that is or may be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The kernel's id of it.
    pub program: u32,
    /// Indices of the interfaces that it runs on.
    pub interfaces: BTreeSet<u32>,
    /// What ends it.
    pub remedy: Remedy,
}

/// What ends a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// It is ours, and pinned below these directories.
    Cleanup(BTreeSet<PathBuf>),
    /// It is ours by name, and these links (ids) hold it: another process has them,
    /// or pins that cannot be seen from here.
    Detach(BTreeSet<u32>),
    /// Whose it is cannot be read with the rights at hand.
    Look,
}

impl Leftover {
    /// Whether it surely is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.remedy != Remedy::Look
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program;
        match &self.remedy {
            Remedy::Cleanup(dirs) => {
                let commands =
                    dirs.iter().map(|d| format!("clarion-agent cleanup --pin-dir {}", d.display()));
                let commands = commands.collect::<Vec<_>>().join("; ");
                write!(f, "program {program} still answers, pinned elsewhere; remove it: {commands}")
            }
            Remedy::Detach(links) => {
                let commands = links.iter().map(|id| format!("bpftool link detach id {id}"));
                let commands = commands.collect::<Vec<_>>().join("; ");
                write!(
                    f,
                    "program {program} still answers, held by no pin seen from here; remove it: {commands}"
                )
            }
            Remedy::Look => write!(
                f,
                "program {program} may be ours: its name cannot be read without CAP_SYS_ADMIN; \
                 as root: bpftool prog show id {program}"
            ),
        }
    }
}

/// Which of the XDP programs that interfaces of this network namespace run (by
/// program id, with their indices) are or may be ours.
#[must_use]
pub fn leftovers(attached: &BTreeMap<u32, BTreeSet<u32>>) -> Vec<Leftover> {
    if attached.is_empty() {
        return Vec::new();
    }
    let pinned = pinned_programs();
    let named = our_programs();
    let remedy = |program: &u32| match (pinned.get(program), &named) {
        (Some(dirs), _) => Some(Remedy::Cleanup(dirs.clone())),
        (None, Some(ours)) => ours.contains(program).then(|| Remedy::Detach(links_of(*program))),
        (None, None) => Some(Remedy::Look),
    };
    let leftover = |(program, interfaces): (&u32, &BTreeSet<u32>)| {
        let remedy = remedy(program)?;
        Some(Leftover { program: *program, interfaces: interfaces.clone(), remedy })
    };
    attached.iter().filter_map(leftover).collect()
}

/// Ids of all programs with our names; `None` without the right to know.
fn our_programs() -> Option<BTreeSet<u32>> {
    let mut ours = BTreeSet::new();
    let mut seen = false;
    // One that ends meanwhile is an error of its own and no reason to stop.
    for program in loaded_programs().flatten() {
        seen = true;
        if matches!(program.name_as_str(), Some(names::PROGRAM | names::PROGRAM_FRAGS)) {
            ours.insert(program.id());
        }
    }
    // There is at least the one that was asked for.
    seen.then_some(ours)
}

fn links_of(program: u32) -> BTreeSet<u32> {
    loaded_links().flatten().filter(|link| link.program_id() == program).map(|link| link.id()).collect()
}

/// Programs of links that are pinned as ours are, with the directories to clean up.
fn pinned_programs() -> BTreeMap<u32, BTreeSet<PathBuf>> {
    let mut found = BTreeMap::<u32, BTreeSet<PathBuf>>::new();
    for mount in bpf_file_systems() {
        walk(&mount, DEPTH, &mut found);
    }
    found
}

fn walk(dir: &Path, depth: usize, found: &mut BTreeMap<u32, BTreeSet<PathBuf>>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().take(ENTRIES) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 0 {
                walk(&path, depth - 1, found);
            }
        } else if parse_link(&path).is_some_and(|place| place.mode.is_xdp())
            && let Ok(info) = sys::open_pin(&path).and_then(|link| sys::link_info(&link))
            && info.ifindex != 0
            && let Some(root) = dir.parent()
        {
            found.entry(info.program).or_default().insert(root.to_path_buf());
        }
    }
}

/// Where BPF file systems are mounted (proc(5), mountinfo).
fn bpf_file_systems() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mount = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("bpf ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    };
    text.lines().filter_map(mount).collect()
}
