//! BareLB's imperative shell: where objects come from, the agent, the controller, the data plane,
//! the command line.
//!
//! Decisions are lb-core's; here is what touches the world. `k8s-openapi` is used in [`k8s`] and [`source`] only,
//! `aya` in [`dataplane`] only, `libc` in [`net`] and for one system call of [`dataplane`].

pub mod agent;
pub mod cli;
pub mod controller;
pub mod dataplane;
pub mod k8s;
pub mod net;
pub mod random;
pub mod source;
pub mod telemetry;
pub mod timer;
