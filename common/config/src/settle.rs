//! Which version of each object is in force.
//!
//! What is in force already has precedence over what is new (`precedence.rs` has the whole
//! order): a pool that is edited into another one's range is the offender, not the pool whose
//! addresses are in use. Among new versions the older object has precedence, so the
//! **youngest offender alone** is set aside, and its last good version stays in force.
//!
//! The set that was in force before is free of conflicts, and so is every part of it. Hence
//! falling back always ends, at the latest with exactly that set.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::Wrong;
use crate::model::{ObjectRef, Problem};
use crate::precedence::Word;

/// An object on its way into the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<T> {
    pub(crate) object: ObjectRef,
    /// What it says, or why that cannot be read.
    pub(crate) parsed: Result<T, Wrong>,
    /// What of it is in force so far.
    pub(crate) previous: Option<T>,
    /// What the controller has said of it as it is written.
    pub(crate) word: Option<Word>,
}

/// What parsing finds besides the configuration.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    /// Objects that have a problem and are in force as written all the same.
    pub(crate) in_part: BTreeSet<ObjectRef>,
}

impl<T> Candidate<T> {
    pub(crate) fn problem(&self, wrong: Wrong) -> Problem {
        Problem {
            object: self.object.clone(),
            field: wrong.field,
            message: wrong.message,
            last_good_kept: self.previous.is_some(),
        }
    }
}

/// What has been accepted so far, and whether one more is in its way.
pub(crate) trait Ledger<T>: Clone {
    /// Why this value cannot be in force beside those entered.
    fn conflict(&self, name: &str, value: &T) -> Option<Wrong>;
    /// Enters a value. Only called for values without conflict.
    fn enter(&mut self, name: &str, value: &T);
}

/// For kinds whose objects cannot be in each other's way.
#[derive(Clone)]
pub(crate) struct NoConflicts;

impl<T> Ledger<T> for NoConflicts {
    fn conflict(&self, _: &str, _: &T) -> Option<Wrong> {
        None
    }
    fn enter(&mut self, _: &str, _: &T) {}
}

/// Chooses a version of every candidate. `candidates` are oldest first, `empty` is a ledger
/// without entries.
///
/// One pass can refuse an object for another that the same pass refuses later, so passes go
/// on until one changes nothing: whoever settles again with the outcome gets the outcome.
pub(crate) fn settle<T: Clone + PartialEq>(
    candidates: &[Candidate<T>],
    empty: &impl Ledger<T>,
    findings: &mut Findings,
) -> BTreeMap<String, T> {
    let mut candidates = candidates.to_vec();
    // Each pass but the last admits something that stays; the bound is for what nobody foresaw.
    let mut left = candidates.len();
    loop {
        let mut found = Findings::default();
        let settled = pass(&candidates, empty, &mut found);
        let in_force = |candidate: &Candidate<T>| settled.get(&candidate.object.name);
        if left == 0 || candidates.iter().all(|candidate| candidate.previous.as_ref() == in_force(candidate))
        {
            findings.problems.append(&mut found.problems);
            findings.in_part.append(&mut found.in_part);
            return settled;
        }
        for candidate in &mut candidates {
            candidate.previous = settled.get(&candidate.object.name).cloned();
        }
        left -= 1;
    }
}

/// What is in force after one look at what was.
fn pass<T: Clone + PartialEq>(
    candidates: &[Candidate<T>],
    empty: &impl Ledger<T>,
    findings: &mut Findings,
) -> BTreeMap<String, T> {
    // In force: those unchanged, and the last good versions of those set aside.
    let mut kept: BTreeMap<String, T> = BTreeMap::new();
    let mut pending: Vec<(&Candidate<T>, &T)> = Vec::new();
    for candidate in candidates {
        match &candidate.parsed {
            Ok(value) if candidate.previous.as_ref() != Some(value) => pending.push((candidate, value)),
            Ok(value) => {
                kept.insert(candidate.object.name.clone(), value.clone());
            }
            Err(wrong) => {
                findings.problems.push(candidate.problem(wrong.clone()));
                if let Some(previous) = &candidate.previous {
                    kept.insert(candidate.object.name.clone(), previous.clone());
                }
            }
        }
    }
    // Oldest first; those that the controller has refused already come last.
    pending.sort_by_key(|(candidate, _)| candidate.word == Some(Word::SetAside));
    loop {
        match admit(&kept, &pending, empty) {
            Admission::All(settled) => {
                report_kept(candidates, &kept, empty, findings);
                return settled;
            }
            Admission::Refused { index, wrong } => {
                let (candidate, _) = pending.remove(index);
                findings.problems.push(candidate.problem(wrong));
                if let Some(previous) = &candidate.previous {
                    kept.insert(candidate.object.name.clone(), previous.clone());
                }
            }
        }
    }
}

enum Admission<T> {
    All(BTreeMap<String, T>),
    Refused { index: usize, wrong: Wrong },
}

/// Enters what is in force, then the new versions by age, up to the first conflict.
fn admit<T: Clone>(
    kept: &BTreeMap<String, T>,
    pending: &[(&Candidate<T>, &T)],
    empty: &impl Ledger<T>,
) -> Admission<T> {
    let mut ledger = empty.clone();
    let mut settled = kept.clone();
    for (name, value) in kept {
        ledger.enter(name, value);
    }
    for (index, (candidate, value)) in pending.iter().enumerate() {
        let name = &candidate.object.name;
        if let Some(wrong) = ledger.conflict(name, value) {
            return Admission::Refused { index, wrong };
        }
        ledger.enter(name, value);
        settled.insert(name.clone(), (*value).clone());
    }
    Admission::All(settled)
}

/// What is in force can come into conflict without any edit of its own, when a thing that it
/// refers to changes. It stays, but somebody should know.
fn report_kept<T: PartialEq>(
    candidates: &[Candidate<T>],
    kept: &BTreeMap<String, T>,
    empty: &impl Ledger<T>,
    findings: &mut Findings,
) {
    let mut ledger = empty.clone();
    for candidate in candidates {
        let name = &candidate.object.name;
        let Some(value) = kept.get(name) else { continue };
        match ledger.conflict(name, value) {
            Some(wrong) if candidate.parsed.is_ok() => {
                findings.problems.push(candidate.problem(wrong));
                if candidate.parsed.as_ref() == Ok(value) {
                    findings.in_part.insert(candidate.object.clone());
                }
            }
            Some(_) => {}
            None => ledger.enter(name, value),
        }
    }
}
