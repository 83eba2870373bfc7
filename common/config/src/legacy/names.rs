//! Names for objects that are made of entries.
//!
//! Live, a pool keeps the name that is written, whatever it is: Services ask for it by that
//! name. An object of the API needs a DNS name, so converting may have to make another one;
//! the same text always gives the same names.

use std::collections::BTreeSet;

/// How entries are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As written: for reading the ConfigMap live.
    AsWritten,
    /// As the API server takes them (RFC 1123): for objects to be applied.
    Dns,
}

/// Longest name that is made up (RFC 1123 label).
const LONGEST_LABEL: usize = 63;
/// Longest name of an object.
pub(super) const LONGEST_NAME: usize = 253;

/// Names of one kind given so far.
#[derive(Debug)]
pub(super) struct Names {
    naming: Naming,
    taken: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(naming: Naming) -> Self {
        Self { naming, taken: BTreeSet::new() }
    }

    /// The name for an entry that is called so. Never the same twice.
    pub(super) fn give(&mut self, written: &str) -> String {
        let name = match self.naming {
            Naming::AsWritten => written.to_owned(),
            Naming::Dns if is_object_name(written) => written.to_owned(),
            Naming::Dns => label(written),
        };
        let mut free = name.clone();
        for n in 2_usize.. {
            if self.taken.insert(free.clone()) {
                break;
            }
            let suffix = format!("-{n}");
            let room = LONGEST_NAME - suffix.len();
            free = format!("{}{suffix}", cut(&name, room).trim_end_matches(['-', '.']));
        }
        free
    }
}

/// Whether the API server takes it as a name (RFC 1123 subdomain).
fn is_object_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

/// A DNS label that resembles the text.
pub(super) fn label(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = text.chars().map(letter).collect();
    let label = cut(label.trim_matches('-'), LONGEST_LABEL).trim_end_matches('-');
    if label.is_empty() { "unnamed".to_owned() } else { label.to_owned() }
}

/// The beginning of a text. It consists of ASCII or is cut at a letter's end.
fn cut(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.split_at(end).0
}
