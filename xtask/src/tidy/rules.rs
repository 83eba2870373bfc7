//! Rules about single lines.
//!
//! A line is exempt when the line above it is `// tidy: RULE, because …` (`#` in
//! files with such comments). The reason is for the reader; without one the
//! exemption is void.

use super::source::{Line, Source};

/// A rule about lines.
pub(super) struct Rule {
    /// Its name in exemptions.
    pub(super) id: &'static str,
    /// What is kept by it.
    pub(super) what: &'static str,
    /// What to do instead.
    remedy: &'static str,
    /// Files that it is about.
    applies: fn(&Source) -> bool,
    /// Whether a line breaks it.
    breaks: fn(&Line<'_>) -> bool,
}

/// All of them.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "spawn",
        what: "every task has an owner that sees it end",
        remedy: "keep the handle and supervise it",
        applies: rust,
        breaks: bare_spawn,
    },
    Rule {
        id: "channel",
        what: "no channel grows without bound",
        remedy: "give it a documented depth, or use watch for state",
        applies: rust,
        breaks: |line| {
            ["unbounded_channel", "channel::unbounded", "mpsc::unbounded("]
                .iter()
                .any(|w| line.code.contains(w))
        },
    },
    Rule {
        id: "sleep",
        what: "tests wait for predicates and do not sleep",
        remedy: "wait for a predicate with a deadline that dumps the state when it fails",
        applies: waiting,
        breaks: |line| line.test && line.code.contains("sleep("),
    },
    Rule {
        id: "clock",
        what: "pure rooms have no clock, thread or socket",
        remedy: "take `now`, or what the clock or socket would give, as an argument",
        applies: pure,
        breaks: impure_code,
    },
    Rule {
        id: "path",
        what: "no path of one machine",
        remedy: "derive the path from the repository, the environment or a temporary folder",
        applies: text,
        breaks: |line| MACHINE_PATHS.iter().any(|path| has_path(line.text, path)),
    },
    Rule {
        id: "registry",
        what: "no host name of a package registry",
        remedy: "leave it to the client's configuration",
        applies: text,
        breaks: |line| REGISTRIES.iter().any(|host| line.text.contains(host)),
    },
    Rule {
        id: "reason",
        what: "a lint or test that is switched off says why",
        remedy: "use #[expect(LINT, reason = \"…\")]; #[ignore = \"…\"]",
        applies: rust,
        breaks: without_reason,
    },
];

/// Folders that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("/ho", "me/"), concat!("/tm", "p/")];

/// Registries of the languages and the distribution.
const REGISTRIES: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("static.rust", "-lang.org"),
    concat!("proxy.golang", ".org"),
    concat!("sum.golang", ".org"),
    concat!("deb.debian", ".org"),
    concat!("pypi", ".org"),
    concat!("registry.npmjs", ".org"),
];

/// Folders of the pure rooms.
const PURE: [&str; 9] = [
    "common/abi/",
    "common/core/",
    "common/fence/",
    "common/api/",
    "common/config/",
    "controller/alloc/",
    "agent/bgp/",
    "agent/l2/",
    "agent/bfd/",
];

/// What would be a hidden input or an effect.
const IMPURE: [&str; 12] = [
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "thread_rng",
    "rand::rng",
    "tokio::",
    "thread::spawn",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::fs::",
];

fn rust(source: &Source) -> bool {
    // The samples of the tests below break every rule.
    source.is(".rs") && source.path != "xtask/src/tidy/rules.rs"
}

/// All Rust but the one wait that every predicate of the lab shares, and the
/// benchmarks: they pace their load, and nothing of theirs passes or fails by it.
fn waiting(source: &Source) -> bool {
    rust(source) && source.path != "tests/lab/src/wait.rs" && !source.path.starts_with("tests/bench/")
}

fn pure(source: &Source) -> bool {
    // A generator is a program beside the room, not part of what is linked.
    rust(source)
        && PURE.iter().any(|room| source.path.starts_with(room))
        && !source.path.contains("/src/bin/")
}

/// Files that people write; lock files name registries by design.
fn text(source: &Source) -> bool {
    !["Cargo.lock", "go.sum"].iter().any(|name| source.is(name))
}

fn bare_spawn(line: &Line<'_>) -> bool {
    let code = line.code.trim_start();
    let spawns = ["tokio::spawn(", "task::spawn(", "tokio::task::spawn("];
    let dropped = ["drop(", "let _ = "].iter().find_map(|prefix| code.strip_prefix(prefix));
    let continues = ["=", "(", ",", "return"].iter().any(|end| line.before.trim_end().ends_with(end));
    let starts = |code: &str| spawns.iter().any(|spawn| code.starts_with(spawn));
    (starts(code) && !continues) || dropped.is_some_and(starts)
}

fn impure_code(line: &Line<'_>) -> bool {
    !line.test && IMPURE.iter().any(|word| line.code.contains(word))
}

/// Whether the path stands on its own and is not the end of a longer one
/// (`/var/home/x`) or of a URL.
fn has_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '}' | '~'))
    })
}

fn without_reason(line: &Line<'_>) -> bool {
    let code = line.code.trim_start();
    if code.starts_with("#[ignore]") {
        return true;
    }
    let switched_off =
        ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|start| code.starts_with(start));
    // An attribute over several lines ends without `]`; rustfmt then puts the
    // reason on a line of its own, which clippy's own lint checks.
    switched_off && code.trim_end().ends_with(")]") && !code.contains("reason =")
}

