//! What can become of a frame that concerns us: one counter each, one verdict each.
//!
//! The names are label values of the agent's metrics; changing one breaks
//! dashboards. Frames that are neither ARP nor a neighbour solicitation or
//! advertisement nor a signal leave before there is an outcome: counting them would
//! be most of what they cost, and the interface counts them already.

/// What the kernel does with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// On to the host, unchanged.
    Pass,
    /// Nobody sees it.
    Drop,
    /// Turned into the answer and sent back where it came from.
    Answer,
}

macro_rules! outcomes {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal, $verdict:ident;)+) => {
        /// What became of a frame. The number is its counter's index.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Outcome { $($(#[$doc])+ $variant,)+ }

        /// All outcomes, by index.
        pub const OUTCOMES: &[Outcome] = &[$(Outcome::$variant,)+];

        impl Outcome {
            /// The name in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What the kernel does with the frame.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)+ }
            }
        }
    };
}

outcomes! {
    /// An ARP request for an address of ours, answered.
    ArpAnswered = "arp_answered", Answer;
    /// An ARP probe (sender 0.0.0.0, RFC 5227 §2.1.1) for an address of ours,
    /// answered: whoever probes wanted to take it.
    ArpProbeAnswered = "arp_probe_answered", Answer;
    /// An ARP request for an address that another node answers.
    ArpSilenced = "arp_silenced", Drop;
    /// An ARP request for an address that is not managed on this interface.
    ArpOther = "arp_other", Pass;
    /// ARP that asks nothing: a reply, an announcement (RFC 5227 §3), another operation.
    ArpNoRequest = "arp_no_request", Pass;
    /// ARP whose sender claims an answered address from another MAC (RFC 5227 §2.4).
    ArpConflict = "arp_conflict", Pass;
    /// ARP for one of our addresses, unicast to another station (seen when
    /// the interface is promiscuous).
    ArpElsewhere = "arp_elsewhere", Pass;
    /// Truncated ARP, or not Ethernet and IPv4, or with an impossible sender.
    ArpMalformed = "arp_malformed", Pass;
    /// A neighbour solicitation for an address of ours, answered.
    NdpAnswered = "ndp_answered", Answer;
    /// A solicitation from `::`, duplicate address detection, for an address of
    /// ours, defended (RFC 4862 §5.4.3).
    NdpDadAnswered = "ndp_dad_answered", Answer;
    /// A solicitation for an address that another node answers.
    NdpSilenced = "ndp_silenced", Drop;
    /// A solicitation for an address that is not managed on this interface.
    NdpOther = "ndp_other", Pass;
    /// A neighbour advertisement that takes nothing of ours.
    NdpAdvertisement = "ndp_advertisement", Pass;
    /// An advertisement for an answered address, or a solicitation sent from
    /// one, by another MAC.
    NdpConflict = "ndp_conflict", Pass;
    /// A solicitation for one of our addresses, sent to another station's address.
    NdpElsewhere = "ndp_elsewhere", Pass;
    /// Truncated, or about a managed address and against RFC 4861 §7.1.
    NdpMalformed = "ndp_malformed", Pass;
    /// A valid solicitation that cannot be answered in place: more options than
    /// the program reads, or the driver gave no room for the answer.
    NdpUnanswerable = "ndp_unanswerable", Pass;
    /// About a managed address, but the agent's last heartbeat is older than the
    /// restart grace.
    Stale = "stale", Pass;
    /// About an address that this node owns, while its leases are no majority or it has
    /// begun anew as another incarnation.
    Fenced = "fenced", Drop;
    /// ARP, a solicitation or an advertisement behind two VLAN tags (802.1ad):
    /// no address is served there.
    VlanStacked = "vlan_stacked", Pass;
    /// A peer's probe, answered.
    SignalProbeAnswered = "signal_probe_answered", Answer;
    /// A probe that is not newer than what was heard of the peer before: replayed,
    /// doubled or overtaken. The answer says nothing that the last one did not.
    SignalReplayAnswered = "signal_replay_answered", Answer;
    /// A probe of an incarnation before the newest heard. The answer tells a node
    /// whose clock was set back that it needs a greater one.
    SignalOlderAnswered = "signal_older_answered", Answer;
    /// A probe of a node that is not watched here, answered and forgotten.
    SignalStrangerAnswered = "signal_stranger_answered", Answer;
    /// A peer's answer to a probe of ours.
    SignalTaken = "signal_taken", Drop;
    /// An answer that is not newer than what was heard of the peer before.
    SignalReplayed = "signal_replayed", Drop;
    /// An answer of an incarnation before the newest heard.
    SignalOlder = "signal_older", Drop;
    /// An answer of a node that is not watched here.
    SignalStranger = "signal_stranger", Drop;
    /// It was asked for a promise about another node, and promised.
    SignalPromised = "signal_promised", Answer;
    /// It was asked for a promise that it cannot give.
    SignalRefused = "signal_refused", Drop;
    /// Another node's promise, kept for the agent.
    SignalVote = "signal_vote", Drop;
    /// The same, but the agent has left too many unread: this one goes to its socket.
    SignalVoteUnread = "signal_vote_unread", Pass;
    /// Another CPU was changing the peer's record: as if the signal were lost.
    SignalBusy = "signal_busy", Drop;
    /// A signal to this node whose tag is wrong: forged or damaged.
    SignalForged = "signal_forged", Drop;
    /// A signal to this node under a key that is not valid here.
    SignalUnknownKey = "signal_unknown_key", Drop;
    /// A signal to another node, on its way through this one.
    SignalElsewhere = "signal_elsewhere", Pass;
    /// A signal while the agent's last heartbeat is older than the restart grace.
    SignalStale = "signal_stale", Pass;
    /// A datagram of a signal's length that is cut short, or that claims to come from
    /// or go to a group.
    SignalMalformed = "signal_malformed", Pass;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_order_agree_and_names_are_distinct() {
        for (index, outcome) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
            assert!(OUTCOMES[..index].iter().all(|earlier| earlier.name() != outcome.name()));
        }
    }
}
