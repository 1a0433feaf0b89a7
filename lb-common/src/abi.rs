//! The interface between the BPF program and user space, version 1.
//!
//! Pins outlive the agent, so another version of the agent may find these maps: whoever changes a layout here
//! raises [`VERSION`], which names the folder of the pinned maps. Byte arrays are in network order, counters
//! and clocks in host order. Every version keeps how [`Agent`] (all of today's) and [`Entry`] (up to its slot) begin, and
//! the names of maps, so that any other can take over from it. Padding is explicit and zero, because hash maps compare keys as raw bytes.

use crate::addr::{Address, Mac, V4, V6};

macro_rules! layout {
    ($($type:ty: $size:literal, $align:literal;)*) => { $(
        const _: () = assert!(
            size_of::<$type>() == $size && align_of::<$type>() == $align,
            concat!("the layout of ", stringify!($type), " is part of the BPF ABI: raise abi::VERSION to change it"),
        );
    )* };
}

mod reflection;

pub use reflection::{
    KeyStation, MAX_MEMBERS, MAX_REFLECTORS, MEMBER_RATE, MEMBER_WINDOW_NS, MEMBERS, Member, REFLECTORS,
    Reflector,
};

/// Version of every layout in this module; the maps are pinned in `<bpffs>/barelb/v<VERSION>`.
pub const VERSION: u32 = 1;

/// Map of IPv4 addresses: [`KeyV4`] → [`Entry`].
pub const VIPS_V4: &str = "VIPS_V4";
/// Map of IPv6 addresses: [`KeyV6`] → [`Entry`].
pub const VIPS_V6: &str = "VIPS_V6";
/// Per-CPU array of [`Counters`], index = [`Entry::slot`].
pub const COUNTERS: &str = "COUNTERS";
/// Per-CPU array of `u64`, index = [`crate::outcome::Outcome`].
pub const OUTCOMES: &str = "OUTCOMES";
/// Array of one [`Agent`].
pub const AGENT: &str = "AGENT";
/// Ring buffer of [`Event`].
pub const EVENTS: &str = "EVENTS";

/// Default size of [`VIPS_V4`], [`VIPS_V6`] and [`COUNTERS`].
pub const DEFAULT_MAX_VIPS: u32 = 4096;
/// Bytes of the ring buffer [`EVENTS`].
pub const EVENTS_BYTES: u32 = 64 * 1024;
/// At most one event per address and this many nanoseconds.
pub const EVENT_INTERVAL_NS: u64 = 1_000_000_000;

/// [`Agent::flags`]: emit a sampled [`EventKind::Request`] for each address that is asked for.
pub const AGENT_TRACE: u32 = 1;

/// VLAN ids of a frame, outermost first, in network order; 0 = no tag (or a priority tag, V03).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Vlans {
    outer: [u8; 2],
    inner: [u8; 2],
}

impl Vlans {
    /// No tag.
    pub const UNTAGGED: Self = Self { outer: [0; 2], inner: [0; 2] };

    /// VLAN ids in host order, 0 = none.
    #[inline(always)]
    pub const fn new(outer: u16, inner: u16) -> Self {
        Self { outer: outer.to_be_bytes(), inner: inner.to_be_bytes() }
    }

    /// Of a frame whose tags name no VLAN at all; no key has it.
    pub const RESERVED: Self = Self { outer: [0xff; 2], inner: [0xff; 2] };

    /// True for [`Vlans::RESERVED`].
    #[inline(always)]
    pub const fn is_reserved(&self) -> bool {
        u16::from_ne_bytes(self.outer) == 0xffff
    }

    /// Outer VLAN id, host order, 0 = none.
    pub const fn outer(&self) -> u16 {
        u16::from_be_bytes(self.outer)
    }

    /// Inner VLAN id, host order, 0 = none.
    pub const fn inner(&self) -> u16 {
        u16::from_be_bytes(self.inner)
    }
}

/// Key of [`VIPS_V4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct KeyV4 {
    ifindex: u32,
    vlans: Vlans,
    addr: V4,
}

/// Key of [`VIPS_V6`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct KeyV6 {
    ifindex: u32,
    vlans: Vlans,
    addr: V6,
}

macro_rules! key {
    ($key:ident, $addr:ty) => {
        impl $key {
            /// `ifindex` is the index the program sees; native XDP on a bond sees the member's.
            #[inline(always)]
            pub const fn new(ifindex: u32, vlans: Vlans, addr: $addr) -> Self {
                Self { ifindex, vlans, addr }
            }
            /// Interface index.
            pub const fn ifindex(&self) -> u32 {
                self.ifindex
            }
            /// VLAN ids.
            pub const fn vlans(&self) -> Vlans {
                self.vlans
            }
            /// The address.
            pub const fn addr(&self) -> $addr {
                self.addr
            }
        }
    };
}
key!(KeyV4, V4);
key!(KeyV6, V6);

/// What to do when an address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Answer, while the agent's deadline is in the future.
    Answer = 1,
    /// Known, another node answers. Also what any unknown number means: silence.
    Standby = 2,
}

/// Value of [`VIPS_V4`] and [`VIPS_V6`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Entry {
    mac: Mac,
    state: u8,
    flags: u8,
    slot: u32,
    reserved: u32,
    reserved2: u64,
}

