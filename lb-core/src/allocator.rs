//! Who holds which address.
//!
//! [`Allocator`] is the book of all addresses given out; [`reconcile`](Allocator::reconcile) brings it in line
//! with the Services that exist. It keeps no store: after a restart the addresses in the Services' statuses are
//! entered first, then everything else is served.
//!
//! Invariants: an address has one holder unless [`Sharing`] permits more; a holder's address lies in a pool that
//! may give it and is open to the holder; a request that fails changes nothing.
//!
//! Pools are tried in MetalLB's order (`internal/allocator/allocator.go`): the addresses asked for, the pool
//! asked for, the pools pinned to the Service by priority, all others; where MetalLB follows the order of a Go
//! map, the pool's name decides.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use serde::Serialize;

pub use crate::addresses::Addresses;
use crate::{
    config::Config,
    ids::{PoolName, ServiceKey},
    pool::{Family, Pool, PoolSize, space::Space},
    request::{AllocError, Request, Wanted},
    sharing::{Sharing, SharingConflict},
};

mod holders;
mod reconcile;
#[cfg(test)]
mod tests;

use holders::Holders;
pub use reconcile::{Decision, Notice, allocate_all};

/// What a Service holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allocation {
    /// Pool of all the addresses.
    pub pool: PoolName,
    /// The addresses.
    pub addresses: Addresses,
}

/// How full a pool is. An address that several Services share counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PoolUsage {
    /// What the pool can give out.
    pub size: PoolSize,
    /// What it has given out.
    pub in_use: PoolSize,
}

#[derive(Debug, Clone)]
struct Held {
    allocation: Allocation,
    sharing: Sharing,
}

#[derive(Debug, Clone)]
struct PoolState {
    pool: Pool,
    ipv4: Space,
    ipv6: Space,
    in_use: PoolSize,
    /// Addresses held under each sharing key.
    shared: BTreeMap<Arc<str>, BTreeSet<IpAddr>>,
}

impl PoolState {
    fn new(pool: &Pool) -> Self {
        Self {
            ipv4: Space::new(pool, Family::Ipv4),
            ipv6: Space::new(pool, Family::Ipv6),
            pool: pool.clone(),
            in_use: PoolSize::default(),
            shared: BTreeMap::new(),
        }
    }

    fn space(&mut self, family: Family) -> &mut Space {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }
}

/// All addresses given out.
#[derive(Debug, Clone, Default)]
pub struct Allocator {
    pools: BTreeMap<PoolName, PoolState>,
    // Hashed: in a tree of a million names every look compares twenty, each of which lies elsewhere in memory. Nothing
    // may depend on the order of these two.
    held: HashMap<ServiceKey, Held>,
    holders: HashMap<IpAddr, Holders>,
    /// Addresses that are free and that one Service only may get, while [`Allocator::reconcile`] runs.
    reserved: HashMap<IpAddr, ServiceKey>,
}

impl Allocator {
    /// A book with nothing given out.
    pub fn new(config: &Config) -> Self {
        let pools = config.pools.iter().map(|(name, pool)| (name.clone(), PoolState::new(pool))).collect();
        Self { pools, ..Self::default() }
    }

    /// Takes over new pools. A holder stays where its addresses are, under the name of the pool that now has
    /// them; who is in no pool any more is returned.
    pub fn reload(&mut self, config: &Config) -> Vec<ServiceKey> {
        let before = std::mem::replace(self, Self::new(config));
        let mut lost = Vec::new();
        for (service, held) in before.held {
            let Allocation { pool, addresses } = held.allocation;
            let same = self.pools.get(&pool).filter(|state| gives(&state.pool, addresses));
            let home = same.or_else(|| self.pools.values().find(|state| gives(&state.pool, addresses)));
            match home.map(|state| state.pool.name.clone()) {
                Some(pool) => self.commit(&service, Allocation { pool, addresses }, held.sharing),
                None => lost.push(service),
            }
        }
        lost.sort();
        lost
    }

    /// What a Service holds.
    pub fn allocation(&self, service: &ServiceKey) -> Option<&Allocation> {
        self.held.get(service).map(|held| &held.allocation)
    }

