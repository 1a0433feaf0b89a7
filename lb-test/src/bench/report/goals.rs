//! What was to be reached, and where it was not, what was tried.

use super::super::plan::{FAMILIES, Family};

/// A goal; the order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goal {
    ArpHit,
    NsHit,
    PassInstructions,
    PassTime,
    OfKernel(Family),
    OfSwap(Family),
    Scaling(Family),
    Distinct(Family),
    Verifier,
    Resident(Size),
    Idle(Size),
}

/// Addresses of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    /// Ten.
    Few,
    /// 100,000.
    Many,
}

/// What came out.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) value: String,
    pub(super) met: bool,
}

impl Goal {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let first = [Self::ArpHit, Self::NsHit, Self::PassInstructions, Self::PassTime];
        let pairs = [Self::OfKernel, Self::OfSwap, Self::Scaling, Self::Distinct];
        let pairs = pairs.into_iter().flat_map(|goal| FAMILIES.map(goal));
        let agent =
            [Self::Resident, Self::Idle].into_iter().flat_map(|goal| [Size::Few, Size::Many].map(goal));
        first.into_iter().chain(pairs).chain([Self::Verifier]).chain(agent)
    }

    /// As the table says it.
    pub(super) fn text(self) -> String {
        match self {
            Self::ArpHit => "program time of an ARP hit ≤ the bare MAC swap + 45 ns".to_owned(),
            Self::NsHit => "program time of an NS hit ≤ 2.5 × an ARP hit".to_owned(),
            Self::PassInstructions => {
                "IPv4 TCP passes in ≤ 14 translated instructions, no map access".to_owned()
            }
            Self::PassTime => "IPv4 TCP passes in ≤ 4 ns over an empty program".to_owned(),
            Self::OfKernel(family) => format!("{}: answers/s ≥ 3 × the kernel's own", family.name()),
            Self::OfSwap(family) => format!("{}: answers/s ≥ 85 % of the bare MAC swap", family.name()),
            Self::Scaling(family) => {
                format!(
                    "{}: processor time per answer with 100,000 addresses ≤ 1.5 × with ten",
                    family.name()
                )
            }
            Self::Distinct(family) => {
                format!(
                    "{}: 1,000,000 distinct requesters all answered, neighbour table unchanged",
                    family.name()
                )
            }
            Self::Verifier => "instructions the verifier processes ≤ 5,000".to_owned(),
            Self::Resident(Size::Few) => "agent: resident memory with ten addresses ≤ 15 MiB".to_owned(),
            Self::Resident(Size::Many) => "agent: resident memory with 100,000 addresses ≤ 60 MiB".to_owned(),
            Self::Idle(Size::Few) => {
                "agent: idle processor time with ten addresses ≤ 0.1 % of a core".to_owned()
            }
            Self::Idle(Size::Many) => {
                "agent: idle processor time with 100,000 addresses ≤ 1 % of a core".to_owned()
            }
        }
    }

    /// What was tried so far, shown where the goal is missed.
    pub(super) fn tried(self) -> &'static str {
        match self {
            Self::ArpHit => "docs/adr/0009: two look-ups (target and sender) are most of it",
            Self::Scaling(_) => {
                "docs/adr/0009: look-up and counters of so many addresses do not fit the caches"
            }
            Self::OfKernel(_) => {
                "of more than two million requests a second most are lost before anybody sees them, and how many \
                 differs by responder; compare processor time per answer"
            }
            Self::OfSwap(_) => {
                "one thread of this bed makes the requests and checks the answers; where it is the limit, compare \
                 processor time per answer"
            }
            Self::Resident(Size::Many) => {
                "each Service, decision and verdict is kept as a value of its own: the next thing to pack"
            }
            Self::Idle(Size::Many) => {
                "the table is read back twice a second with the kernel's batch look-up, which is most of it"
            }
            Self::NsHit
            | Self::PassInstructions
            | Self::PassTime
            | Self::Distinct(_)
            | Self::Verifier
            | Self::Resident(Size::Few)
            | Self::Idle(Size::Few) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_goal_once_in_order() {
        let all: Vec<_> = Goal::all().collect();
        assert!(all.is_sorted_by(|a, b| a != b));
        let mut texts: Vec<_> = all.iter().map(|goal| goal.text()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), all.len());
    }
}
