//! What a decision means for a Service's object: which write brings it in line, if any.
//!
//! The whole of `status.loadBalancer.ingress` is compared, and the annotation that goes with it, so that nothing is
//! written when nothing is different, and a status changed by hand is put right.

use lb_core::{
    addresses::Addresses,
    allocator::Decision,
    ids::{PoolName, ServiceKey},
    request::ServiceSpec,
};

use super::decide::Decided;
use crate::source::kubernetes::SeenService;

#[cfg(test)]
mod tests;

/// Annotation that says from which pool the addresses are.
pub const FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";
/// Deprecated beginning of MetalLB's annotations.
pub const OLD_PREFIX: &str = "metallb.universe.tf/";
/// Its deprecated twin, which is taken away.
pub const OLD_FROM_POOL: &str = "metallb.universe.tf/ip-allocated-from-pool";

/// What is to be written to a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its status gets these addresses, in this order, and its annotation the name of their pool.
    Set {
        /// The addresses.
        addresses: Addresses,
        /// Their pool.
        pool: PoolName,
    },
    /// The old annotation goes; everything else is right.
    DropOldAnnotation,
    /// The addresses and both annotations go.
    Clear,
}

/// The write that a Service needs.
pub fn change(decided: &Decided, key: &ServiceKey, seen: &SeenService) -> Option<Change> {
    let Some(decision) = decided.decisions.get(key) else {
        // Another class: its status is somebody else's, unless it still says what we wrote.
        return decided.left.contains_key(key).then_some(Change::Clear);
    };
    match decision {
        Decision { allocation: Some(held), .. } => {
            let named = annotation(&seen.spec, FROM_POOL) == Some(held.pool.as_str());
            if !named || !shows(seen, held.addresses) {
                return Some(Change::Set { addresses: held.addresses, pool: held.pool.clone() });
            }
            annotation(&seen.spec, OLD_FROM_POOL).is_some().then_some(Change::DropOldAnnotation)
        }
        // What is waited for stays where it is.
        Decision { awaiting: Some(_), .. } => None,
        Decision { .. } => {
            let written = !seen.ingress.is_empty()
                || annotation(&seen.spec, FROM_POOL).is_some()
                || annotation(&seen.spec, OLD_FROM_POOL).is_some();
            written.then_some(Change::Clear)
        }
    }
}

/// Whether the status has exactly these addresses, each as we would write it.
fn shows(seen: &SeenService, addresses: Addresses) -> bool {
    seen.ingress.iter().all(|entry| entry.plain)
        && seen.ingress.iter().map(|entry| entry.ip).eq(addresses.iter().map(Some))
}

fn annotation<'a>(spec: &'a ServiceSpec, name: &str) -> Option<&'a str> {
    spec.annotations.get(name).map(String::as_str)
}