/// The lines that break a rule.
pub(super) fn check(rule: &Rule, sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| (rule.applies)(source)) {
        for line in source.lines().filter(|line| (rule.breaks)(line) && !exempt(rule, line)) {
            problems.push(format!("{}:{}: {} ({})", source.path, line.number, line.text.trim(), rule.remedy));
        }
    }
    problems
}

fn exempt(rule: &Rule, line: &Line<'_>) -> bool {
    let comment = line.before.trim().trim_start_matches(['/', '#']).trim();
    let reason = comment.strip_prefix("tidy: ").and_then(|text| text.strip_prefix(rule.id));
    reason.and_then(|text| text.strip_prefix(", because ")).is_some_and(|why| why.trim().len() > 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of the rules that a file breaks.
    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        let sources = [Source::new(path, text)];
        RULES.iter().filter(|rule| !check(rule, &sources).is_empty()).map(|rule| rule.id).collect()
    }

    #[test]
    fn a_task_without_owner_is_found() {
        assert_eq!(broken("agent/src/a.rs", "    tokio::spawn(run());\n"), ["spawn"]);
        assert_eq!(broken("agent/src/a.rs", "    let _ = tokio::spawn(run());\n"), ["spawn"]);
        assert_eq!(broken("agent/src/a.rs", "    drop(tokio::spawn(run()));\n"), ["spawn"]);
        assert!(broken("agent/src/a.rs", "    let task = tokio::spawn(run());\n").is_empty());
        assert!(broken("agent/src/a.rs", "    let task =\n        tokio::spawn(run());\n").is_empty());
        assert!(broken("agent/src/a.rs", "    tasks.push(tokio::spawn(run()));\n").is_empty());
    }

    #[test]
    fn a_channel_without_bound_is_found() {
        assert_eq!(broken("agent/src/a.rs", "let (a, b) = mpsc::unbounded_channel();\n"), ["channel"]);
        assert!(broken("agent/src/a.rs", "let (a, b) = mpsc::channel(DEPTH);\n").is_empty());
    }

    #[test]
    fn a_sleep_in_a_test_is_found_and_elsewhere_is_not() {
        assert_eq!(broken("tests/e2e/tests/a.rs", "thread::sleep(SECOND);\n"), ["sleep"]);
        assert_eq!(broken("agent/src/a.rs", "#[cfg(test)]\nmod t { fn a() { sleep(x); } }\n"), ["sleep"]);
        assert!(broken("agent/src/a.rs", "time::sleep(x).await;\n").is_empty());
        assert!(broken("tests/e2e/tests/a.rs", "// never sleep(x)\n").is_empty());
    }

    #[test]
    fn a_clock_in_a_pure_room_is_found_and_in_its_tests_is_not() {
        assert_eq!(broken("agent/l2/src/a.rs", "let now = Instant::now();\n"), ["clock"]);
        assert_eq!(broken("common/config/src/a.rs", "use std::time::SystemTime;\n"), ["clock"]);
        assert!(broken("agent/src/a.rs", "let now = Instant::now();\n").is_empty());
        assert!(broken("agent/l2/src/a.rs", "#[cfg(test)]\nfn a() { Instant::now(); }\n").is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_found_and_urls_are_not() {
        for path in MACHINE_PATHS {
            assert_eq!(broken("docs/a.md", &format!("see {path}x\n")), ["path"], "{path}");
            assert!(broken("docs/a.md", &format!("https://example.org{path}x\n")).is_empty(), "{path}");
            assert!(broken("docs/a.md", &format!("$DIR/var{path}x\n")).is_empty(), "{path}");
        }
    }

    #[test]
    fn registries_are_found_except_in_lock_files() {
        for host in REGISTRIES {
            assert_eq!(broken("docs/a.md", &format!("https://{host}/x\n")), ["registry"], "{host}");
            assert!(broken("Cargo.lock", &format!("https://{host}/x\n")).is_empty(), "{host}");
        }
    }

    #[test]
    fn a_lint_switched_off_without_reason_is_found() {
        assert_eq!(broken("a.rs", "#[allow(dead_code)]\n"), ["reason"]);
        assert_eq!(broken("a.rs", "    #[expect(dead_code)]\n"), ["reason"]);
        assert_eq!(broken("a.rs", "#[ignore]\n"), ["reason"]);
        assert!(broken("a.rs", "#[expect(dead_code, reason = \"the table needs it\")]\n").is_empty());
        assert!(broken("a.rs", "#[ignore = \"needs two machines\"]\n").is_empty());
    }

    #[test]
    fn an_exemption_needs_its_rule_and_a_reason() {
        let with =
            |comment: &str| broken("tests/lab/src/poll.rs", &format!("{comment}\nthread::sleep(TICK);\n"));
        assert!(
            with("    // tidy: sleep, because this is the one wait that all predicates share").is_empty()
        );
        assert_eq!(with("// tidy: sleep"), ["sleep"]);
        assert_eq!(with("// tidy: sleep, because "), ["sleep"]);
        assert_eq!(with("// tidy: clock, because this is another rule"), ["sleep"]);
    }
}
