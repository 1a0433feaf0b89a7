//! The controller: gives Services their addresses. Of several replicas one does, the others wait.
//!
//! [`leader`] keeps the lease that says which one, by the rules of [`leadership`].

pub mod decide;
pub mod desk;
pub mod foresee;
pub mod identity;
pub mod leader;
pub mod leadership;
pub mod metrics;
pub mod outcome;
pub mod run;
mod secret;
#[cfg(test)]
mod simulation;
pub mod tell;
pub mod write;
