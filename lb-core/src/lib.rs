//! The decisions of `BareLB`, as functions from values to values.
//!
//! This crate answers three questions: which address does a Service get ([`allocator`]), which node
//! announces an address on which links ([`plan`](mod@plan)), and when is a change told to the network
//! ([`burst`]). It performs no I/O, reads no clock, draws no random numbers and starts no task; time is a
//! parameter and every collection whose order can be seen is ordered. It may import hkdf, hmac,
//! ipnet, regex, serde, sha2 and thiserror, nothing else.
//!
//! Invariants, asserted by the tests of the modules named:
//! - an address has one holder unless a sharing key allows more ([`allocator`]);
//! - what a Service holds lies in a pool that is open to it ([`allocator`]);
//! - at most one node wins an address for one set of candidates, and removing a node that did not win moves
//!   nothing ([`election`]);
//! - `apply(diff(desired, actual), actual) == desired`, with removals first ([`plan`](mod@plan)).
#![forbid(unsafe_code)]

pub mod addresses;
pub mod allocator;
pub mod burst;
pub mod config;
pub mod conflict;
pub mod election;
pub mod eligibility;
pub mod explain;
pub mod failover;
pub mod ids;
pub mod membership;
pub mod outlook;
pub mod plan;
pub mod pool;
pub mod problem;
pub mod request;
pub mod selector;
pub mod sharing;
pub mod status;
