//! The keys of one entry, each with its type. The first thing that is wrong is remembered and
//! reading goes on, so that whoever asks gets as much of the entry as can be read.

use std::fmt;
use std::sync::Arc;

use super::yaml::Node;
use crate::check::Wrong;

/// No value of the format is longer; messages quote them.
const LONGEST_TEXT: usize = 4096;
/// A message quotes no more of a value.
const MOST_QUOTED: usize = 80;

/// An entry's keys on their way to becoming an object.
pub(super) struct Fields<'a> {
    /// Path of the entry, like `address-pools[2]`.
    pub(super) at: String,
    entries: &'a [(String, Arc<Node>)],
    /// What is wrong first.
    pub(super) wrong: Option<Wrong>,
}

impl<'a> Fields<'a> {
    /// The entry at a path, which knows these keys. An entry that says nothing has none.
    pub(super) fn open(at: impl Into<String>, node: &'a Node, known: &[&str]) -> Self {
        let mut fields = Self { at: at.into(), entries: &[], wrong: None };
        match node {
            Node::Map(entries) => fields.entries = entries,
            node if node.is_null() => {}
            node => {
                fields.complain("", format!("{} stands here: write {}", node.kind(), sample(known)));
            }
        }
        for (i, (key, _)) in fields.entries.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                fields.complain("", unknown(key, known));
            } else if fields.entries[..i].iter().any(|(before, _)| before == key) {
                fields.complain(key, "key is given twice: remove one of them");
            }
        }
        fields
    }

    /// Remembers what is wrong with a key (or, if that is empty, with the entry).
    pub(super) fn complain(&mut self, key: &str, message: impl fmt::Display) {
        if self.wrong.is_none() {
            self.wrong = Some(Wrong::new(self.path(key), message));
        }
    }

    /// The path of a key.
    pub(super) fn path(&self, key: &str) -> String {
        match (self.at.is_empty(), key.is_empty()) {
            (_, true) => self.at.clone(),
            (true, false) => key.to_owned(),
            (false, false) => format!("{}.{key}", self.at),
        }
    }

    /// The value of a key; `None` if it says nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        let found = self.entries.iter().find(|(name, _)| name == key);
        found.map(|(_, node)| node.as_ref()).filter(|node| !node.is_null())
    }

    /// Whether the key says something.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// One text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let node = self.get(key)?;
        match text(node) {
            Ok(text) => Some(text.to_owned()),
            Err(message) => {
                self.complain(key, message);
                None
            }
        }
    }

    /// A whole number in bounds, both included.
    pub(super) fn number(&mut self, key: &str, min: i64, max: i64) -> Option<i64> {
        let node = self.get(key)?;
        let number = text(node).and_then(|text| {
            let digits = text.replace('_', "");
            let plain = digits == "0" || !digits.trim_start_matches('-').starts_with('0');
            let number = digits.parse::<i64>().ok().filter(|_| plain && !digits.starts_with('+'));
            number.ok_or_else(|| format!("invalid number {}: write a whole number in decimal", quoted(text)))
        });
        match number {
            Ok(number) if (min..=max).contains(&number) => return Some(number),
            Ok(number) => self.complain(key, format!("invalid value {number}, must be in {min}-{max} range")),
            Err(message) => self.complain(key, message),
        }
        None
    }

    /// Yes or no, in all the words of YAML 1.1, which the first releases read.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        let read = text(node).and_then(|text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(format!("{} is neither true nor false: write one of them", quoted(text))),
        });
        read.map_err(|message| self.complain(key, message)).ok()
    }

    /// The entries of a list with their paths.
    pub(super) fn list(&mut self, key: &str) -> Vec<(String, &'a Node)> {
        let path = self.path(key);
        match self.get(key) {
            None => Vec::new(),
            Some(Node::List(items)) => {
                items.iter().enumerate().map(|(i, node)| (format!("{path}[{i}]"), node.as_ref())).collect()
            }
            Some(node) => {
                self.complain(
                    key,
                    format!("{} stands here: write a list, each entry after `- `", node.kind()),
                );
                Vec::new()
            }
        }
    }

    /// A list of texts with their paths. Those that cannot be read are left out.
    pub(super) fn texts(&mut self, key: &str) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for (i, (path, node)) in self.list(key).into_iter().enumerate() {
            match text(node) {
                Ok(text) => texts.push((path, text.to_owned())),
                Err(message) => self.complain(&format!("{key}[{i}]"), message),
            }
        }
        texts
    }

    /// Names with a text each.
    pub(super) fn named(&mut self, key: &str) -> Vec<(String, &'a Node)> {
        match self.get(key) {
            None => Vec::new(),
            Some(Node::Map(entries)) => {
                entries.iter().map(|(name, node)| (name.clone(), node.as_ref())).collect()
            }
            Some(node) => {
                self.complain(key, format!("{} stands here: write lines of `name: value`", node.kind()));
                Vec::new()
            }
        }
    }
}

/// The text of a scalar.
pub(super) fn text(node: &Node) -> Result<&str, String> {
    match node {
        Node::Scalar { text, .. } if text.len() > LONGEST_TEXT => {
            Err(format!("{} is too long: write at most {LONGEST_TEXT} bytes", quoted(text)))
        }
        Node::Scalar { text, .. } => Ok(text),
        node => Err(format!("{} stands here: write one value", node.kind())),
    }
}

/// A value as messages quote it.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MOST_QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", text.split_at(end).0),
    }
}

fn sample(known: &[&str]) -> String {
    known.first().map_or_else(String::new, |key| format!("lines of `key: value`, like `{key}: …`"))
}

fn unknown(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|k| (distance(&plain(key), &plain(k)), *k)).min();
    let remedy = match nearest {
        Some((steps, near)) if steps <= 2 => format!("did you mean {near}?"),
        _ => format!("remove it; known are {}", known.join(", ")),
    };
    format!("unknown key {}: {remedy}", quoted(key))
}

/// A key without what is easily confused: case, `-` and `_`.
fn plain(key: &str) -> String {
    key.chars().take(40).filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Letters to change, add or leave out (Levenshtein) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
