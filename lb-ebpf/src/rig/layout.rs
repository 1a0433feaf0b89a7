//! What the benchmark and its BPF programs share; the benchmark includes this file.
//!
//! Frames are little-endian 64-bit words here: word `i` holds bytes `8 * i` to `8 * i + 7` as they lie in memory.
//! That is how both sides, on the machines this runs on, load them.

/// Words of the longest frame: a neighbour solicitation of 86 bytes.
pub(crate) const WORDS: usize = 11;

/// Bytes of an ARP request with its padding, as a network card hands it up.
pub(crate) const ARP_LEN: usize = 60;
/// Bytes of a neighbour solicitation with its source link-layer option.
pub(crate) const NS_LEN: usize = 86;

/// [`Plan::flags`]: neighbour discovery instead of ARP.
pub(crate) const NEIGHBOUR: u32 = 1;
/// [`Plan::flags`]: the solicitation goes to the address itself, not to its group.
pub(crate) const UNICAST: u32 = 2;
/// [`Plan::flags`]: every requester asks once; remember which were answered.
pub(crate) const BITMAP: u32 = 4;
/// [`Plan::flags`]: measure the time from request to answer.
pub(crate) const LATENCY: u32 = 8;

/// [`Plan::flags`]: what comes back is the request itself, as from responders that only send frames back.
pub(crate) const ECHO: u32 = 16;
/// [`Plan::flags`]: some addresses are asked for far more often than others, about as in Zipf's law: each power of
/// two of them gets the same share.
pub(crate) const SKEWED: u32 = 32;

/// Bits of the map of answered requesters.
pub(crate) const BITMAP_BITS: u32 = 1 << 20;
/// Requesters whose time of asking is remembered.
pub(crate) const STAMPS: u32 = 1 << 12;
/// Buckets of the latency histogram, see [`bucket`].
pub(crate) const BUCKETS: u32 = 2048;
/// Look-ups in one run of a look-up program.
pub(crate) const LOOKUPS: u32 = 256;

/// What the generator makes and the sink accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// The request, its variable parts zero.
    pub(crate) request: [u64; WORDS],
    /// The answer, likewise, under [`Plan::mask`].
    pub(crate) answer: [u64; WORDS],
    /// Which bits of the answer are fixed.
    pub(crate) mask: [u64; WORDS],
    /// Nanoseconds between frames; 0 = as fast as it goes.
    pub(crate) interval_ns: u64,
    /// One's complement sum of the checksummed part of the solicitation, its variable parts zero.
    pub(crate) sum: u32,
    /// Addresses that are answered for: `vip_base` and up, host order; in IPv6 the last 32 bits.
    pub(crate) vips: u32,
    /// First of them.
    pub(crate) vip_base: u32,
    /// Number of requesters, which take turns.
    pub(crate) requesters: u32,
    /// First of them.
    pub(crate) requester_base: u32,
    /// First of the addresses nobody answers for.
    pub(crate) stranger_base: u32,
    /// Frames for addresses nobody answers for between two for a VIP; `u32::MAX` = no frame for a VIP.
    pub(crate) strangers: u32,
    /// [`NEIGHBOUR`] and its neighbours.
    pub(crate) flags: u32,
}

/// What the generator remembers and counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Generator {
    /// State of the random numbers; not 0.
    pub(crate) random: u64,
    /// When the next frame is due, nanoseconds of `CLOCK_MONOTONIC` as all times here.
    pub(crate) due_ns: u64,
    /// From then on no frame is made.
    pub(crate) until_ns: u64,
    /// When the first frame was made; 0 before.
    pub(crate) first_ns: u64,
    /// When one of the last frames was made: every one is looked at when paced, every 64th when not.
    pub(crate) last_ns: u64,
    /// Frames made.
    pub(crate) sent: u64,
    /// Of those, requests for a VIP.
    pub(crate) good: u64,
    /// The requester whose turn it is.
    pub(crate) turn: u32,
    /// Frames for strangers until the next good one.
    pub(crate) strangers: u32,
    /// Requests whose requester had still no answer to its last one (only with [`LATENCY`]).
    pub(crate) unanswered: u64,
}

/// What the sink counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sink {
    /// Answers as they must be.
    pub(crate) good: u64,
    /// ARP replies and advertisements that are not.
    pub(crate) wrong: u64,
    /// Frames of other kinds.
    pub(crate) other: u64,
    /// Requesters answered for the first time (only with [`BITMAP`]).
    pub(crate) distinct: u64,
}

/// How many of a thousand frames a port loses. One value, so that both ways are cut at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Of what comes from the node.
    pub(crate) from_node: u32,
    /// Of what goes to it.
    pub(crate) to_node: u32,
}

/// The histogram bucket of a duration: 32 per power of two, so each is 3 % wide.
#[inline(always)]
pub(crate) const fn bucket(ns: u64) -> u32 {
    if ns < 64 {
        return ns as u32;
    }
    let mut exponent = 6_u32;
    let mut rest = ns >> 7;
    // Not leading_zeros, which BPF has no instruction for.
    let mut step = 32;
    while step > 0 {
        if rest >> (step - 1) != 0 {
            rest >>= step;
            exponent += step;
        }
        step /= 2;
    }
    let index = ((exponent - 4) << 5) + ((ns >> (exponent - 5)) & 31) as u32;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}
