//! The repository's files, as the checks see them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A text file of the repository.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// A line with what is known about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    /// As written.
    pub(super) text: &'a str,
    /// Without a comment at its end; empty for a line that is a comment.
    pub(super) code: &'a str,
    /// Whether it is test code: below `#[cfg(test)]`, or in a file or folder of tests.
    pub(super) test: bool,
    /// The line before, as written.
    pub(super) before: &'a str,
}

impl Source {
    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether its name ends so: `.rs`.
    pub(super) fn is(&self, ending: &str) -> bool {
        self.path.ends_with(ending)
    }

    /// Its lines. That a comment or string may look like code is accepted; the
    /// exemption comment is for such lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let whole_file = self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.is("/tests.rs")
            || self.is("_test.go");
        let mut test = whole_file;
        let mut before = "";
        self.text.lines().enumerate().map(move |(index, text)| {
            test |= text.trim_start().starts_with("#[cfg(test)]");
            let line = Line { number: index + 1, text, code: without_comment(text), test, before };
            before = text;
            line
        })
    }
}

/// The part of a line before `//`, unless that is inside of a string or a URL.
fn without_comment(text: &str) -> &str {
    let mut quoted = false;
    let bytes = text.as_bytes();
    for (at, pair) in bytes.windows(2).enumerate() {
        match pair {
            [b'\\', _] => {}
            [b'"', _] if at == 0 || bytes[at - 1] != b'\\' => quoted = !quoted,
            b"//" if !quoted && (at == 0 || bytes[at - 1] != b':') => return &text[..at],
            _ => {}
        }
    }
    text
}

/// Everything that git has or would add, and that is UTF-8 text.
///
/// # Errors
/// When git cannot be run.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git cannot be started: install git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let names = String::from_utf8_lossy(&output.stdout);
    let mut sources: Vec<Source> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        // A file that git has and the folder has not is being deleted.
        .filter_map(|name| {
            Some(Source { path: name.to_owned(), text: std::fs::read_to_string(root.join(name)).ok()? })
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources.dedup_by(|a, b| a.path == b.path);
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_cut_but_not_strings_and_addresses() {
        assert_eq!(without_comment("let a = 1; // why"), "let a = 1; ");
        assert_eq!(without_comment("//! doc"), "");
        assert_eq!(without_comment(r#"let a = "//";"#), r#"let a = "//";"#);
        assert_eq!(without_comment("see https://example.org"), "see https://example.org");
    }

    #[test]
    fn lines_below_cfg_test_are_test_code() {
        let source = Source::new("a/src/lib.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.lines().map(|line| line.test).collect::<Vec<_>>(), [false, true, true, true]);
        assert!(Source::new("tests/e2e/src/lib.rs", "fn a() {}").lines().all(|line| line.test));
        assert!(Source::new("agent/bgp/tests/fsm.rs", "fn a() {}").lines().all(|line| line.test));
        assert!(Source::new("agent/bfd/src/sessions/tests.rs", "fn a() {}").lines().all(|line| line.test));
    }
}
