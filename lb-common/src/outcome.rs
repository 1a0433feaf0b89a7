//! The vocabulary: everything that can happen to a frame has exactly one name.
//!
//! The BPF program uses the number as index into the map `OUTCOMES`, metrics use [`Outcome::name`] as label,
//! tests as the expected value and `barelb inspect` as text. Ids in comments are those of the conformance
//! table (`tests/vectors`).

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $verdict:ident;)*) => {
        /// What happened to one frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Outcome { $($(#[$doc])* $variant = $number,)* }

        impl Outcome {
            /// Every outcome, in numeric order.
            pub const ALL: [Self; COUNT as usize] = [$(Self::$variant,)*];

            /// Stable snake-case name: metric label and text of `barelb inspect`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the program does with the frame. No wildcard: a new outcome must choose.
            #[inline(always)]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)* }
            }
        }

        /// Number of outcomes, the size of the map `OUTCOMES`.
        pub const COUNT: u32 = [$($name,)*].len() as u32;
    };
}

/// What the program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Rewritten in place and sent back (`XDP_TX`).
    Answer,
    /// Handed to the stack, not one byte changed (`XDP_PASS`). There is no drop.
    Pass,
}

outcomes! {
    /// Neither ARP nor a neighbour solicitation or advertisement nor a liveness probe. Never counted: this path reads no map.
    Ignored = 0, "ignored", Pass;

    /// ARP request answered (RFC 826).
    ArpReply = 1, "arp_reply", Answer;
    /// ARP probe, sender 0.0.0.0, answered: that is the defence (RFC 5227 section 2.1.1).
    ArpProbeReply = 2, "arp_probe_reply", Answer;
    /// Answered to the sender hardware address, which is not the Ethernet source (A35).
    ArpMismatchReply = 3, "arp_mismatch_reply", Answer;
    /// Neighbour solicitation answered (RFC 4861 section 7.2.4).
    NdAdvert = 4, "nd_advert", Answer;
    /// Duplicate address detection answered to all nodes (RFC 4862 section 5.4.3).
    NdDadAdvert = 5, "nd_dad_advert", Answer;
    /// Answered to the source link-layer option, which is not the Ethernet source (N22).
    NdMismatchAdvert = 6, "nd_mismatch_advert", Answer;

    /// Another station claims one of our addresses by ARP (RFC 5227 section 2.4; A10, A12, A13, A15).
    ArpConflict = 7, "arp_conflict", Pass;
    /// Another station claims one of our addresses by neighbour discovery (N30, N40).
    NdConflict = 8, "nd_conflict", Pass;

    /// Our own hardware address as sender: a loop or a reflected announcement (A11, A37).
    OwnFrame = 9, "own_frame", Pass;
    /// The target is no address of ours on this link and VLAN (A07, A38, V01, N25).
    ArpUnknownTarget = 10, "arp_unknown_target", Pass;
    /// As [`Outcome::ArpUnknownTarget`], for neighbour discovery.
    NdUnknownTarget = 11, "nd_unknown_target", Pass;
    /// The address is ours to take over, not to answer (A41).
    Standby = 12, "standby", Pass;
    /// The agent's deadline has passed (A39).
    Expired = 13, "expired", Pass;
    /// Ethernet destination is another station or a group ARP does not use (A04, A05, N28).
    OtherDestination = 14, "other_destination", Pass;
    /// Ethernet source is a group address (A36).
    EthernetSource = 15, "ethernet_source", Pass;
    /// The frame spans several buffers or is longer than a neighbour message can be (A45).
    Oversized = 16, "oversized", Pass;
    /// The driver had no room to grow or trim the frame (`bpf_xdp_adjust_tail`).
    NoRoom = 17, "no_room", Pass;
    /// VLAN id 4095, or a priority tag inside a stack of tags (V07).
    VlanReserved = 18, "vlan_reserved", Pass;

    /// Shorter than 28 bytes of ARP (A27).
    ArpTruncated = 19, "arp_truncated", Pass;
    /// Hardware type is neither Ethernet nor IEEE 802 (A23).
    ArpHardwareType = 20, "arp_hardware_type", Pass;
    /// Protocol type is not IPv4 (A24).
    ArpProtocolType = 21, "arp_protocol_type", Pass;
    /// Address lengths are not 6 and 4 (A25, A26).
    ArpAddressLength = 22, "arp_address_length", Pass;
    /// Operation is neither request nor reply (A20).
    ArpOperation = 23, "arp_operation", Pass;
    /// A reply that claims nothing of ours (A14, A21).
    ArpReplySeen = 24, "arp_reply_seen", Pass;
    /// Sender hardware address is zero, a group or broadcast (A32, A33, A34; RFC 1812 section 3.3.2).
    ArpSenderHardware = 25, "arp_sender_hardware", Pass;
    /// Sender address can be nobody's: broadcast, multicast, loopback (A18; RFC 1122 section 3.2.1.3).
    ArpSenderAddress = 26, "arp_sender_address", Pass;

    /// Shorter than its own length fields say, or than a neighbour message (N11, N14, N37).
    NdTruncated = 27, "nd_truncated", Pass;
    /// Hop limit is not 255 (N08).
    NdHopLimit = 28, "nd_hop_limit", Pass;
    /// Code is not 0 (N10).
    NdCode = 29, "nd_code", Pass;
    /// Checksum is wrong (N09).
    NdChecksum = 30, "nd_checksum", Pass;
    /// An option of length 0 or one that overruns the message (N12, N16).
    NdOption = 31, "nd_option", Pass;
    /// More options than are looked at (N36).
    NdOptionLimit = 32, "nd_option_limit", Pass;
    /// Source link-layer option of a wrong length, or zero, a group or broadcast (N20, N21).
    NdSourceLinkLayer = 33, "nd_source_link_layer", Pass;
    /// Multicast solicitation without a source link-layer option (N04).
    NdNoSourceLinkLayer = 34, "nd_no_source_link_layer", Pass;
    /// Target is multicast (N13).
    NdTarget = 35, "nd_target", Pass;
    /// Source address is multicast or loopback (N29).
    NdSource = 36, "nd_source", Pass;
    /// Destination is neither the target, its solicited-node group nor all nodes (N06, N26).
    NdDestination = 37, "nd_destination", Pass;
    /// Duplicate address detection with a source link-layer option (N07).
    NdDadOption = 38, "nd_dad_option", Pass;
    /// Hop-by-hop or destination options before ICMPv6 (N32).
    NdExtensionHeader = 39, "nd_extension_header", Pass;
    /// An advertisement that claims nothing of ours.
    NdAdvertSeen = 40, "nd_advert_seen", Pass;

    /// Liveness probe reflected (RFC 7880 section 7.2; S01, S02).
    BfdReply = 41, "bfd_reply", Answer;
    /// Probe to an address that is not ours on this link (S20).
    BfdUnknownTarget = 42, "bfd_unknown_target", Pass;
    /// Probe with another discriminator than this node's (S21).
    BfdDiscriminator = 43, "bfd_discriminator", Pass;
    /// Probe from an address that is no member's on this link (S22).
    BfdStranger = 44, "bfd_stranger", Pass;
    /// Probe from a member's address, but another hardware address (S23).
    BfdSenderHardware = 45, "bfd_sender_hardware", Pass;
    /// A member that asks more often than it may.
    BfdRate = 46, "bfd_rate", Pass;
    /// Probe shorter than its own length fields say, or than a control packet (S30).
    BfdTruncated = 47, "bfd_truncated", Pass;
    /// Version of BFD is not 1 (S31).
    BfdVersion = 48, "bfd_version", Pass;
    /// What no probe may be: another length, a multiplier or discriminator of zero, authentication, multipoint, no demand
    /// bit (so a reflected probe is never reflected again), source port 0 or the reflector's (S32 to S40).
    BfdMalformed = 49, "bfd_malformed", Pass;
    /// TTL or hop limit is not 255: it has been forwarded (RFC 5082; S41).
    BfdTtl = 50, "bfd_ttl", Pass;
    /// A fragment (S42).
    BfdFragment = 51, "bfd_fragment", Pass;
    /// Behind an IPv4 header with options (S43).
    BfdOptions = 52, "bfd_options", Pass;
    /// Checksum of UDP or of the IPv4 header is wrong (S44).
    BfdChecksum = 53, "bfd_checksum", Pass;
}

