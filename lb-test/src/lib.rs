//! Rooms for tests, the lab and the benchmark: network namespaces, frames on the wire, probing clients, agents.
//!
//! Everything that changes the machine is a guard: [`namespace::Namespace`], [`scratch::Scratch`],
//! [`scratch::Bpffs`], [`process::Process`], [`rig::PassProgram`]. Dropping it, also while a test panics, takes
//! the change back. A process that was killed cannot do that, so the first guard of the next process sweeps what
//! dead processes left: names carry the process id of their maker (see `sweep`).
//!
//! Nothing here touches the host's own network: links exist only between namespaces made here.
//! All of it needs root and `iproute2`; tests that use it are `#[ignore]`d (see README.md).

pub mod agent;
pub mod bench;
pub mod client;
pub mod cluster;
pub mod conformance;
pub mod container;
pub mod documents;
pub mod failover;
pub mod kernel;
pub mod lab;
pub mod later;
pub mod link;
pub mod namespace;
pub mod pages;
pub mod process;
pub mod prometheus;
pub mod rig;
pub mod scratch;
pub mod standalone;
pub mod terminal;
pub mod trouble;
pub mod wire;

mod interrupt;
mod offload;
mod run;
mod sweep;

pub use sweep::made_by;
