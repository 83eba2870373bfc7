//! Text to a tree of YAML nodes, in bounds, without judging anything.
//!
//! Scalars stay as they are written: whether `0123` is a number is for the field to say, and
//! a password must not change because it looks like one. Whoever may edit the ConfigMap must
//! not be able to stop a controller with it: size, depth and the number of nodes are bounded,
//! and an alias costs what it stands for, so that a few lines of them are no bomb.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

/// The API server stores no larger ConfigMap.
pub(super) const MOST_BYTES: usize = 1024 * 1024;
/// Nodes of a document, aliases counted as what they stand for. A pool of ten thousand
/// ranges is ten thousand.
pub(super) const MOST_NODES: usize = 100_000;
/// Levels; the format needs seven.
const DEEPEST: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Text as written, and whether it stands without quotes.
    Scalar { text: String, plain: bool },
    /// Entries in order.
    List(Vec<Arc<Node>>),
    /// Keys and values in order. A key given twice is there twice.
    Map(Vec<(String, Arc<Node>)>),
}

impl Node {
    /// Whether it says nothing: what Go leaves at its zero value.
    pub(super) fn is_null(&self) -> bool {
        let Self::Scalar { text, plain: true } = self else { return false };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar { .. } => "a value",
            Self::List(_) => "a list",
            Self::Map(_) => "keys and values",
        }
    }
}

/// Reads the first document of a text. An empty text is null.
///
/// # Errors
/// It is no YAML, too large, or says one thing in terms of itself; with the line.
pub(super) fn read(text: &str) -> Result<Arc<Node>, String> {
    if text.len() > MOST_BYTES {
        return Err(format!("it has {} bytes: write at most {MOST_BYTES}", text.len()));
    }
    let mut options = Options::default();
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| format!("line {}: {}", e.marker().line(), e.info()))?;
        builder.take(event).map_err(|why| format!("line {}: {why}", line(&span)))?;
    }
    let null = || Arc::new(Node::Scalar { text: String::new(), plain: true });
    Ok(builder.document.unwrap_or_else(null))
}

fn line(span: &Span) -> usize {
    span.start.line()
}

/// A collection that is not closed yet.
enum Open {
    List { anchor: usize, items: Vec<Arc<Node>>, weight: usize },
    Map { anchor: usize, entries: Vec<(String, Arc<Node>)>, key: Option<String>, weight: usize },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Closed nodes with an anchor, and how many nodes each stands for.
    anchors: BTreeMap<usize, (Arc<Node>, usize)>,
    nodes: usize,
    documents: usize,
    document: Option<Arc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("a second document begins: write all keys in one, without `---`".to_owned());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.add(Arc::new(Node::Scalar { text: text.into_owned(), plain }), anchor, 1)?;
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                let (node, weight) =
                    target.ok_or("an alias stands inside of what it refers to: write the values out")?;
                self.add(node, 0, weight)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.no_key("a list")?;
                self.open.push(Open::List { anchor, items: Vec::new(), weight: 1 });
            }
            Event::MappingStart(_, anchor, _) => {
                self.no_key("a map")?;
                self.open.push(Open::Map { anchor, entries: Vec::new(), key: None, weight: 1 });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            _ => {}
        }
        Ok(())
    }

    /// Refuses what can be no key where one is due.
    fn no_key(&self, what: &str) -> Result<(), String> {
        match self.open.last() {
            Some(Open::Map { key: None, .. }) => {
                Err(format!("{what} stands where a key should: write a word"))
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let (node, anchor, weight) = match self.open.pop() {
            Some(Open::List { anchor, items, weight }) => (Node::List(items), anchor, weight),
            Some(Open::Map { anchor, entries, weight, .. }) => (Node::Map(merged(entries)?), anchor, weight),
            None => return Ok(()),
        };
        // Its nodes have been counted one by one.
        self.nodes = self.nodes.saturating_sub(weight.saturating_sub(1));
        self.add(Arc::new(node), anchor, weight)
    }

    fn add(&mut self, node: Arc<Node>, anchor: usize, weight: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(weight);
        if self.nodes > MOST_NODES {
            return Err(format!("more than {MOST_NODES} values: write fewer, or larger ranges"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (Arc::clone(&node), weight));
        }
        match self.open.last_mut() {
            None => self.document = Some(node),
            Some(Open::List { items, weight: sum, .. }) => {
                items.push(node);
                *sum += weight;
            }
            Some(Open::Map { entries, key, weight: sum, .. }) => {
                *sum += weight;
                match key.take() {
                    Some(key) => entries.push((key, node)),
                    None => match node.as_ref() {
                        Node::Scalar { text, .. } => *key = Some(text.clone()),
                        other => return Err(format!("{} where a key should be: write a word", other.kind())),
                    },
                }
            }
        }
        Ok(())
    }
}

/// Entries with those of `<<` added where the map itself has none of that key.
fn merged(entries: Vec<(String, Arc<Node>)>) -> Result<Vec<(String, Arc<Node>)>, String> {
    if entries.iter().all(|(key, _)| key != "<<") {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key == "<<");
    let sources = merges.iter().flat_map(|(_, value)| match value.as_ref() {
        Node::List(list) => list.clone(),
        _ => vec![Arc::clone(value)],
    });
    for source in sources {
        let Node::Map(more) = source.as_ref() else {
            return Err("`<<` needs an alias of keys and values".to_owned());
        };
        for (key, value) in more {
            if own.iter().all(|(known, _)| known != key) {
                own.push((key.clone(), Arc::clone(value)));
            }
        }
    }
    Ok(own)
}
