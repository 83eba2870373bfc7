//! What happened, readable.

use std::collections::VecDeque;
use std::fmt::Write as _;

use clarion_l2::machine::Event;

/// Lines kept.
const LINES: usize = 4000;

enum What {
    Text(String),
    Node(usize, Event),
}

#[derive(Default)]
pub(crate) struct Timeline {
    lines: VecDeque<(u64, What)>,
    collections: u64,
    fenced: u64,
}

impl Timeline {
    fn add(&mut self, now: u64, what: What) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((now, what));
    }

    pub(crate) fn push(&mut self, now: u64, text: String) {
        self.add(now, What::Text(text));
    }

    pub(crate) fn event(&mut self, now: u64, node: usize, event: Event) {
        // The first second is booting.
        let settled = now > 1000 * super::MS;
        self.collections += u64::from(settled && matches!(event, Event::Collecting(..)));
        self.fenced += u64::from(settled && event == Event::Fenced);
        self.add(now, What::Node(node, event));
    }

    /// How often a voter suspected a peer, and how often a node was fenced.
    pub(crate) fn suspicions(&self) -> (u64, u64) {
        (self.collections, self.fenced)
    }

    /// The lines between two times.
    pub(crate) fn between(&self, from: u64, until: u64) -> String {
        let mut text = String::new();
        for (at, what) in self.lines.iter().filter(|(at, _)| (from..=until).contains(at)) {
            let _ = match what {
                What::Text(line) => writeln!(text, "{:>12.3} ms  {line}", *at as f64 / 1e6),
                What::Node(node, event) => {
                    writeln!(
                        text,
                        "{:>12.3} ms  node {node}: {}",
                        *at as f64 / 1e6,
                        by_index(&format!("{event:?}"))
                    )
                }
            };
        }
        text
    }
}

/// Faults count nodes from 0, ids from 1: the former everywhere.
fn by_index(text: &str) -> String {
    let mut parts = text.split("NodeId(");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')').map(|(id, rest)| (id.parse::<u64>(), rest)) {
            Some((Ok(id), rest)) => {
                let _ = write!(out, "node {}{rest}", id.wrapping_sub(1));
            }
            _ => out.push_str(part),
        }
    }
    out
}

/// The q-quantile of sorted values.
pub(crate) fn quantile(sorted: &[u64], q: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * q).round() as usize;
    sorted.get(at).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
}
