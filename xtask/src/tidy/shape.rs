//! Size and beginning of source files.

use std::collections::BTreeMap;

use super::source::Source;

/// Above this a file has two subjects.
const MAX_LINES: usize = 500;

/// A main.rs of this length holds logic that no test can reach.
const MAX_MAIN: usize = 60;

fn is_source(source: &Source) -> bool {
    source.is(".rs") || source.is(".go")
}

/// Files that are too long.
pub(super) fn sizes(sources: &[Source]) -> Vec<String> {
    largest(sources, usize::MAX)
        .into_iter()
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path} has {lines} lines: split it where it changes its subject"))
        .collect()
}

/// The longest source files, longest first.
pub(super) fn largest(sources: &[Source], count: usize) -> Vec<(&str, usize)> {
    let mut files: Vec<(&str, usize)> =
        sources.iter().filter(|s| is_source(s)).map(|s| (s.path.as_str(), s.text.lines().count())).collect();
    files.sort_by_key(|(path, lines)| (std::cmp::Reverse(*lines), *path));
    files.truncate(count);
    files
}

/// Rust files that do not begin with `//!`, and Go packages none of whose files
/// begins with the package's comment: each language's own form of module docs.
pub(super) fn docs(sources: &[Source]) -> Vec<String> {
    let mut problems: Vec<String> = sources
        .iter()
        .filter(|s| s.is(".rs") && !begins(s, "//!"))
        .map(|s| format!("{} begins with no `//!` that says what it is for", s.path))
        .collect();
    let mut packages: BTreeMap<&str, bool> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.is(".go")) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *packages.entry(folder).or_default() |= begins(source, "//");
    }
    let silent = packages.iter().filter(|(_, said)| !**said);
    problems.extend(
        silent.map(|(folder, _)| format!("no file of the Go package {folder} begins with its comment")),
    );
    problems
}

fn begins(source: &Source, mark: &str) -> bool {
    let first = source.text.lines().next().unwrap_or_default();
    first.strip_prefix(mark).is_some_and(|words| !words.trim().is_empty())
}

/// A main.rs that is too long. Tests and the demo have mains that are nothing
/// but cases in order, and no logic that a test would have to reach.
pub(super) fn mains(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|s| s.is("/src/main.rs"))
        .filter(|s| s.text.lines().count() >= MAX_MAIN)
        .map(|s| {
            format!(
                "{} has {} lines, {MAX_MAIN} or more: move them to the library",
                s.path,
                s.text.lines().count()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_501_lines_is_too_long_and_one_of_500_is_not() {
        let long = |lines| Source::new("a/src/x.rs", &"//! x\n".repeat(lines));
        assert!(sizes(&[long(500)]).is_empty());
        assert_eq!(sizes(&[long(501)]).len(), 1);
        assert_eq!(sizes(&[Source::new("a.go", &"// x\n".repeat(501))]).len(), 1);
        assert!(sizes(&[Source::new("a.json", &"{}\n".repeat(9000))]).is_empty());
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        assert_eq!(docs(&[Source::new("a.rs", "use std::fs;\n")]).len(), 1);
        assert_eq!(
            docs(&[Source::new("a.rs", "//!\n//! text\n")]).len(),
            1,
            "an empty first line says nothing"
        );
        assert_eq!(docs(&[Source::new("a.go", "package a\n")]).len(), 1);
        assert!(
            docs(&[Source::new("a.rs", "//! What.\n"), Source::new("a.go", "// Package a is.\n")]).is_empty()
        );
    }

    #[test]
    fn a_main_with_logic_is_found() {
        assert_eq!(mains(&[Source::new("agent/src/main.rs", &"//! x\n".repeat(60))]).len(), 1);
        assert!(mains(&[Source::new("agent/src/main.rs", &"//! x\n".repeat(59))]).is_empty());
        assert!(mains(&[Source::new("agent/src/domain.rs", &"//! x\n".repeat(300))]).is_empty());
    }

    #[test]
    fn the_largest_come_first() {
        let sources =
            [Source::new("a.rs", "1\n"), Source::new("b.rs", "1\n2\n"), Source::new("c.rs", "1\n2\n3\n")];
        assert_eq!(largest(&sources, 2), [("c.rs", 3), ("b.rs", 2)]);
    }
}
