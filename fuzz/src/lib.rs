//! What the fuzz targets run. Each target is a function over bytes that panics where something is wrong.
//!
//! * [`frame`]: the packet code against a reference written independently of it, byte for byte.
//! * [`bfd`]: replies to liveness probes: one that is accepted is what a reflector makes of a probe.
//! * [`pool`]: address lists: what is accepted means the same when written out and read again.
//! * [`configmap`]: documents of the v0.9 `ConfigMap`: what is accepted keeps the promises of a configuration.
//! * [`seal`]: datagrams between agents: nothing is accepted that was made without the key, and nothing twice.
//!
//! [`driver`] runs them without libFuzzer.

pub mod bfd;
pub mod configmap;
pub mod driver;
pub mod frame;
pub mod pool;
pub mod seal;

#[path = "../../lb-common/tests/oracle/differential.rs"]
pub mod differential;
#[path = "../../lb-common/tests/conformance/flow.rs"]
pub mod flow;
#[path = "../../lb-common/tests/oracle/mutation.rs"]
pub mod mutation;
#[path = "../../lb-common/tests/oracle/reference.rs"]
pub mod reference;
#[path = "../../lb-common/tests/vectors/set.rs"]
pub mod vectors;
