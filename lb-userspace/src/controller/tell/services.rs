//! What there is to tell of Services.

use std::{collections::BTreeSet, sync::Arc};

use lb_core::{
    allocator::{Decision, Notice},
    ids::ServiceKey,
    request::{AllocError, ServiceSpec},
};

use super::{Reason, Telling};
use crate::{controller::decide::Decided, source::kubernetes::Cluster};

pub(super) fn collect(decided: &Decided, cluster: &Cluster, all: &mut BTreeSet<Telling>) {
    for (key, decision) in &decided.decisions {
        let Some(seen) = cluster.services().get(key) else { continue };
        let uid = &seen.meta.uid;
        all.extend(decision.notices.iter().map(|notice| of_notice(key, uid, notice)));
        all.extend(of_error(key, uid, decision, &seen.spec));
    }
    for (key, seen) in cluster.unreadable() {
        if let Some(problem) = &seen.unreadable {
            let note = format!(
                "the Service can't be read, and keeps the addresses it has: {}: {}",
                problem.place.field, problem.reason
            );
            all.insert(Telling::of_service(key, &seen.meta.uid, Reason::AllocationFailed, &note));
        }
    }
}

fn of_notice(key: &ServiceKey, uid: &Arc<str>, notice: &Notice) -> Telling {
    let (reason, note) = match notice {
        Notice::Cleared { addresses, cause } => {
            (Reason::ClearAssignment, format!("{addresses} can't stay with this Service: {cause}"))
        }
        Notice::OneFamilyOnly { missing, pool } => (
            Reason::AdditionalAssignFailed,
            format!(
                "address pool {pool} has no {missing} address for this Service, which has the other family only"
            ),
        ),
        Notice::UnreadableStatus(error) => (
            Reason::NoLbIpsIpFamily,
            format!("the addresses in status.loadBalancer can't be used and are replaced: {error}"),
        ),
    };
    Telling::of_service(key, uid, reason, &note)
}

fn of_error(key: &ServiceKey, uid: &Arc<str>, decision: &Decision, spec: &ServiceSpec) -> Option<Telling> {
    let error = decision.error.as_ref()?;
    if decision.awaiting.is_some() {
        // The pool it had is not readable now, which is told there; the Service has lost nothing.
        return None;
    }
    let field = error.field(spec);
    let (reason, note) = match (&decision.allocation, error) {
        // MetalLB is silent while an administrator has not made a pool, or Kubernetes has not made an address.
        (_, AllocError::NoPools | AllocError::NoClusterIp) => return None,
        (Some(held), _) => {
            let note = format!("{field}: {error}; the Service keeps {}", held.addresses);
            (Reason::LoadBalancerFailed, note)
        }
        (None, AllocError::NotEnoughClusterIps) => (Reason::NotEnoughClusterIps, format!("{field}: {error}")),
        (None, AllocError::ClusterIpFamilies) => (Reason::NoClusterIpsIpFamily, format!("{field}: {error}")),
        (None, _) => (Reason::AllocationFailed, format!("{field}: {error}")),
    };
    Some(Telling::of_service(key, uid, reason, &note))
}
