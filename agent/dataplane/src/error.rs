//! What can go wrong, one enum per operation.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::model::AddressKey;

/// Opening, reading back or cleaning up failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins' directory is not on a BPF file system.
    #[error(
        "{path} is not on a BPF file system: mount one on the node (mount -t bpf bpf /sys/fs/bpf) and give it to the agent as a hostPath"
    )]
    NoBpfFs {
        /// The directory.
        path: PathBuf,
    },
    /// A file operation on the pins failed.
    #[error("cannot {operation} {path}: the agent needs root's rights on the BPF file system")]
    Pins {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The object was refused; most often a capability is missing.
    #[error(
        "cannot load the XDP object: the agent needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and Linux 5.15 or newer"
    )]
    Object(#[source] Box<EbpfError>),
    /// The verifier or the kernel refused the program.
    #[error(
        "the kernel refused the XDP program: the agent needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and Linux 5.15 or newer"
    )]
    Program(#[source] Box<ProgramError>),
    /// The object lacks a part that this crate expects.
    #[error("the XDP object has no {name}: object and agent are of different builds")]
    Missing {
        /// Name of the map or program.
        name: &'static str,
    },
    /// The object is not one.
    #[error("the XDP object cannot be read: it was damaged when the agent was built")]
    Parse(#[source] Box<aya_obj::ParseError>),
    /// A map of the object is not of this ABI's kind.
    #[error(
        "the XDP object's map {name} has {found}, not {wanted}: object and agent are of different builds; run `cargo xtask build`"
    )]
    Build {
        /// The map.
        name: &'static str,
        /// Its type and sizes.
        found: String,
        /// The type and sizes of this ABI.
        wanted: String,
    },
    /// A pinned map is not of this ABI's kind.
    #[error(
        "the pinned map {path} has {found}, not {wanted}: something else wrote there; run `clarion-agent cleanup` on this node"
    )]
    Mismatch {
        /// The pin.
        path: PathBuf,
        /// Its type and sizes.
        found: String,
        /// The type and sizes of this ABI.
        wanted: String,
    },
    /// What the program is attached to could not be read.
    #[error("cannot read where the XDP program is attached")]
    Links(#[source] io::Error),
    /// A map could not be read or written.
    #[error("cannot access the map {name}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why not.
        #[source]
        source: Box<MapError>,
    },
    /// The program could not be run on a frame of ours.
    #[error("cannot run the XDP program on a signal of this node's own")]
    Run(#[source] io::Error),
    /// The clock that the kernel part compares with cannot be read.
    #[error("cannot read the boot clock")]
    Clock(#[source] io::Error),
}

/// What a refused mode needs.
fn hint(mode: &str) -> &'static str {
    match mode {
        "native" => ": its driver takes no XDP; let --attach-mode be auto",
        "tcx" => ": it takes Linux 6.6; before it there is clsact",
        "clsact" => {
            ": it takes a kernel with clsact and its BPF classifier (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)"
        }
        _ => "",
    }
}

/// One item of a plan could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// There is no such interface any more.
    #[error("interface {ifindex} does not exist")]
    NoInterface {
        /// Its index.
        ifindex: u32,
    },
    /// Another XDP program is there.
    #[error(
        "interface {ifindex} already has another XDP program: detach it (ip link set dev NAME xdp off), leave the interface out, or let --attach-mode be auto, tcx or clsact"
    )]
    Occupied {
        /// The interface's index.
        ifindex: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The interface takes no program in the mode asked for.
    #[error("interface {ifindex} refuses the program in {mode} mode{}", hint(mode))]
    Attach {
        /// The interface's index.
        ifindex: u32,
        /// The mode tried last.
        mode: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The interface takes the program in no mode.
    #[error(
        "interface {ifindex} takes the program in no mode: its driver refuses XDP or another XDP program is there, and the kernel refuses TCX (Linux 6.6) and clsact"
    )]
    Nowhere {
        /// The interface's index.
        ifindex: u32,
    },
    /// A pin could not be made, opened or removed.
    #[error("cannot {operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What the program is attached to could not be read.
    #[error("cannot read where the program of interface {ifindex} is attached")]
    Links {
        /// The interface's index.
        ifindex: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An object could not be pinned.
    #[error("cannot pin {path}: the kernel goes on, but not beyond the agent's end")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A pinned link could not be moved to the new program.
    #[error("cannot replace the program of interface {ifindex}: the old one goes on answering")]
    Replace {
        /// The interface's index.
        ifindex: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An address could not be written; most often the map is full.
    #[error("cannot write {key}: at most {limit} addresses of a family fit")]
    Address {
        /// The address.
        key: AddressKey,
        /// Most entries of the map.
        limit: u32,
        /// What the kernel said.
        #[source]
        source: Box<MapError>,
    },
    /// A key or entry that cannot be meant.
    #[error("{key} is not acceptable: {reason}")]
    Refused {
        /// The address.
        key: AddressKey,
        /// Which field, and what it should be.
        reason: &'static str,
    },
    /// The filter could not be written.
    #[error("cannot write the address filter")]
    Filter(#[source] Box<MapError>),
}
