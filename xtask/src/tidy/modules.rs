//! Files that no module tree reaches: they look like code or tests and never run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::metadata::Metadata;
use super::source::Source;

/// Rust files that no target of a package reaches by `mod` or `include!`.
pub(super) fn orphans(root: &Path, sources: &[Source], metadata: &Metadata) -> Vec<String> {
    let roots = metadata.packages.iter().flat_map(|package| &package.targets);
    let roots = roots.filter_map(|target| target.src_path.strip_prefix(root).ok().map(Path::to_path_buf));
    unreached(sources, roots.collect())
}

fn unreached(sources: &[Source], roots: Vec<PathBuf>) -> Vec<String> {
    let files: BTreeMap<&Path, &str> =
        sources.iter().filter(|s| s.is(".rs")).map(|s| (Path::new(&s.path), s.text.as_str())).collect();
    let mut reached = BTreeSet::new();
    let mut todo: Vec<(PathBuf, bool)> = roots.into_iter().map(|path| (path, true)).collect();
    while let Some((file, is_root)) = todo.pop() {
        let Some(text) = files.get(file.as_path()) else { continue };
        if !reached.insert(file.clone()) {
            continue;
        }
        todo.extend(children(&file, is_root, text));
    }
    files
        .keys()
        .filter(|file| !reached.contains(**file))
        .map(|file| format!("{} is in no module tree: declare it with `mod`, or delete it", file.display()))
        .collect()
}

/// Every place where a file's modules may lie.
fn children(file: &Path, is_root: bool, text: &str) -> Vec<(PathBuf, bool)> {
    let parent = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().unwrap_or_default();
    let folder = if is_root || stem == "mod" { parent.to_owned() } else { parent.join(stem) };
    let mut found = Vec::new();
    let mut path_attribute: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(path) = between(line, "#[path = \"", "\"]") {
            path_attribute = Some(path);
        } else if let Some(path) = between(line, "include!(\"", "\")") {
            found.push((normal(&parent.join(path)), true));
        } else if let Some(name) = module_name(line) {
            match path_attribute.take() {
                // A file given by path has its own modules beside it.
                Some(path) => found.push((normal(&parent.join(path)), true)),
                None => {
                    found.push((folder.join(format!("{name}.rs")), false));
                    found.push((folder.join(name).join("mod.rs"), false));
                }
            }
        }
    }
    found
}

/// The name in `pub(crate) mod name;`.
fn module_name(line: &str) -> Option<&str> {
    let name = line.strip_suffix(';')?;
    let name = match name.strip_prefix("mod ") {
        Some(name) => name,
        None => name.strip_prefix("pub")?.split_once("mod ")?.1,
    };
    let name = name.trim();
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name)
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &line[line.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// Without `..`, so that it equals git's name.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], roots: &[&str]) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        unreached(&sources, roots.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn a_forgotten_file_is_found() {
        let found = check(
            &[("a/src/lib.rs", "mod one;\n"), ("a/src/one.rs", ""), ("a/src/two.rs", "")],
            &["a/src/lib.rs"],
        );
        assert_eq!(found, ["a/src/two.rs is in no module tree: declare it with `mod`, or delete it"]);
    }

    #[test]
    fn modules_are_followed_through_every_form() {
        let files = [
            (
                "a/src/lib.rs",
                "pub mod one;\n    pub(crate) mod two;\n#[path = \"../gen/three.rs\"]\nmod three;\n",
            ),
            ("a/src/one.rs", "mod deep;\ninclude!(\"part.rs\");\n"),
            ("a/src/one/deep.rs", ""),
            ("a/src/part.rs", ""),
            ("a/src/two/mod.rs", "#[cfg(test)]\nmod tests;\n"),
            ("a/src/two/tests.rs", ""),
            ("a/gen/three.rs", ""),
            ("a/tests/it.rs", "mod common;\n"),
            ("a/tests/common/mod.rs", ""),
        ];
        let found = check(&files, &["a/src/lib.rs", "a/tests/it.rs"]);
        assert!(found.is_empty(), "{found:?}");
    }
}
