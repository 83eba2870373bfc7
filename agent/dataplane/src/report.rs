//! What became of each item of a plan.

use std::fmt;
use std::path::PathBuf;

use crate::error::ItemError;
use crate::model::{AddressKey, AttachedMode, ChoiceReason, Entry};

/// One thing that was done, or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// An address was written.
    Set(AddressKey, Entry),
    /// An address was removed.
    Remove(AddressKey),
    /// The program was attached, or replaced its predecessor; where it runs and why
    /// (`None`: it does not).
    Attach(u32, Option<(AttachedMode, ChoiceReason)>),
    /// The program was detached.
    Detach(u32),
    /// The pins of an interface that is gone were removed.
    Forget(u32),
    /// A pin was made.
    Pin(PathBuf),
    /// The filter was written.
    Filter,
}

/// In an operator's words, for `/readyz` and the log.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(key, Entry::Answer { .. } | Entry::Owned { .. }) => write!(f, "answer for {key}"),
            Self::Set(key, Entry::Silence) => write!(f, "keep silent for {key}"),
            Self::Remove(key) => write!(f, "give up {key}"),
            Self::Attach(ifindex, None) => write!(f, "attach the program to interface {ifindex}"),
            Self::Attach(ifindex, Some((mode, reason))) => {
                write!(f, "attach the program to interface {ifindex} in {mode} mode, since {reason}")
            }
            Self::Detach(ifindex) => write!(f, "detach the program from interface {ifindex}"),
            Self::Forget(ifindex) => write!(f, "forget interface {ifindex}, which is gone"),
            Self::Pin(path) => write!(f, "pin {}", path.display()),
            Self::Filter => f.write_str("write the address filter"),
        }
    }
}

/// An action and its result.
#[derive(Debug)]
pub struct Item {
    /// What was tried.
    pub action: Action,
    /// How it went.
    pub result: Result<(), ItemError>,
}

/// All that `apply` did, in order; it goes on after a failure.
#[derive(Debug, Default)]
pub struct Report {
    /// One item per change.
    pub items: Vec<Item>,
}

impl Report {
    pub(crate) fn push(&mut self, action: Action, result: Result<(), ItemError>) {
        self.items.push(Item { action, result });
    }

    /// The items that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&Action, &ItemError)> {
        self.items.iter().filter_map(|item| item.result.as_ref().err().map(|error| (&item.action, error)))
    }

    /// Whether everything worked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failures().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_read_as_an_operator_would_say_them() {
        let key = AddressKey { ifindex: 2, vlan: 100, address: [192, 0, 2, 1].into() };
        let answer = Entry::Answer { mac: [2, 0, 0, 0, 0, 1], epoch: 7 };
        let table = [
            (Action::Set(key, answer), "answer for 192.0.2.1 on interface 2 VLAN 100"),
            (Action::Set(key, Entry::Silence), "keep silent for 192.0.2.1 on interface 2 VLAN 100"),
            (Action::Remove(key), "give up 192.0.2.1 on interface 2 VLAN 100"),
            (Action::Attach(2, None), "attach the program to interface 2"),
            (
                Action::Attach(2, Some((AttachedMode::Tcx, ChoiceReason::ForeignXdp))),
                "attach the program to interface 2 in tcx mode, since another XDP program is on the interface",
            ),
            (Action::Detach(2), "detach the program from interface 2"),
            (Action::Forget(2), "forget interface 2, which is gone"),
            (Action::Pin("/sys/fs/bpf/x".into()), "pin /sys/fs/bpf/x"),
            (Action::Filter, "write the address filter"),
        ];
        for (action, text) in table {
            assert_eq!(action.to_string(), text);
        }
    }
}
