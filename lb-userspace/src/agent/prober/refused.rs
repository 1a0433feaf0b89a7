//! Why a datagram that arrived is neither a reply nor a message.

use lb_common::outcome::Outcome;
use lb_core::failover::seal::Refusal;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It comes from a reflector's port, and its sender is no node that is probed.
    UnknownReflector,
    /// What a node reflects has not the discriminator that its Lease names.
    ForeignDiscriminator,
    /// It answers no probe, or one that counts as lost.
    StaleReply,
    /// It is no reply of a reflector.
    Reply(Outcome),
    /// It is no message of an agent.
    Message(Refusal),
}

/// What is no reply can be for these reasons.
const REPLY: [Outcome; 3] = [Outcome::BfdTruncated, Outcome::BfdVersion, Outcome::BfdMalformed];

impl Refused {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let own = [Self::UnknownReflector, Self::ForeignDiscriminator, Self::StaleReply];
        own.into_iter().chain(REPLY.map(Self::Reply)).chain(Refusal::ALL.map(Self::Message))
    }

    /// A name that stays the same, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownReflector => "unknown_reflector",
            Self::ForeignDiscriminator => "foreign_discriminator",
            Self::StaleReply => "stale_reply",
            Self::Reply(outcome) => outcome.name(),
            Self::Message(refusal) => refusal.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lb_common::packet::bfd::initiator::parse_control;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Refused::all().map(Refused::name).collect();
        assert_eq!(names.len(), Refused::all().count());
    }

    #[test]
    fn every_reason_is_explained() {
        let guide = include_str!("../../../../docs/troubleshooting.md");
        let (_, reasons) = guide.split_once("## Refused datagrams").unwrap();
        for reason in Refused::all().map(Refused::name) {
            assert!(reasons.contains(&format!("`{reason}`")), "{reason} is missing");
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_refused_for_a_reason_that_is_listed(
            mut datagram in proptest::collection::vec(any::<u8>(), 0..64),
            version in 0_u8..3,
        ) {
            if let Some(first) = datagram.first_mut() {
                *first = version << 5;
            }
            if let Err(outcome) = parse_control(&datagram) {
                let refused = Refused::Reply(outcome);
                prop_assert!(Refused::all().any(|known| known == refused), "{outcome:?}");
            }
        }
    }
}
