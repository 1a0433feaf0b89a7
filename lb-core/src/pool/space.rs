//! What is free in a pool, one family at a time.
//!
//! Addresses are numbered by the order in which they are given out: the first range's lowest address is
//! position 0, and so on through the list. Free positions are intervals, so finding the next address is a look
//! at the first interval even when a pool has thousands of ranges and all but the last are full.

use std::net::IpAddr;

use super::{Family, Pool, address, interval::IntervalSet, number};

/// The free addresses of one family of a pool.
#[derive(Debug, Clone)]
pub struct Space {
    family: Family,
    /// In order of position.
    by_position: Vec<Stretch>,
    /// In order of address.
    by_address: Vec<Stretch>,
    free: IntervalSet,
}

/// A range and where it stands in the order of giving out.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    first: u128,
    last: u128,
    position: u128,
}

impl Space {
    /// Everything the pool can give out in this family is free.
    pub fn new(pool: &Pool, family: Family) -> Self {
        let mut space =
            Self { family, by_position: Vec::new(), by_address: Vec::new(), free: IntervalSet::default() };
        let mut position: u128 = 0;
        for range in pool.ranges.iter().filter(|range| range.family == family) {
            let last = position + (range.last - range.first);
            space.by_position.push(Stretch { first: range.first, last: range.last, position });
            space.free.insert(position, last);
            // Only ::/0 reaches the top of u128, and nothing can follow it.
            position = last.wrapping_add(1);
        }
        space.by_address.clone_from(&space.by_position);
        space.by_address.sort_unstable_by_key(|stretch| stretch.first);
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
            if !pool.avoids(ip) {
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
        let after = self.by_address.partition_point(|stretch| stretch.first <= ip);
        let stretch = self.by_address.get(after.checked_sub(1)?)?;
        (ip <= stretch.last).then(|| stretch.position + (ip - stretch.first))
    }

    /// Number of free intervals, for tests of the memory bound.
    pub fn fragments(&self) -> usize {
        self.free.fragments()
    }

    fn at(&self, position: u128) -> Option<IpAddr> {
        let after = self.by_position.partition_point(|stretch| stretch.position <= position);
        let stretch = self.by_position.get(after.checked_sub(1)?)?;
        Some(address(self.family, stretch.first + (position - stretch.position)))
    }
}
