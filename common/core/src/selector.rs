//! Label selectors (metav1.LabelSelector), checked once when they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Selects objects by their labels: every requirement must hold. Empty selects all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

/// The operators of metav1.LabelSelectorRequirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label is missing or has another value.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

/// A selector that the API server would refuse too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorError {
    /// Not one of In, NotIn, Exists, DoesNotExist.
    UnknownOperator(String),
    /// In and NotIn need at least one value.
    NoValues(String),
    /// Exists and DoesNotExist take none.
    UnexpectedValues(String),
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOperator(op) => {
                write!(
                    f,
                    "invalid label selector: operator {op:?} is none of In, NotIn, Exists, DoesNotExist"
                )
            }
            Self::NoValues(key) => write!(f, "invalid label selector: {key:?} needs values for In and NotIn"),
            Self::UnexpectedValues(key) => {
                write!(f, "invalid label selector: {key:?} takes no values for Exists and DoesNotExist")
            }
        }
    }
}

impl std::error::Error for SelectorError {}

impl Requirement {
    /// Checks operator against values, as the API server does.
    ///
    /// # Errors
    /// See [`SelectorError`].
    pub fn new(
        key: impl Into<String>,
        operator: &str,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        let (key, values) = (key.into(), values.into_iter().collect::<BTreeSet<_>>());
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(SelectorError::UnknownOperator(other.to_owned())),
        };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => Err(SelectorError::NoValues(key)),
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Err(SelectorError::UnexpectedValues(key))
            }
            _ => Ok(Self { key, operator, values }),
        }
    }

    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl LabelSelector {
    /// All of `match_labels` and all of `requirements`, in a normal order, so that
    /// two selectors that say the same compare equal (duplicates are refused by that).
    #[must_use]
    pub fn new(match_labels: Labels, requirements: Vec<Requirement>) -> Self {
        let mut all: Vec<_> = match_labels
            .into_iter()
            .map(|(key, value)| Requirement { key, operator: Operator::In, values: BTreeSet::from([value]) })
            .chain(requirements)
            .collect();
        all.sort();
        all.dedup();
        Self { requirements: all }
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|r| r.matches(labels))
    }

    /// MetalLB's rule for lists: any of them; an empty list selects everything.
    #[must_use]
    pub fn any_matches(selectors: &[Self], labels: &Labels) -> bool {
        selectors.is_empty() || selectors.iter().any(|s| s.matches(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn requirement(operator: &str, values: &[&str]) -> Result<Requirement, SelectorError> {
        Requirement::new("tier", operator, values.iter().map(|v| (*v).to_owned()))
    }

    #[test]
    fn operators_match_as_in_kubernetes() {
        // (operator, values, matches {tier=a}, matches {tier=b}, matches {})
        let table: [(&str, &[&str], [bool; 3]); 4] = [
            ("In", &["a"], [true, false, false]),
            ("NotIn", &["a"], [false, true, true]),
            ("Exists", &[], [true, true, false]),
            ("DoesNotExist", &[], [false, false, true]),
        ];
        for (operator, values, expected) in table {
            let selector = LabelSelector::new(Labels::new(), vec![requirement(operator, values).unwrap()]);
            let seen = [&[("tier", "a")][..], &[("tier", "b")], &[]].map(|l| selector.matches(&labels(l)));
            assert_eq!(seen, expected, "{operator}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(requirement("Near", &["a"]), Err(SelectorError::UnknownOperator(_))));
        assert!(matches!(requirement("In", &[]), Err(SelectorError::NoValues(_))));
        assert!(matches!(requirement("Exists", &["a"]), Err(SelectorError::UnexpectedValues(_))));
    }

    #[test]
    fn selectors_that_say_the_same_are_equal() {
        let by_label = LabelSelector::new(labels(&[("tier", "a")]), vec![]);
        let by_expression = LabelSelector::new(Labels::new(), vec![requirement("In", &["a"]).unwrap()]);
        assert_eq!(by_label, by_expression);
    }

    #[test]
    fn an_empty_list_selects_everything_and_a_list_any() {
        let a = LabelSelector::new(labels(&[("tier", "a")]), vec![]);
        let b = LabelSelector::new(labels(&[("tier", "b")]), vec![]);
        assert!(LabelSelector::any_matches(&[], &labels(&[])));
        assert!(LabelSelector::any_matches(&[a.clone(), b], &labels(&[("tier", "b")])));
        assert!(!LabelSelector::any_matches(&[a], &labels(&[("tier", "b")])));
    }
}