    /// Everything that is held, in no order.
    #[expect(clippy::disallowed_methods, reason = "callers put them in order")]
    pub fn allocations(&self) -> impl Iterator<Item = (&ServiceKey, &Allocation)> {
        self.held.iter().map(|(service, held)| (service, &held.allocation))
    }

    /// Who holds an address, by name.
    pub fn holders(&self, ip: IpAddr) -> &[ServiceKey] {
        self.holders.get(&ip).map(Holders::as_slice).unwrap_or_default()
    }

    /// How full a pool is.
    pub fn usage(&self, pool: &PoolName) -> Option<PoolUsage> {
        self.pools.get(pool).map(|state| PoolUsage { size: state.pool.size(), in_use: state.in_use })
    }

    /// Gives a Service exactly these addresses, in place of what it holds. Asking again for what it holds
    /// succeeds and takes over changes of its sharing key, policy and ports.
    pub fn assign(&mut self, request: &Request<'_>, addresses: Addresses) -> Result<Allocation, AllocError> {
        let wish = request.wish.as_ref().ok().and_then(|wish| wish.pool.as_ref());
        let pool = self.pool_for(request, addresses, wish)?;
        for ip in addresses.iter() {
            if let Some((holder, conflict)) = self.conflict(request, ip) {
                return Err(AllocError::Taken { ip, holder: holder.clone(), conflict });
            }
        }
        Ok(self.give(request, pool, addresses))
    }

    /// Gives a Service addresses of one pool. What it holds already is returned if it is of the right families;
    /// other addresses are not given up for it.
    pub fn allocate_from_pool(
        &mut self,
        request: &Request<'_>,
        pool: &PoolName,
    ) -> Result<Allocation, AllocError> {
        let wanted = request.families.clone()?;
        if let Some(held) = self.allocation(request.service) {
            return if wanted.satisfied_by(held.addresses) {
                Ok(held.clone())
            } else {
                Err(AllocError::HoldsOtherFamily { held: held.addresses })
            };
        }
        self.place_in(request, pool, wanted)
    }

    /// Finds addresses for a Service in MetalLB's order and gives them to it in place of what it holds.
    pub fn allocate(&mut self, request: &Request<'_>) -> Result<Allocation, AllocError> {
        let wanted = request.families.clone()?;
        let wish = request.wish.clone()?;
        if self.pools.is_empty() {
            return Err(AllocError::NoPools);
        }
        if let Some(addresses) = wish.addresses {
            return self.assign(request, addresses);
        }
        if let Some(pool) = &wish.pool {
            return self.place_in(request, pool, wanted);
        }
        for group in self.automatic(request) {
            if let Some((pool, addresses)) = self.find(request, &group, wanted) {
                return Ok(self.give(request, pool, addresses));
            }
        }
        Err(AllocError::exhausted(None, wanted))
    }

    /// Takes away what a Service holds.
    pub fn release(&mut self, service: &ServiceKey) -> Option<Allocation> {
        let held = self.held.remove(service)?;
        for ip in held.allocation.addresses.iter() {
            self.leave(service, ip, &held);
        }
        Some(held.allocation)
    }