impl Outcome {
    /// The outcome with this number, if there is one.
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.get(index as usize).copied()
    }

    /// Index into the map `OUTCOMES`.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// True when the frame was rewritten and sent back.
    #[inline(always)]
    pub const fn is_answer(self) -> bool {
        self.among(ANSWERS) != 0
    }

    /// True when a station that is not us claims an address we answer for.
    #[inline(always)]
    pub const fn is_conflict(self) -> bool {
        self.among(CONFLICTS) != 0
    }

    /// 1 when the frame was rewritten and sent back, else 0.
    #[inline(always)]
    pub const fn answers(self) -> u64 {
        self.among(ANSWERS)
    }

    /// 1 for a probe, ARP's or duplicate address detection, else 0.
    #[inline(always)]
    pub const fn probes(self) -> u64 {
        self.among(PROBES)
    }

    /// True when the frame named an address of ours and counts in its slot: requests to us, answered or not, and
    /// claims of others.
    #[inline(always)]
    pub const fn is_noted(self) -> bool {
        self.among(ANSWERS | CONFLICTS | Self::Standby.bit()) != 0
    }

    /// What it becomes when the agent's deadline has passed: neither answered nor defended.
    #[inline(always)]
    #[must_use]
    pub const fn expired(self) -> Self {
        if self.among(ANSWERS | CONFLICTS) != 0 { Self::Expired } else { self }
    }

    /// Membership in a set, by a shift: comparisons would make the BPF verifier walk what follows once for each.
    #[inline(always)]
    const fn among(self, set: u64) -> u64 {
        (set >> self.index()) & 1
    }

    const fn bit(self) -> u64 {
        1 << self.index()
    }
}

const ANSWERS: u64 = {
    let mut set = 0;
    let mut i = 0;
    while i < COUNT as usize {
        if matches!(Outcome::ALL[i].verdict(), Verdict::Answer) {
            set |= Outcome::ALL[i].bit();
        }
        i += 1;
    }
    set
};
const CONFLICTS: u64 = Outcome::ArpConflict.bit() | Outcome::NdConflict.bit();
const PROBES: u64 = Outcome::ArpProbeReply.bit() | Outcome::NdDadAdvert.bit();
const _: () = assert!(COUNT <= u64::BITS, "sets of outcomes are words of 64 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_unique() {
        for (i, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome.index() as usize, i);
            assert_eq!(Outcome::from_index(outcome.index()), Some(*outcome));
        }
        let names: std::collections::BTreeSet<_> = Outcome::ALL.iter().map(|o| o.name()).collect();
        assert_eq!(names.len(), COUNT as usize);
        assert_eq!(Outcome::from_index(COUNT), None);
    }
}
