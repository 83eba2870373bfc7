//! What all kinds have to check: numbers in bounds, names given once, label selectors.
//!
//! Field paths are those of the API server (`spec.addresses[2]`), and the words those of
//! MetalLB where it has some, because that is what people search for.

use std::collections::BTreeSet;
use std::fmt;

use clarion_core::{LabelSelector, Requirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;

/// What is wrong with an object: the field, and message with remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Wrong {
    pub(crate) fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }
}

/// A number in bounds, both included.
pub(crate) fn number<T>(field: &str, value: i64, min: T, max: T) -> Result<T, Wrong>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display + Copy,
{
    match T::try_from(value) {
        Ok(n) if n >= min && n <= max => Ok(n),
        _ => Err(Wrong::new(field, format!("invalid value {value}, must be in {min}-{max} range"))),
    }
}

/// The entries as a set; an entry given twice is refused as MetalLB refuses it.
pub(crate) fn unique(field: &str, what: &str, entries: &[String]) -> Result<BTreeSet<String>, Wrong> {
    let mut seen = BTreeSet::new();
    for (i, entry) in entries.iter().enumerate() {
        if !seen.insert(entry.clone()) {
            let message = format!("duplicate definition of {what} {entry:?}: remove one of them");
            return Err(Wrong::new(format!("{field}[{i}]"), message));
        }
    }
    Ok(seen)
}

/// A list of label selectors; the same selector twice is refused.
pub(crate) fn selectors(field: &str, list: &[v1::LabelSelector]) -> Result<Vec<LabelSelector>, Wrong> {
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::with_capacity(list.len());
    for (i, one) in list.iter().enumerate() {
        let at = format!("{field}[{i}]");
        let one = selector(&at, one)?;
        if !seen.insert(one.clone()) {
            let name = field.rsplit('.').next().unwrap_or(field);
            return Err(Wrong::new(at, format!("duplicate definition of {name}: remove one of them")));
        }
        parsed.push(one);
    }
    Ok(parsed)
}

/// One label selector.
pub(crate) fn selector(field: &str, one: &v1::LabelSelector) -> Result<LabelSelector, Wrong> {
    let labels = one.match_labels.clone().unwrap_or_default();
    let expressions = one.match_expressions.as_deref().unwrap_or_default().iter().enumerate();
    let requirements = expressions
        .map(|(i, e)| {
            let values = e.values.clone().unwrap_or_default();
            Requirement::new(e.key.clone(), &e.operator, values)
                .map_err(|error| Wrong::new(format!("{field}.matchExpressions[{i}]"), error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(LabelSelector::new(labels, requirements))
}

/// A text that Go's clients leave empty when it is not set.
pub(crate) fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|t| !t.is_empty())
}