    /// The pool that has all these addresses and may give them to this Service, preferring `wish`.
    fn pool_for(
        &self,
        request: &Request<'_>,
        addresses: Addresses,
        wish: Option<&PoolName>,
    ) -> Result<PoolName, AllocError> {
        if let Some(name) = wish {
            let unknown = || AllocError::UnknownPool { pool: name.to_string() };
            let state = self.pools.get(name).ok_or_else(unknown)?;
            if !addresses.iter().all(|ip| state.pool.contains(ip)) {
                return Err(AllocError::NotInPool { addresses, pool: name.clone() });
            }
            return admit(&state.pool, request, addresses);
        }
        let mut refused = None;
        for state in self.pools.values() {
            if addresses.iter().all(|ip| state.pool.contains(ip)) {
                match admit(&state.pool, request, addresses) {
                    Ok(name) => return Ok(name),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        let in_none = |ip: &IpAddr| !self.pools.values().any(|state| state.pool.contains(*ip));
        Err(match (refused, addresses.iter().find(in_none)) {
            (Some(error), _) => error,
            (None, _) if self.pools.is_empty() => AllocError::NoPools,
            (None, Some(ip)) => AllocError::NotInAnyPool { ip },
            (None, None) => AllocError::DifferentPools { addresses },
        })
    }

    /// The first holder of the address with which the Service can't share it.
    fn conflict(&self, request: &Request<'_>, ip: IpAddr) -> Option<(&ServiceKey, SharingConflict)> {
        if let Some(owner) = self.reserved.get(&ip).filter(|owner| *owner != request.service) {
            return Some((owner, SharingConflict::NoKey));
        }
        let others = self.holders(ip).iter().filter(|holder| *holder != request.service);
        others.filter_map(|holder| Some((holder, self.held.get(holder)?))).find_map(|(holder, held)| {
            request.sharing.conflict(&held.sharing).map(|conflict| (holder, conflict))
        })
    }

    /// Keeps free addresses for a Service, wherever they lie.
    fn reserve(&mut self, service: &ServiceKey, addresses: Addresses) {
        for ip in addresses.iter() {
            if self.holders(ip).is_empty() && !self.reserved.contains_key(&ip) {
                for state in self.pools.values_mut() {
                    state.space(Family::of(ip)).take(ip);
                }
                self.reserved.insert(ip, service.clone());
            }
        }
    }

    fn end_reservations(&mut self) {
        for ip in std::mem::take(&mut self.reserved).into_keys() {
            if self.holders(ip).is_empty() {
                for state in self.pools.values_mut().filter(|state| state.pool.may_give(ip)) {
                    state.space(Family::of(ip)).give_back(ip);
                }
            }
        }
    }

    fn place_in(
        &mut self,
        request: &Request<'_>,
        pool: &PoolName,
        wanted: Wanted,
    ) -> Result<Allocation, AllocError> {
        let unknown = || AllocError::UnknownPool { pool: pool.to_string() };
        let state = self.pools.get(pool).ok_or_else(unknown)?;
        if !request.permitted_by(state.pool.allocation.as_ref()) {
            return Err(AllocError::PoolClosed { pool: pool.clone() });
        }
        match self.find(request, std::slice::from_ref(pool), wanted) {
            Some((pool, addresses)) => Ok(self.give(request, pool, addresses)),
            None => Err(AllocError::exhausted(Some(pool), wanted)),
        }
    }

    /// Pools that serve this Service unasked: those pinned to it in order of priority, then the general ones.
    fn automatic(&self, request: &Request<'_>) -> [Vec<PoolName>; 2] {
        let open = || self.pools.values().map(|state| &state.pool).filter(|pool| pool.auto_assign);
        let pinned = open().filter_map(|pool| {
            let rule = pool.allocation.as_ref().filter(|rule| request.permitted_by(Some(rule)))?;
            Some((rule.order(), pool.name.clone()))
        });
        let mut pinned: Vec<_> = pinned.collect();
        pinned.sort();
        let general = open().filter(|pool| pool.allocation.is_none()).map(|pool| pool.name.clone());
        [pinned.into_iter().map(|(_, name)| name).collect(), general.collect()]
    }

    /// Addresses from the first of the pools that can serve the Service. A pool with both families free wins
    /// over one that comes earlier but has only one of them.
    fn find(
        &mut self,
        request: &Request<'_>,
        pools: &[PoolName],
        wanted: Wanted,
    ) -> Option<(PoolName, Addresses)> {
        let (primary, both, single) = match wanted {
            Wanted::One(family) => (family, false, true),
            Wanted::Both { primary, required } => (primary, true, !required),
        };
        if both {
            for pool in pools {
                let Some(ipv4) = self.find_one(request, pool, Family::Ipv4) else { continue };
                let Some(ipv6) = self.find_one(request, pool, Family::Ipv6) else { continue };
                return Some((pool.clone(), Addresses::new(&[ipv4, ipv6])?));
            }
        }
        let families = [Some(primary), both.then(|| primary.other())];
        for family in families.into_iter().flatten().filter(|_| single) {
            for pool in pools {
                if let Some(ip) = self.find_one(request, pool, family) {
                    return Some((pool.clone(), Addresses::one(ip)));
                }
            }
        }
        None
    }

    /// The first address of the pool that is free, or that the Service may share.
    fn find_one(&mut self, request: &Request<'_>, pool: &PoolName, family: Family) -> Option<IpAddr> {
        let state = self.pools.get_mut(pool)?;
        let space = match family {
            Family::Ipv4 => &mut state.ipv4,
            Family::Ipv6 => &mut state.ipv6,
        };
        let free = space.next_free(&state.pool);
        let limit = free.and_then(|ip| space.position(ip));
        let Some(key) = request.sharing.key() else { return free };
        let state = self.pools.get(pool)?;
        let space = match family {
            Family::Ipv4 => &state.ipv4,
            Family::Ipv6 => &state.ipv6,
        };
        let shared = state.shared.get(key).into_iter().flatten().copied();
        let earlier = shared.filter_map(|ip| Some((space.position(ip)?, ip)));
        let earlier = earlier.filter(|(position, _)| limit.is_none_or(|limit| *position < limit));
        let joinable = earlier.filter(|(_, ip)| self.conflict(request, *ip).is_none()).min();
        joinable.map(|(_, ip)| ip).or(free)
    }

    fn give(&mut self, request: &Request<'_>, pool: PoolName, addresses: Addresses) -> Allocation {
        let allocation = Allocation { pool, addresses };
        match self.held.get(request.service) {
            Some(held) if held.allocation == allocation && held.sharing == request.sharing => {
                return allocation;
            }
            Some(_) => {
                self.release(request.service);
            }
            None => {}
        }
        self.commit(request.service, allocation.clone(), request.sharing.clone());
        allocation
    }

    /// Enters an allocation that was found to be permitted, of a Service that holds nothing.
    fn commit(&mut self, service: &ServiceKey, allocation: Allocation, sharing: Sharing) {
        for ip in allocation.addresses.iter() {
            let first = match self.holders.entry(ip) {
                Entry::Vacant(free) => {
                    free.insert(Holders::One(service.clone()));
                    true
                }
                Entry::Occupied(mut others) => {
                    others.get_mut().add(service);
                    false
                }
            };
            if let Some(state) = self.pools.get_mut(&allocation.pool) {
                let family = Family::of(ip);
                if first {
                    state.space(family).take(ip);
                    state.in_use.add(family, 1);
                }
                if let Some(key) = sharing.key() {
                    state.shared.entry(key.clone()).or_default().insert(ip);
                }
            }
        }
        self.held.insert(service.clone(), Held { allocation, sharing });
    }

    /// Removes a holder from an address, and frees the address if it was the last.
    fn leave(&mut self, service: &ServiceKey, ip: IpAddr, held: &Held) {
        let Entry::Occupied(mut holders) = self.holders.entry(ip) else { return };
        let key = held.sharing.key();
        let others = holders.get().without(service);
        let last = others.is_none();
        let has_key = |h: &ServiceKey| self.held.get(h).is_some_and(|h| h.sharing.key() == key);
        let key_remains = others.iter().flat_map(Holders::as_slice).any(has_key);
        match others {
            Some(others) => {
                holders.insert(others);
            }
            None => {
                holders.remove();
            }
        }
        let Some(state) = self.pools.get_mut(&held.allocation.pool) else { return };
        if last {
            state.space(Family::of(ip)).give_back(ip);
            state.in_use.subtract_one(Family::of(ip));
        }
        if let Some(key) = key
            && !key_remains
            && let Some(addresses) = state.shared.get_mut(key)
        {
            addresses.remove(&ip);
            if addresses.is_empty() {
                state.shared.remove(key);
            }
        }
    }
}

fn gives(pool: &Pool, addresses: Addresses) -> bool {
    addresses.iter().all(|ip| pool.may_give(ip))
}

/// The pool's name, if it may give these addresses (which lie in it) to this Service.
fn admit(pool: &Pool, request: &Request<'_>, addresses: Addresses) -> Result<PoolName, AllocError> {
    if !request.permitted_by(pool.allocation.as_ref()) {
        return Err(AllocError::PoolClosed { pool: pool.name.clone() });
    }
    match addresses.iter().find(|ip| !pool.may_give(*ip)) {
        Some(ip) if pool.withheld().contains(&ip) => Err(AllocError::NodeAddress { ip }),
        Some(ip) => Err(AllocError::Avoided { ip }),
        None => Ok(pool.name.clone()),
    }
}
