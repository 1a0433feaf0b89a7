//! The types of [`crate::abi`] may be read from and written to maps as raw bytes.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe marker trait")]

use crate::abi::{Agent, Counters, Entry, Event, KeyStation, KeyV4, KeyV6, Member, Reflector};

macro_rules! pod {
    ($($type:ty),*) => { $(
        // SAFETY: repr(C), Copy, 'static, of integers and byte arrays only: every bit pattern is valid, and
        // the sizes asserted in abi.rs leave no implicit padding.
        unsafe impl aya::Pod for $type {}
    )* };
}
pod!(KeyV4, KeyV6, KeyStation, Entry, Counters, Agent, Event, Reflector, Member);
