//! The arrows between the rooms, as the architecture draws them.

use super::metadata::{Metadata, Package};

/// A room and the rooms that it may use.
struct Room {
    package: &'static str,
    may_use: &'static [&'static str],
}

/// The architecture's table. A room that is missing here is refused, so that a
/// new one gets its row.
const ROOMS: &[Room] = &[
    Room { package: "clarion-abi", may_use: &["clarion-fence"] },
    Room { package: "clarion-core", may_use: &[] },
    Room { package: "clarion-fence", may_use: &[] },
    Room { package: "clarion-api", may_use: &[] },
    Room { package: "clarion-config", may_use: &["clarion-core", "clarion-api"] },
    // It keeps what the parser takes; no rule of the parser's is there.
    Room { package: "clarion-daemon", may_use: &["clarion-api", "clarion-config"] },
    Room { package: "clarion-alloc", may_use: &["clarion-core"] },
    Room { package: "clarion-placement", may_use: &["clarion-core"] },
    Room {
        package: "clarion-controller",
        may_use: &[
            "clarion-core",
            "clarion-api",
            "clarion-config",
            "clarion-daemon",
            "clarion-alloc",
            "clarion-placement",
        ],
    },
    Room { package: "clarion-bgp", may_use: &["clarion-core"] },
    // BGP learns of a path through the agent: the two protocols know nothing of each other.
    Room { package: "clarion-bfd", may_use: &["clarion-core"] },
    Room { package: "clarion-l2", may_use: &["clarion-core", "clarion-fence"] },
    Room { package: "clarion-dataplane", may_use: &["clarion-abi", "clarion-core", "clarion-fence"] },
    Room { package: "clarion-netlink", may_use: &["clarion-core"] },
    Room {
        package: "clarion-agent",
        may_use: &[
            "clarion-core",
            "clarion-api",
            "clarion-config",
            "clarion-daemon",
            "clarion-fence",
            "clarion-bgp",
            "clarion-bfd",
            "clarion-l2",
            "clarion-dataplane",
            "clarion-netlink",
        ],
    },
    Room { package: "clarion-ebpf", may_use: &["clarion-abi", "clarion-fence"] },
    // `explain` decides dry runs by the controller's own planner: another one would tell
    // something else some day.
    Room {
        package: "kubectl-clarion",
        may_use: &[
            "clarion-core",
            "clarion-api",
            "clarion-config",
            "clarion-daemon",
            "clarion-alloc",
            "clarion-controller",
        ],
    },
    Room { package: "xtask", may_use: &[] },
];

/// Rooms of tests: they may use anything, and nothing may use them.
const TESTS: &[&str] = &["clarion-lab", "clarion-prog-tests", "clarion-e2e", "clarion-bench"];

/// Crates that only some rooms may name, and why. Test rooms are free.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("aya", &["clarion-dataplane", "clarion-abi"], "agent/dataplane is the only room with aya"),
    ("aya-obj", &["clarion-dataplane"], "agent/dataplane is the only room with aya"),
    ("aya-ebpf", &["clarion-ebpf"], "only the program itself runs in the kernel"),
    ("rtnetlink", &["clarion-netlink"], "agent/netlink is the only room with netlink"),
    ("netlink-packet-route", &["clarion-netlink"], "agent/netlink is the only room with netlink"),
    (
        "anyhow",
        &["clarion-controller", "clarion-agent", "kubectl-clarion", "xtask"],
        "libraries have one error enum per operation",
    ),
];

/// Rooms without sockets, clocks and tasks.
pub(super) const PURE: &[&str] = &[
    "clarion-abi",
    "clarion-core",
    "clarion-fence",
    "clarion-api",
    "clarion-config",
    "clarion-alloc",
    "clarion-placement",
    "clarion-bgp",
    "clarion-bfd",
    "clarion-l2",
];

/// What no pure room may link, by the beginning of the crate's name. `rand`
/// brings the thread's generator, which is a hidden input like a clock.
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "hyper",
    "socket2",
    "kube-client",
    "kube-runtime",
    "aya",
    "rtnetlink",
    "netlink-",
    "rand",
    "getrandom",
];

