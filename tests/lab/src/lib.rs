//! The lab: namespaces, routers and a real control plane on one host.
//!
//! [`Lab::start`] makes what a [`Spec`] says: a switch, nodes, clients and FRR
//! routers, each a network namespace; etcd, kube-apiserver,
//! kube-controller-manager and kube-scheduler on a machine of their own; a
//! kubelet and kube-proxy per node; and on top the release binaries, started
//! from the very manifests that users apply. Nothing of it is in the host's own
//! network namespace. Faults are methods ([`Lab::power_off`],
//! [`Lab::cut_link`], …), waits are predicates ([`Lab::wait_until`]), and a
//! lab's end is the end of its value or of this process, whichever is first.
//!
//! | module | what |
//! |---|---|
//! | `spec`, `addressing` | what there shall be, and its addresses |
//! | `netns`, `machine`, `process`, `reaper`, `signals` | namespaces and processes, and that nothing of them stays |
//! | `switch`, `xdp_pass`, `node`, `router`, `control_plane`, `pki` | the parts |
//! | `lab`, `kube`, `dump`, `shell` | the whole: faults, kubectl, waiting, directions for a person |
//! | `http`, `prober`, `capture` | looking at it from a client |

pub mod addressing;
pub mod capture;
pub mod control_plane;
mod dump;
pub mod http;
mod kube;
pub mod lab;
pub mod machine;
pub mod netns;
pub mod node;
pub mod pki;
pub mod prober;
pub mod process;
pub mod reaper;
pub mod router;
mod shell;
pub mod signals;
pub mod spec;
pub mod switch;
pub mod tools;
pub mod wait;
mod xdp_pass;

pub use lab::{Lab, NAMESPACE};
pub use netns::Netns;
pub use spec::{ProxyMode, Spec};
pub use switch::Cut;
