//! Which addresses a Service may get, and from which pool.

use std::net::IpAddr;

use super::{Addresses, Allocation, Allocator};
use crate::{
    ids::PoolName,
    pool::{Family, Pool},
    request::{AllocError, Request, Wanted},
};

impl Allocator {
    /// The pool that has all these addresses and may give them to this Service, preferring `wish`.
    pub(super) fn pool_for(
        &self,
        request: &Request<'_>,
        addresses: Addresses,
        wish: Option<&PoolName>,
    ) -> Result<PoolName, AllocError> {
        if let Some(name) = wish {
            let unknown = || AllocError::UnknownPool { pool: name.to_string() };
            let state = self.pools.get(name).ok_or_else(unknown)?;
            if !addresses.iter().all(|ip| state.contains(ip)) {
                return Err(AllocError::NotInPool { addresses, pool: name.clone() });
            }
            return admit(&state.pool, request, addresses);
        }
        let mut refused = None;
        for state in self.pools.values() {
            if addresses.iter().all(|ip| state.contains(ip)) {
                match admit(&state.pool, request, addresses) {
                    Ok(name) => return Ok(name),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
        }
        let in_none = |ip: &IpAddr| !self.pools.values().any(|state| state.contains(*ip));
        Err(match (refused, addresses.iter().find(in_none)) {
            (Some(error), _) => error,
            (None, _) if self.pools.is_empty() => AllocError::NoPools,
            (None, Some(ip)) => AllocError::NotInAnyPool { ip },
            (None, None) => AllocError::DifferentPools { addresses },
        })
    }

    pub(super) fn place_in(
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

    /// Pools that are pinned to this Service and serve it unasked, in order of priority.
    pub(super) fn pinned_to(&self, request: &Request<'_>) -> Vec<PoolName> {
        let open = self.pools.values().map(|state| &state.pool).filter(|pool| pool.auto_assign);
        let pinned = open.filter_map(|pool| {
            let rule = pool.allocation.as_ref().filter(|rule| request.permitted_by(Some(rule)))?;
            Some((rule.order(), pool.name.clone()))
        });
        let mut pinned: Vec<_> = pinned.collect();
        pinned.sort();
        pinned.into_iter().map(|(_, name)| name).collect()
    }

    /// Addresses from the first of the pools that can serve the Service. A pool with both families free wins
    /// over one that comes earlier but has only one of them.
    pub(super) fn find(
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
    pub(super) fn find_one(
        &mut self,
        request: &Request<'_>,
        pool: &PoolName,
        family: Family,
    ) -> Option<IpAddr> {
        let free = self.pools.get_mut(pool)?.next_free(family);
        let Some(key) = request.sharing.key() else { return free };
        let state = self.pools.get(pool)?;
        let space = state.space(family);
        let limit = free.and_then(|ip| space.position(ip));
        let shared = state.shared.get(key).into_iter().flatten().copied();
        let earlier = shared.filter_map(|ip| Some((space.position(ip)?, ip)));
        let earlier = earlier.filter(|(position, _)| limit.is_none_or(|limit| *position < limit));
        let joinable = earlier.filter(|(_, ip)| self.conflict(request, *ip).is_none()).min();
        joinable.map(|(_, ip)| ip).or(free)
    }
}

/// The pool's name, if it may give these addresses (which lie in it) to this Service.
fn admit(pool: &Pool, request: &Request<'_>, addresses: Addresses) -> Result<PoolName, AllocError> {
    if !request.permitted_by(pool.allocation.as_ref()) {
        return Err(AllocError::PoolClosed { pool: pool.name.clone() });
    }
    match addresses.iter().find(|ip| pool.keeps_back(*ip)) {
        Some(ip) if pool.withheld().contains(&ip) => Err(AllocError::NodeAddress { ip }),
        Some(ip) => Err(AllocError::Avoided { ip }),
        None => Ok(pool.name.clone()),
    }
}
