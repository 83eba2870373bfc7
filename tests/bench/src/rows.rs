//! The rows of one run, said aloud as they come.

use crate::row::Row;

/// Collects rows and notes. Progress goes to standard error, so that a table or
/// JSON on standard output stays clean.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Rows {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        eprintln!("  {} / {}: {:.2} {} (p50 of {})", row.group, row.name, row.p50, row.unit, row.runs);
        self.rows.push(row);
    }

    /// Adds a remark that a reader of the figures must know, such as what could
    /// not be measured here and why.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        eprintln!("  note: {text}");
        self.notes.push(text);
    }

    /// What was measured, in order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The remarks, in order.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
