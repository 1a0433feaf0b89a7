//! The benchmark.

pub mod agent;
