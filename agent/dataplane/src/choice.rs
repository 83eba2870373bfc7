//! Where the program goes on an interface, and why there. Pure.
//!
//! Native XDP answers before a socket buffer is built. tc's ingress hook comes next: it
//! lets segmentation offloads and large frames alone, which generic XDP does not, and it
//! has room beside an XDP program of somebody else's. TCX (Linux 6.6) holds programs by
//! links, as XDP does; before it there is a classifier below a clsact queueing discipline.

use std::collections::BTreeSet;

use crate::model::{AttachMode, AttachedMode, ChoiceReason};

/// What is known of an interface when the choice is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// An XDP program of somebody else's is on it, or was a moment ago.
    pub(crate) foreign: bool,
    /// Modes that the driver or the kernel refused as the interface is now.
    pub(crate) refused: BTreeSet<AttachedMode>,
}

/// From the best to the last.
const ORDER: [AttachedMode; 4] =
    [AttachedMode::Native, AttachedMode::Tcx, AttachedMode::Clsact, AttachedMode::Generic];

/// Modes to try, the best first; each with the reason to give if it is the one.
pub(crate) fn choices(setting: AttachMode, facts: &Facts) -> Vec<(AttachedMode, ChoiceReason)> {
    let set = match setting {
        AttachMode::Auto => None,
        AttachMode::Native => Some(AttachedMode::Native),
        AttachMode::Generic => Some(AttachedMode::Generic),
        AttachMode::Tcx => Some(AttachedMode::Tcx),
        AttachMode::Clsact => Some(AttachedMode::Clsact),
    };
    if let Some(mode) = set {
        return vec![(mode, ChoiceReason::Set)];
    }
    // Two XDP programs have no room on one interface.
    let possible = |mode: &AttachedMode| !(facts.refused.contains(mode) || facts.foreign && mode.is_xdp());
    let reason = |mode| match mode {
        AttachedMode::Native => ChoiceReason::Driver,
        _ if facts.foreign => ChoiceReason::ForeignXdp,
        _ => ChoiceReason::DriverRefuses,
    };
    ORDER.into_iter().filter(possible).map(|mode| (mode, reason(mode))).collect()
}

/// Whether the mode is the best that can be had, and the reason for it; `None`: another
/// one is to be tried.
pub(crate) fn settled(setting: AttachMode, facts: &Facts, mode: AttachedMode) -> Option<ChoiceReason> {
    choices(setting, facts).first().filter(|(best, _)| *best == mode).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::AttachedMode::{Clsact, Generic, Native, Tcx};
    use super::ChoiceReason::{Driver, DriverRefuses, ForeignXdp, Set};
    use super::*;

    #[test]
    fn the_best_mode_that_is_left_is_chosen_with_its_reason() {
        type Case = (bool, &'static [AttachedMode], Option<(AttachedMode, ChoiceReason)>);
        let table: [Case; 9] = [
            (false, &[], Some((Native, Driver))),
            (false, &[Native], Some((Tcx, DriverRefuses))),
            (false, &[Native, Tcx], Some((Clsact, DriverRefuses))),
            (false, &[Native, Tcx, Clsact], Some((Generic, DriverRefuses))),
            (false, &[Native, Tcx, Clsact, Generic], None),
            (true, &[], Some((Tcx, ForeignXdp))),
            (true, &[Tcx], Some((Clsact, ForeignXdp))),
            (true, &[Native], Some((Tcx, ForeignXdp))),
            // Generic XDP has no room beside another program either.
            (true, &[Tcx, Clsact], None),
        ];
        for (foreign, refused, wanted) in table {
            let facts = Facts { foreign, refused: refused.iter().copied().collect() };
            let all = choices(AttachMode::Auto, &facts);
            assert_eq!(all.first().copied(), wanted, "{facts:?}");
            for mode in ORDER {
                let expected = wanted.filter(|(best, _)| *best == mode).map(|(_, reason)| reason);
                assert_eq!(settled(AttachMode::Auto, &facts, mode), expected, "{facts:?} {mode}");
            }
        }
    }

    #[test]
    fn a_mode_that_is_set_is_the_only_one_whatever_is_known() {
        let facts = Facts { foreign: true, refused: ORDER.into() };
        let settings = [
            (AttachMode::Native, Native),
            (AttachMode::Generic, Generic),
            (AttachMode::Tcx, Tcx),
            (AttachMode::Clsact, Clsact),
        ];
        for (setting, mode) in settings {
            assert_eq!(choices(setting, &facts), [(mode, Set)]);
        }
    }
}
