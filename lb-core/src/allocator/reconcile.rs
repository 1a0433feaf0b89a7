//! From all Services to all allocations.
//!
//! ```text
//! forget who is gone ─> enter what is held: book, then status ─> serve the rest
//!                                                                  └─ again, while something became free
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{Addresses, Allocation, Allocator};
use crate::{
    config::Config,
    ids::{PoolName, ServiceKey},
    pool::Family,
    request::{AllocError, Request, Rules, ServiceSpec, ServiceType, StatusError, Wanted, Wish},
    sharing::Sharing,
};

/// What became of one Service. An allocation *and* an error means that a new wish could not be fulfilled and the
/// Service keeps what it had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// What it holds.
    pub allocation: Option<Allocation>,
    /// Why it does not hold what it asks for.
    pub error: Option<AllocError>,
    /// What it had and is to have again: its pool may be one of those that can't be read now. Nothing else is given
    /// to it meanwhile.
    pub awaiting: Option<Addresses>,
    /// What else happened on the way.
    pub notices: Vec<Notice>,
}

/// Something a user may want to know that is no refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The status could not be read and is replaced (MetalLB event `nolbIPsIPFamily`).
    UnreadableStatus(StatusError),
    /// Addresses the Service had are no longer permitted (MetalLB event `ClearAssignment`).
    Cleared {
        /// What it had.
        addresses: Addresses,
        /// Why it lost them.
        cause: AllocError,
    },
    /// The second family of a `PreferDualStack` Service can't be had (MetalLB event `AdditionalAssignFailed`).
    OneFamilyOnly {
        /// The family that is missing.
        missing: Family,
        /// The pool that has none.
        pool: PoolName,
    },
}

/// The order in which claims to addresses are entered. Who is in the book stays there while others are looked at, so
/// a sharer that changed its key or ports meets those that did not, and is the one that has to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// In the book.
    Book,
    /// Remembered by the caller.
    Remembered,
    /// In the status, with the annotation by which a controller says of which pool it is.
    Marked,
    /// Only in the status.
    Status,
}

/// Allocates for all Services from an empty book: see [`Allocator::reconcile`].
pub fn allocate_all(
    config: &Config,
    rules: &Rules,
    services: &BTreeMap<ServiceKey, ServiceSpec>,
    restored: &BTreeMap<ServiceKey, Addresses>,
) -> BTreeMap<ServiceKey, Decision> {
    Allocator::new(config).reconcile(rules, services, restored)
}

