//! Address lists. Input: text, one entry to a line; an empty line starts another pool.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_core::config::{Config, RawPool};
use lb_core::pool::space::Space;
use lb_core::pool::{Family, Pool, Range};

/// Longest message a bad entry may make: a quoted excerpt of 64 characters, each escaped by up to 10.
const LONGEST_MESSAGE: usize = 1000;
/// Addresses taken from each pool.
const TAKEN: usize = 20;

/// Entries, then pools of them, keep their promises.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for line in text.lines() {
        match line.parse::<Range>() {
            Ok(range) => entry(&range),
            Err(error) => assert!(error.to_string().chars().count() <= LONGEST_MESSAGE, "{error}"),
        }
    }
    let pools: Vec<RawPool> = text.split("\n\n").enumerate().map(|(n, text)| raw(n, text)).collect();
    let (config, problems) = Config::validate(&pools, &[], &[]);
    for problem in &problems {
        assert!(!problem.to_string().is_empty());
    }
    disjoint(&config);
    config.pools.values().for_each(gives_each_address_once);
}

/// What is accepted keeps these promises, wherever it came from.
pub fn disjoint(config: &Config) {
    let ranges: Vec<&Range> = config.pools.values().flat_map(Pool::ranges).collect();
    for (n, range) in ranges.iter().enumerate() {
        assert!(range.assignable().is_ok(), "{range} is in a pool");
        for other in ranges.iter().skip(n + 1) {
            assert!(!range.overlaps(other), "{range} and {other} are both in pools");
        }
    }
}

/// A range that was accepted.
fn entry(range: &Range) {
    let (first, last) = (range.first(), range.last());
    assert!(first <= last && first.is_ipv4() == last.is_ipv4(), "{range}");
    assert!(range.contains(first) && range.contains(last), "{range}");
    assert_eq!(range.to_string().parse::<Range>().as_ref(), Ok(range));
    assert_eq!(format!("{first}-{last}").parse::<Range>().as_ref(), Ok(range));
    // The blocks follow each other without a gap from the first address to the last.
    let mut next = Some(number(first));
    for block in range.blocks() {
        assert_eq!(Some(number(block.network())), next, "{range}: {block}");
        next = number(block.broadcast()).checked_add(1);
    }
    assert_eq!(next, number(last).checked_add(1), "{range}");
}

fn gives_each_address_once(pool: &Pool) {
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut space = Space::new(pool, family);
        let mut given = BTreeSet::new();
        while let Some(ip) = space.next_free(pool).filter(|_| given.len() < TAKEN) {
            assert!(pool.contains(ip) && pool.may_give(ip) && Family::of(ip) == family, "{ip}");
            assert!(space.take(ip) && given.insert(ip), "{ip} was given twice");
        }
        for ip in &given {
            assert!(!space.take(*ip), "{ip} was free while given");
            space.give_back(*ip);
            assert!(space.take(*ip), "{ip} was not free when given back");
        }
    }
}

fn raw(number: usize, text: &str) -> RawPool {
    let addresses = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    RawPool {
        name: format!("pool-{number}"),
        addresses,
        avoid_buggy_ips: number % 2 == 1,
        ..RawPool::default()
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}
