//! What BareLB's kernel program and its user space share.
//!
//! * [`abi`]: names, keys and values of the BPF maps, with their layout asserted at compile time.
//! * [`outcome`]: the one vocabulary for everything that can happen to a frame.
//! * [`packet`]: ARP, neighbour discovery and liveness probes on fixed-size arrays: parse, judge, rewrite.
//!
//! The crate is `no_std`, allocates nothing and imports nothing (`aya` only for the [`abi`] `Pod` marks
//! behind the feature `user`). The same functions run in the kernel, in unit tests and under the fuzzer.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod abi;
pub mod addr;
pub mod outcome;
pub mod packet;

#[cfg(feature = "user")]
mod pod;