impl Allocator {
    /// Brings the book in line with the Services. Services of another class are left alone and are not in the
    /// result.
    ///
    /// What a Service holds is, in this order: what the book says, what `restored` says (what the caller wrote
    /// itself, such as a status file), what its status says; of two statuses with one address that of the Service
    /// whose annotations name the pool, as a controller writes them together. All of that is entered before anybody is
    /// served.
    /// Then come Services that ask for addresses by number, then all others, each in order of namespace and
    /// name; whoever failed is tried again while addresses become free.
    ///
    /// A Service in `restored` that is not among the Services may come back: its addresses are given to nobody.
    pub fn reconcile<S: AsRef<ServiceSpec>>(
        &mut self,
        rules: &Rules,
        services: &BTreeMap<ServiceKey, S>,
        restored: &BTreeMap<ServiceKey, Addresses>,
    ) -> BTreeMap<ServiceKey, Decision> {
        let all = || services.iter().map(|(key, spec)| (key, spec.as_ref()));
        let ours = all().filter(|(_, spec)| spec.has_class(rules.lb_class.as_deref()));
        let mut decisions: BTreeMap<_, _> = ours.map(|(key, _)| (key.clone(), Decision::default())).collect();
        let requests: Vec<(Request<'_>, &ServiceSpec)> = all()
            .filter(|(key, spec)| {
                decisions.contains_key(*key) && spec.service_type == ServiceType::LoadBalancer
            })
            .map(|(key, spec)| (Request::new(key, spec, rules), spec))
            .collect();
        self.forget_all_but(&requests);
        self.restore(rules, &requests, restored, &mut decisions);
        let absent = restored.iter().filter(|(key, _)| !services.contains_key(*key));
        for (key, addresses) in absent {
            self.keep_free(key, *addresses);
        }
        self.serve(&requests, &mut decisions);
        self.end_reservations();
        decisions
    }

    #[expect(clippy::disallowed_methods, reason = "in whichever order they go, the same is free")]
    fn forget_all_but(&mut self, requests: &[(Request<'_>, &ServiceSpec)]) {
        let present = |key: &ServiceKey| requests.binary_search_by(|(r, _)| r.service.cmp(key)).is_ok();
        let gone: Vec<ServiceKey> = self.held.keys().filter(|key| !present(key)).cloned().collect();
        for service in gone {
            self.release(&service);
        }
    }

    /// Enters a Service that is not there for addresses that nobody has, so that nobody gets them.
    fn keep_free(&mut self, service: &ServiceKey, addresses: Addresses) {
        let free = addresses.iter().all(|ip| self.holders(ip).is_empty());
        let state = self.pools.values().find(|state| state.gives(addresses));
        if let Some(pool) = state.filter(|_| free).map(|state| state.pool.name.clone()) {
            self.commit(service, &Allocation { pool, addresses }, &Sharing::default());
        }
    }

    fn restore(
        &mut self,
        rules: &Rules,
        requests: &[(Request<'_>, &ServiceSpec)],
        restored: &BTreeMap<ServiceKey, Addresses>,
        decisions: &mut BTreeMap<ServiceKey, Decision>,
    ) {
        let mut claims = Vec::new();
        for (request, spec) in requests {
            if let Some(held) = self.held.get(request.service) {
                claims.push((Stage::Book, request, held.allocation.addresses));
            }
            if let Some(addresses) = restored.get(request.service) {
                claims.push((Stage::Remembered, request, *addresses));
            }
            match spec.held() {
                Ok(addresses) => {
                    let marked = spec.annotation("ip-allocated-from-pool").is_some();
                    let stage = if marked { Stage::Marked } else { Stage::Status };
                    claims.extend(addresses.map(|a| (stage, request, a)));
                }
                Err(error) => {
                    if let Some(decision) = decisions.get_mut(request.service) {
                        decision.notices.push(Notice::UnreadableStatus(error));
                    }
                }
            }
        }
        claims.sort_by_key(|(stage, request, _)| (*stage, request.service));
        let mut entered = BTreeSet::new();
        for (stage, request, addresses) in claims {
            let waits = decisions.get(request.service).is_some_and(|decision| decision.awaiting.is_some());
            if entered.contains(request.service) || waits && stage >= Stage::Marked {
                continue;
            }
            match self.enter(request, addresses) {
                Ok(()) => {
                    entered.insert(request.service);
                }
                Err(cause) => {
                    if stage == Stage::Book {
                        self.release(request.service);
                    }
                    let decision = decisions.get_mut(request.service);
                    if rules.pools_in_doubt && cause.as_ref().is_some_and(AllocError::is_missing_pool) {
                        if let Some(decision) = decision {
                            decision.awaiting = Some(addresses);
                            decision.error = cause;
                        }
                        self.reserve(request.service, addresses);
                        continue;
                    }
                    let notice = cause.map(|cause| Notice::Cleared { addresses, cause });
                    if let Some(decision) = decision
                        && let Some(notice) = notice.filter(|notice| !decision.notices.contains(notice))
                    {
                        decision.notices.push(notice);
                    }
                }
            }
        }
    }

    /// Enters what a Service holds, less what its families no longer permit. `Err(None)` = nothing is left.
    fn enter(&mut self, request: &Request<'_>, addresses: Addresses) -> Result<(), Option<AllocError>> {
        let keep = match &request.families {
            Err(AllocError::NoClusterIp) => None,
            Err(_) | Ok(Wanted::Both { .. }) => Some(addresses),
            Ok(Wanted::One(family)) => addresses.of(*family).map(Addresses::one),
        };
        let keep = keep.ok_or(None)?;
        // The pool asked for is a wish like any other: it does not make what is held invalid.
        let mut held = request.clone();
        held.wish = Ok(Wish::default());
        self.assign(&held, keep).map(|_allocation| ()).map_err(Some)
    }

    fn serve(
        &mut self,
        requests: &[(Request<'_>, &ServiceSpec)],
        decisions: &mut BTreeMap<ServiceKey, Decision>,
    ) {
        let by_number = |request: &Request<'_>| request.wish.as_ref().is_ok_and(|w| w.addresses.is_some());
        let waits = |request: &Request<'_>| {
            let awaiting = decisions.get(request.service).and_then(|decision| decision.awaiting);
            let wish = request.wish.as_ref().ok().and_then(|wish| wish.addresses);
            awaiting.is_some_and(|awaiting| wish.is_none_or(|wish| wish.same(awaiting)))
        };
        let mut open: Vec<&Request<'_>> =
            requests.iter().map(|(request, _)| request).filter(|request| !waits(request)).collect();
        open.sort_by_key(|request| (!by_number(request), request.service));
        loop {
            let mut freed = false;
            open.retain(|request| {
                let before = self.allocation(request.service).map(|a| a.addresses);
                let error = self.settle(request).err();
                let after = self.allocation(request.service).map(|a| a.addresses);
                freed |= before.is_some() && before != after;
                let failed = error.is_some();
                if let Some(decision) = decisions.get_mut(request.service) {
                    decision.error = error;
                }
                failed
            });
            if open.is_empty() || !freed {
                break;
            }
        }
        for (request, _) in requests {
            let allocation = self.allocation(request.service).cloned();
            if let Some(decision) = decisions.get_mut(request.service) {
                decision.notices.extend(self.missing_family(request));
                decision.awaiting = decision.awaiting.filter(|_| allocation.is_none());
                decision.allocation = allocation;
            }
        }
    }

    /// Gives a Service what it asks for, keeping what it holds if that fails.
    fn settle(&mut self, request: &Request<'_>) -> Result<(), AllocError> {
        let wanted = request.families.clone()?;
        let wish = request.wish.clone()?;
        let Some(held) = self.allocation(request.service).cloned() else {
            return self.allocate(request).map(|_allocation| ());
        };
        let elsewhere = wish.pool.filter(|pool| *pool != held.pool);
        match (wish.addresses, elsewhere) {
            // Of a wish for addresses and another pool nothing but the reason is to be had.
            (Some(addresses), elsewhere) if elsewhere.is_some() || !addresses.same(held.addresses) => {
                return self.assign(request, addresses).map(|_allocation| ());
            }
            (None, Some(pool)) => return self.place_in(request, &pool, wanted).map(|_allocation| ()),
            (Some(_), _) | (None, None) => {}
        }
        match wanted {
            Wanted::Both { required, .. } if held.addresses.second().is_none() => {
                self.add_family(request, &held, required)
            }
            Wanted::Both { .. } | Wanted::One(_) => Ok(()),
        }
    }

    /// Adds the missing family from the same pool, behind the address that is there; where both are required and
    /// the pool has none, moves to a pool that has both.
    fn add_family(
        &mut self,
        request: &Request<'_>,
        held: &Allocation,
        required: bool,
    ) -> Result<(), AllocError> {
        let first = held.addresses.first();
        let second = self.find_one(request, &held.pool, Family::of(first).other());
        match second.and_then(|second| Addresses::new(&[first, second])) {
            Some(addresses) => {
                self.give(request, held.pool.clone(), addresses);
                Ok(())
            }
            None if required => self.allocate(request).map(|_allocation| ()),
            None => Ok(()),
        }
    }

    fn missing_family(&self, request: &Request<'_>) -> Option<Notice> {
        let held = self.allocation(request.service)?;
        match request.families {
            Ok(Wanted::Both { required: false, .. }) if held.addresses.second().is_none() => {
                let missing = Family::of(held.addresses.first()).other();
                Some(Notice::OneFamilyOnly { missing, pool: held.pool.clone() })
            }
            Ok(_) | Err(_) => None,
        }
    }
}