impl Entry {
    /// Answers with `mac`, counts in `slot` of [`COUNTERS`].
    pub const fn new(mac: Mac, state: State, slot: u32) -> Self {
        Self { mac, state: state as u8, flags: 0, slot, reserved: 0, reserved2: 0 }
    }
    /// Hardware address given in answers.
    #[inline(always)]
    pub const fn mac(&self) -> &Mac {
        &self.mac
    }
    /// Whether to answer.
    #[inline(always)]
    pub const fn answers(&self) -> bool {
        self.state == State::Answer as u8
    }
    /// The state; a number this version does not know means silence.
    pub const fn state(&self) -> State {
        if self.answers() { State::Answer } else { State::Standby }
    }
    /// Index into [`COUNTERS`].
    #[inline(always)]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
    /// True when this is exactly what [`Entry::new`] would make of its parts.
    pub fn is_canonical(&self) -> bool {
        *self == Self::new(self.mac, self.state(), self.slot)
    }
}

/// Value of [`COUNTERS`], one per CPU. Sum the counts; the newest `last_seen_ns` names the last requester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Requests and solicitations for the address, answered or not.
    pub requests: u64,
    /// Answers sent.
    pub replies: u64,
    /// ARP probes and duplicate address detection, among the requests.
    pub probes: u64,
    /// Frames in which another station claimed the address.
    pub conflicts: u64,
    /// When it was last asked for, nanoseconds of `CLOCK_BOOTTIME`.
    pub last_seen_ns: u64,
    /// When this CPU last reported a request for the address, nanoseconds of `CLOCK_BOOTTIME`.
    pub event_ns: u64,
    /// When this CPU last reported a conflict about the address, nanoseconds of `CLOCK_BOOTTIME`.
    pub conflict_ns: u64,
    /// Hardware address of the last requester.
    pub requester_mac: Mac,
    /// Zero.
    pub pad: [u8; 2],
    /// Address of the last requester; unspecified (0.0.0.0, ::) after a probe.
    pub requester: Address,
}

/// Value of [`AGENT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Agent {
    /// Answers are given only before this time, nanoseconds of `CLOCK_BOOTTIME`.
    pub valid_until_ns: u64,
    /// [`AGENT_TRACE`].
    pub flags: u32,
    /// The node's standing among those that may own its addresses, host order. Kept here for the agent that comes next;
    /// the program does not read it. 0 in pins of before it had a meaning.
    pub epoch: u32,
}

/// What an [`Event`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// Another station claims an address we answer for.
    Conflict = 1,
    /// An address was asked for, for the first time since it has its slot.
    FirstRequest = 2,
    /// A sampled request, while [`AGENT_TRACE`] is set.
    Request = 3,
}

impl EventKind {
    /// The kind with this number.
    pub const fn from_u32(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Conflict),
            2 => Some(Self::FirstRequest),
            3 => Some(Self::Request),
            _ => None,
        }
    }
}

/// One record of [`EVENTS`]. Rare: at most one per address, CPU and [`EVENT_INTERVAL_NS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// [`EventKind`].
    pub kind: u32,
    /// [`crate::outcome::Outcome`] of the frame.
    pub outcome: u32,
    /// Interface it came in by.
    pub ifindex: u32,
    /// Its VLANs.
    pub vlans: Vlans,
    /// Our address.
    pub addr: Address,
    /// The other station's address; unspecified (0.0.0.0, ::) for a probe.
    pub peer: Address,
    /// The other station's hardware address.
    pub peer_mac: Mac,
    /// Zero.
    pub pad: [u8; 2],
}

impl Event {
    /// The record for a frame that came in at `at` from `peer`; `kind` is an [`EventKind`].
    #[inline(always)]
    pub const fn new(
        time_ns: u64,
        kind: u32,
        outcome: u32,
        at: (u32, Vlans),
        addr: Address,
        peer: (Mac, Address),
    ) -> Self {
        Self {
            time_ns,
            kind,
            outcome,
            ifindex: at.0,
            vlans: at.1,
            addr,
            peer: peer.1,
            peer_mac: peer.0,
            pad: [0; 2],
        }
    }
}

layout! {
    Vlans: 4, 1;
    KeyV4: 12, 4;
    KeyV6: 24, 4;
    Entry: 24, 8;
    Counters: 80, 8;
    Agent: 16, 8;
    Event: 64, 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlan_ids_are_stored_in_network_order() {
        let key = KeyV4::new(7, Vlans::new(100, 42), [192, 0, 2, 1]);
        assert_eq!((key.vlans().outer(), key.vlans().inner()), (100, 42));
        assert_eq!(key.vlans().outer, [0, 100]);
        let key = KeyV6::new(7, Vlans::UNTAGGED, [1; 16]);
        assert_eq!((key.ifindex(), key.vlans(), key.addr()), (7, Vlans::new(0, 0), [1; 16]));
    }

    #[test]
    fn an_unknown_state_is_silence() {
        let mut entry = Entry::new([2; 6], State::Answer, 3);
        assert!(entry.answers() && entry.is_canonical());
        entry.state = 0;
        assert!(!entry.answers() && !entry.is_canonical());
        entry.state = 9;
        assert_eq!(entry.state(), State::Standby);
    }
}