/// Arrows that the table does not have.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    for package in &metadata.packages {
        if TESTS.contains(&package.name.as_str()) {
            continue;
        }
        match ROOMS.iter().find(|room| room.package == package.name) {
            Some(room) => problems.extend(arrows_of(package, room, metadata)),
            None => problems.push(format!(
                "{} is in no row of the architecture's table: add it to xtask/src/tidy/arrows.rs",
                package.name
            )),
        }
    }
    problems
}

fn arrows_of(package: &Package, room: &Room, metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    // What tests of a room use is not shipped: dev-dependencies are free.
    for dependency in
        package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"))
    {
        let is_room = metadata.packages.iter().any(|other| other.name == dependency.name);
        if is_room && !room.may_use.contains(&dependency.name.as_str()) {
            let allowed =
                if room.may_use.is_empty() { "no other room".to_owned() } else { room.may_use.join(", ") };
            problems.push(format!("{} depends on {}, but may use {allowed}", package.name, dependency.name));
        }
        for (name, rooms, why) in RESERVED {
            if dependency.name == *name && !rooms.contains(&package.name.as_str()) {
                problems.push(format!("{} depends on {name}: {why}", package.name));
            }
        }
    }
    problems
}

/// What a pure room links and may not, in the output of `cargo tree --prefix none`.
pub(super) fn impure(package: &str, tree: &str) -> Vec<String> {
    let mut found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| IMPURE.iter().any(|impure| names(impure, name)))
        .collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{package} links {}: see `cargo tree -e normal -p {package} -i {}`",
        found.join(", "),
        found[0]
    )]
}

/// Whether a crate is the impure one or of its family (`tokio`, `tokio-util`).
fn names(impure: &str, name: &str) -> bool {
    name.strip_prefix(impure)
        .is_some_and(|rest| rest.is_empty() || impure.ends_with('-') || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Dependency;
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
        };
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            targets: Vec::new(),
        }
    }

    fn problems(packages: Vec<Package>) -> Vec<String> {
        check(&Metadata { packages })
    }

    #[test]
    fn an_arrow_against_the_table_is_found() {
        let found =
            problems(vec![package("clarion-core", &[]), package("clarion-api", &[("clarion-core", None)])]);
        assert_eq!(found, ["clarion-api depends on clarion-core, but may use no other room"]);
        let found =
            problems(vec![package("clarion-lab", &[]), package("clarion-agent", &[("clarion-lab", None)])]);
        assert_eq!(found.len(), 1, "nothing that is shipped uses the lab: {found:?}");
        let found = problems(vec![
            package("clarion-api", &[]),
            package("clarion-alloc", &[("clarion-api", Some("build"))]),
        ]);
        assert_eq!(found.len(), 1, "a build dependency counts: {found:?}");
    }

    #[test]
    fn allowed_arrows_and_dev_dependencies_pass() {
        let found = problems(vec![
            package("clarion-core", &[]),
            package("clarion-lab", &[]),
            package("clarion-bgp", &[("clarion-core", None), ("bytes", None), ("clarion-lab", Some("dev"))]),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn reserved_crates_and_rooms_without_a_row_are_found() {
        let found = problems(vec![package("clarion-agent", &[("aya", None)])]);
        assert_eq!(found, ["clarion-agent depends on aya: agent/dataplane is the only room with aya"]);
        assert_eq!(problems(vec![package("clarion-new", &[])]).len(), 1);
    }

    #[test]
    fn a_runtime_deep_in_the_tree_is_found_and_lookalikes_are_not() {
        let tree = "clarion-l2 v0.1.0\nkube v5.0.0\ntokio-util v0.7.20\ntokio v1.54.1\ntokio v1.54.1 (*)\n";
        let found = impure("clarion-l2", tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("clarion-l2 links tokio, tokio-util:"), "{found:?}");
        assert!(impure("clarion-l2", "random v1\nayatsuji v1\nnetlink v1\n").is_empty());
        assert_eq!(impure("clarion-l2", "netlink-sys v1\n").len(), 1);
    }
}
