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
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use serde::Serialize;

pub use crate::addresses::Addresses;
use crate::{
    config::Config,
    ids::{PoolName, ServiceKey},
    pool::{Family, Pool, PoolSize, space::Space},
    request::{AllocError, Request},
    sharing::{Sharing, SharingConflict},
};

mod holders;
mod reconcile;
mod search;
#[cfg(test)]
mod tests;

use holders::HoldersOf;
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

    fn space(&self, family: Family) -> &Space {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    fn space_mut(&mut self, family: Family) -> &mut Space {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }

    /// The address that is given out next.
    fn next_free(&mut self, family: Family) -> Option<IpAddr> {
        let space = match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        };
        space.next_free(&self.pool)
    }

    /// [`Pool::contains`], without a walk through all ranges.
    fn contains(&self, ip: IpAddr) -> bool {
        self.space(Family::of(ip)).position(ip).is_some()
    }

    /// Whether all of these lie in the pool and may be given out.
    fn gives(&self, addresses: Addresses) -> bool {
        addresses.iter().all(|ip| self.contains(ip) && !self.pool.keeps_back(ip))
    }

    /// Nobody holds the address under this key any more.
    fn unshare(&mut self, key: &Arc<str>, ip: IpAddr) {
        if let Some(addresses) = self.shared.get_mut(key) {
            addresses.remove(&ip);
            if addresses.is_empty() {
                self.shared.remove(key);
            }
        }
    }
}

/// All addresses given out.
#[derive(Debug, Clone, Default)]
pub struct Allocator {
    pools: BTreeMap<PoolName, PoolState>,
    /// Pools that serve any Service unasked.
    general: Arc<[PoolName]>,
    // Hashed: in a tree of a million names every look compares twenty, each of which lies elsewhere in memory. Nothing
    // may depend on the order of these two.
    held: HashMap<ServiceKey, Held>,
    holders: HoldersOf,
    /// Addresses that are free and that one Service only may get, while [`Allocator::reconcile`] runs.
    reserved: HashMap<IpAddr, ServiceKey>,
}

impl Allocator {
    /// A book with nothing given out.
    pub fn new(config: &Config) -> Self {
        let general = config.pools.values().filter(|pool| pool.auto_assign && pool.allocation.is_none());
        Self {
            pools: config.pools.iter().map(|(name, pool)| (name.clone(), PoolState::new(pool))).collect(),
            general: general.map(|pool| pool.name.clone()).collect(),
            ..Self::default()
        }
    }

    /// Takes over new pools. A holder stays where its addresses are, under the name of the pool that now has
    /// them; who is in no pool any more is returned.
    pub fn reload(&mut self, config: &Config) -> Vec<ServiceKey> {
        let before = std::mem::replace(self, Self::new(config));
        let mut lost = Vec::new();
        for (service, held) in before.held {
            let Allocation { pool, addresses } = held.allocation;
            let same = self.pools.get(&pool).filter(|state| state.gives(addresses));
            let home = same.or_else(|| self.pools.values().find(|state| state.gives(addresses)));
            match home.map(|state| state.pool.name.clone()) {
                Some(pool) => self.commit(&service, &Allocation { pool, addresses }, &held.sharing),
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
        self.holders.get(ip)
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
        let wanted = *request.families.as_ref().map_err(Clone::clone)?;
        let wish = request.wish.as_ref().map_err(Clone::clone)?;
        if self.pools.is_empty() {
            return Err(AllocError::NoPools);
        }
        if let Some(addresses) = wish.addresses {
            return self.assign(request, addresses);
        }
        if let Some(pool) = &wish.pool {
            return self.place_in(request, pool, wanted);
        }
        let general = self.general.clone();
        for group in [&self.pinned_to(request)[..], &general] {
            if let Some((pool, addresses)) = self.find(request, group, wanted) {
                return Ok(self.give(request, pool, addresses));
            }
        }
        Err(AllocError::exhausted(None, wanted))
    }

    /// Takes away what a Service holds.
    pub fn release(&mut self, service: &ServiceKey) -> Option<Allocation> {
        let held = self.held.remove(service)?;
        self.leave(service, &held);
        Some(held.allocation)
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
                    state.space_mut(Family::of(ip)).take(ip);
                }
                self.reserved.insert(ip, service.clone());
            }
        }
    }

    fn end_reservations(&mut self) {
        for ip in std::mem::take(&mut self.reserved).into_keys() {
            if self.holders(ip).is_empty() {
                for state in self.pools.values_mut().filter(|state| state.gives(Addresses::one(ip))) {
                    state.space_mut(Family::of(ip)).give_back(ip);
                }
            }
        }
    }

    /// Enters an allocation that was found to be permitted, in place of what the Service holds.
    fn give(&mut self, request: &Request<'_>, pool: PoolName, addresses: Addresses) -> Allocation {
        let allocation = Allocation { pool, addresses };
        self.commit(request.service, &allocation, &request.sharing);
        allocation
    }

    fn commit(&mut self, service: &ServiceKey, allocation: &Allocation, sharing: &Sharing) {
        let held = Held { allocation: allocation.clone(), sharing: sharing.clone() };
        if let Some(before) = self.held.insert(service.clone(), held) {
            if before.allocation == *allocation && before.sharing == *sharing {
                return;
            }
            self.leave(service, &before);
        }
        let mut state = self.pools.get_mut(&allocation.pool);
        for ip in allocation.addresses.iter() {
            let first = self.holders.add(ip, service);
            let Some(state) = &mut state else { continue };
            if first {
                state.space_mut(Family::of(ip)).take(ip);
                state.in_use.add(Family::of(ip), 1);
            }
            if let Some(key) = sharing.key() {
                state.shared.entry(key.clone()).or_default().insert(ip);
            }
        }
    }

    /// Strikes a holder out, and frees each address of which it was the last.
    fn leave(&mut self, service: &ServiceKey, before: &Held) {
        let mut state = self.pools.get_mut(&before.allocation.pool);
        for ip in before.allocation.addresses.iter() {
            let others = self.holders.remove(ip, service);
            let Some(state) = &mut state else { continue };
            if others.is_empty() {
                state.space_mut(Family::of(ip)).give_back(ip);
                state.in_use.subtract_one(Family::of(ip));
            }
            let Some(key) = before.sharing.key() else { continue };
            let has_key =
                |other: &ServiceKey| self.held.get(other).and_then(|h| h.sharing.key()) == Some(key);
            if !others.iter().any(has_key) {
                state.unshare(key, ip);
            }
        }
    }
}
