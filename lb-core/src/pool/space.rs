//! What is free in a pool, one family at a time.
//!
//! Addresses are numbered by the order in which they are given out: the first range's lowest address is
//! position 0, and so on through the list. Free positions are intervals, so finding the next address is a look
//! at the first interval even when a pool has thousands of ranges and all but the last are full.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Family, Pool, address, interval::IntervalSet, number};

/// The free addresses of one family of a pool.
#[derive(Debug, Clone)]
pub struct Space {
    family: Family,
    /// First position of each range → its first address.
    by_position: BTreeMap<u128, u128>,
    /// First address of each range → (last address, first position).
    by_address: BTreeMap<u128, (u128, u128)>,
    free: IntervalSet,
}

impl Space {
    /// Everything the pool can give out in this family is free.
    pub fn new(pool: &Pool, family: Family) -> Self {
        let mut space = Self {
            family,
            by_position: BTreeMap::new(),
            by_address: BTreeMap::new(),
            free: IntervalSet::default(),
        };
        let mut position: u128 = 0;
        for range in pool.ranges.iter().filter(|range| range.family == family) {
            let last = position + (range.last - range.first);
            space.by_position.insert(position, range.first);
            space.by_address.insert(range.first, (range.last, position));
            space.free.insert(position, last);
            // Only ::/0 reaches the top of u128, and nothing can follow it.
            position = last.wrapping_add(1);
        }
        for ip in pool.withheld.iter().filter(|ip| Family::of(**ip) == family) {
            space.take(*ip);
        }
        space
    }

    /// The free address that is given out next. Addresses that `pool` keeps back for `avoidBuggyIPs` leave the
    /// free set when they come up: at most once each, and they need no memory before.
    pub fn next_free(&mut self, pool: &Pool) -> Option<IpAddr> {
        loop {
            let position = self.free.first()?;
            let ip = self.at(position)?;
            if pool.may_give(ip) {
                return Some(ip);
            }
            self.free.remove(position);
        }
    }

    /// Takes an address; returns whether it was free.
    pub fn take(&mut self, ip: IpAddr) -> bool {
        self.position(ip).is_some_and(|position| self.free.remove(position))
    }

    /// Gives an address back. One that is not of this pool is ignored.
    pub fn give_back(&mut self, ip: IpAddr) {
        if let Some(position) = self.position(ip) {
            self.free.insert(position, position);
        }
    }

    /// Where the address stands in the order of giving out.
    pub fn position(&self, ip: IpAddr) -> Option<u128> {
        if Family::of(ip) != self.family {
            return None;
        }
        let ip = number(ip);
        let (first, (last, position)) = self.by_address.range(..=ip).next_back()?;
        (ip <= *last).then(|| position + (ip - first))
    }

    /// Number of free intervals, for tests of the memory bound.
    pub fn fragments(&self) -> usize {
        self.free.fragments()
    }

    fn at(&self, position: u128) -> Option<IpAddr> {
        let (start, first) = self.by_position.range(..=position).next_back()?;
        Some(address(self.family, first + (position - start)))
    }
}
