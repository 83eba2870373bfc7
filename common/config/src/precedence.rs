//! Whose version comes first where two objects are in each other's way.
//!
//! One rule for controller, agents and CLI, so that they agree whatever each of them has
//! seen and whenever it was started:
//!
//! 1. What is in force stays in force. The controller that leads knows it from its memory, and
//!    after a restart from its own word, condition `Valid`=True for the object's present
//!    generation. All others believe the word first and their memory second.
//! 2. What is new comes next, oldest first: creationTimestamp, then name. An object edited since
//!    the controller's last word (`observedGeneration` is behind) is new.
//! 3. What the controller has refused as it is written (`Valid`=False for this generation) comes
//!    last: it is in force as soon as nothing is in its way.
//!
//! The word alone does not know what an object said before a bad edit. Whoever was started since
//! then does without the object until it is mended.

use clarion_api::{CONDITION_VALID, Configured, REASON_PARTLY_IN_FORCE};

use crate::settle::{Candidate, Ledger};

/// What the controller has said of an object as it is written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is in force, if perhaps not for everything that it asks for.
    InForce,
    /// It is not.
    SetAside,
}

/// The controller's word, if there is one for this generation.
pub(crate) fn word<K: Configured>(object: &K) -> Option<Word> {
    let condition = object.conditions().iter().find(|condition| condition.type_ == CONDITION_VALID)?;
    let observed = condition.observed_generation.unwrap_or_default();
    if observed != object.meta().generation.unwrap_or_default() {
        return None;
    }
    match (condition.status.as_str(), condition.reason.as_str()) {
        ("True", _) | ("False", REASON_PARTLY_IN_FORCE) => Some(Word::InForce),
        ("False", _) => Some(Word::SetAside),
        _ => None,
    }
}

/// Who parses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The controller that leads: its memory is what is in force.
    Leads,
    /// Everybody else: what the leader says is in force.
    Follows,
}

/// Where it is known from that something is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Memory,
    Word,
}

/// Corrects what the candidates have in force by memory (`previous`) with the controller's word.
pub(crate) fn recall<T: Clone + PartialEq>(
    candidates: &mut [Candidate<T>],
    empty: &impl Ledger<T>,
    role: Role,
) {
    let sources = match role {
        Role::Leads => [Source::Memory, Source::Word],
        Role::Follows => [Source::Word, Source::Memory],
    };
    let mut ledger = empty.clone();
    let mut in_force: Vec<Option<T>> = vec![None; candidates.len()];
    for source in sources {
        for (slot, candidate) in in_force.iter_mut().zip(&*candidates).filter(|(slot, _)| slot.is_none()) {
            let Some(value) = known(candidate, source, role) else { continue };
            // What the leader holds in force together stays so, whatever has become of it.
            let certain = (role, source) == (Role::Leads, Source::Memory);
            if certain || ledger.conflict(&candidate.object.name, value).is_none() {
                ledger.enter(&candidate.object.name, value);
                *slot = Some(value.clone());
            }
        }
    }
    for (slot, candidate) in in_force.into_iter().zip(candidates) {
        candidate.previous = slot;
    }
}

/// What of a candidate is in force by one source.
fn known<T: PartialEq>(candidate: &Candidate<T>, source: Source, role: Role) -> Option<&T> {
    let written = candidate.parsed.as_ref().ok();
    match source {
        Source::Word => written.filter(|_| candidate.word == Some(Word::InForce)),
        Source::Memory => {
            let denied = role == Role::Follows && candidate.word == Some(Word::SetAside);
            candidate.previous.as_ref().filter(|value| !(denied && written == Some(*value)))
        }
    }
}
