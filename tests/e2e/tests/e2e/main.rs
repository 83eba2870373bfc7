//! The end-to-end tests: what a user does with kubectl, what a client on the
//! network sees of it, on the release binaries started from `manifests/`.
//!
//! `e2e [WORD…]` runs the tests whose name contains every word.

mod addresses;
mod admission;
mod announce;
mod chaos;
mod configmap;
mod faults;
mod garbage;
mod leader;
mod operate;
mod owners;
mod placement;
mod policies;
mod quarrels;
mod rights;
mod scale;

use clarion_e2e::harness::Group;
use clarion_e2e::look::apply_base;
use clarion_lab::{Lab, Spec};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut groups = vec![
        Group {
            name: "cluster",
            spec: Spec::cluster,
            prepare: apply_base,
            cases: &[
                admission::CASES,
                policies::CASES,
                addresses::CASES,
                announce::CASES,
                operate::CASES,
                placement::CASES,
                faults::CASES,
                garbage::CASES,
                owners::CASES,
                quarrels::CASES,
            ],
        },
        Group { name: "chaos", spec: Spec::cluster, prepare: apply_base, cases: &[chaos::CASES] },
        Group {
            name: "configmap",
            spec: Spec::cluster,
            prepare: configmap::prepare,
            cases: &[configmap::CASES],
        },
        Group {
            name: "crowd",
            spec: || Spec { routers: 0, ..Spec::cluster() },
            prepare: clarion_e2e::crowd::ground,
            cases: &[leader::CASES, scale::CASES],
        },
        Group {
            name: "leftovers",
            spec: || Spec::wires(0, 0),
            prepare: |_: &Lab| Ok(()),
            cases: &[operate::LEFTOVERS],
        },
    ];
    // Some minutes of restarts.
    if std::env::var_os("CLARION_LONG").is_some() {
        groups.push(Group {
            name: "rights",
            spec: Spec::cluster,
            prepare: apply_base,
            cases: &[rights::CASES],
        });
    } else {
        println!("not without --long: {} tests of the group rights", rights::CASES.len());
    }
    clarion_e2e::harness::main(&groups)
}
