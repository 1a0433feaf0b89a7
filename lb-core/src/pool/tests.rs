use proptest::prelude::*;

use super::{interval::IntervalSet, space::Space, *};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(entries: &[&str], avoid_buggy_ips: bool) -> Pool {
    let ranges = entries.iter().map(|entry| entry.parse().unwrap()).collect();
    Pool { avoid_buggy_ips, ..Pool::new(PoolName::new("test").unwrap(), ranges) }
}

/// F13.
#[test]
fn entries_as_metallb_reads_them() {
    for (text, first, last, count) in [
        ("192.0.2.10/24", "192.0.2.0", "192.0.2.255", 256),
        ("192.0.2.10-192.0.2.10", "192.0.2.10", "192.0.2.10", 1),
        ("192.168.0.253-192.168.1.2", "192.168.0.253", "192.168.1.2", 6),
        ("  192.0.2.1 -  192.0.2.2 ", "192.0.2.1", "192.0.2.2", 2),
        ("fe80::ffff-fe80::1:3", "fe80::ffff", "fe80::1:3", 5),
        ("2001:db8::/112", "2001:db8::", "2001:db8::ffff", 65_536),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.1", 1),
        ("2001:db8::1/128", "2001:db8::1", "2001:db8::1", 1),
    ] {
        let range: Range = text.parse().unwrap();
        assert_eq!((range.first(), range.last(), range.len()), (ip(first), ip(last), count), "{text}");
    }
    assert!("1.1.1.0-1.1.1.128".parse::<Range>().unwrap().overlaps(&"1.1.1.128-1.1.1.255".parse().unwrap()));
}

/// F13 and the rules of F12, with what the user reads.
#[test]
fn bad_entries_say_what_to_write() {
    for (text, message) in [
        ("1.1.1.1", "1.1.1.1 is a single address: write 1.1.1.1/32"),
        ("2001:db8::1", "2001:db8::1 is a single address: write 2001:db8::1/128"),
        ("192.0.2.9-192.0.2.1", "the range starts at 192.0.2.9, after its end 192.0.2.1: swap them"),
        ("2001:db8::2-2001:db8::1", "the range starts at 2001:db8::2, after its end 2001:db8::1: swap them"),
        (
            "192.0.2.1-2001:db8::1",
            "the range starts with 192.0.2.1 and ends with 2001:db8::1: both ends must be of one family",
        ),
        ("1.2.3.0/33", "prefix length \"33\" is not a number from 0 to 32"),
        ("2001:db8::/129", "prefix length \"129\" is not a number from 0 to 128"),
        ("1.2.3.0/", "prefix length \"\" is not a number from 0 to 32"),
        ("1.2.3.0/+8", "prefix length \"+8\" is not a number from 0 to 32"),
        (
            "100.200.300.400/24",
            "\"100.200.300.400/24\" is neither a CIDR block (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)",
        ),
    ] {
        assert_eq!(text.parse::<Range>().unwrap_err().to_string(), message);
    }
    for text in ["", "-", "/", "192.0.2.1-", "a-b", "192.0.2.1-192.0.2.2-192.0.2.3", "fe80::1%eth0/64"] {
        assert!(matches!(text.parse::<Range>(), Err(RangeError::Unreadable { .. })), "{text}");
    }
}

/// F12: the CIDR lists of two ranges.
#[test]
fn ranges_as_blocks() {
    for (text, blocks) in [
        ("40.0.0.150-40.0.0.200", "40.0.0.150/31,40.0.0.152/29,40.0.0.160/27,40.0.0.192/29,40.0.0.200/32"),
        ("40.0.0.210 - 40.0.0.240", "40.0.0.210/31,40.0.0.212/30,40.0.0.216/29,40.0.0.224/28,40.0.0.240/32"),
        ("2001:db8::1-2001:db8::4", "2001:db8::1/128,2001:db8::2/127,2001:db8::4/128"),
    ] {
        let range: Range = text.parse().unwrap();
        let found: Vec<String> = range.blocks().iter().map(ToString::to_string).collect();
        assert_eq!(found.join(","), blocks);
    }
}

#[test]
fn forbidden_areas_are_refused_in_both_families() {
    for text in [
        "0.0.0.0/8",
        "127.0.0.1/32",
        "126.0.0.0-128.0.0.0",
        "169.254.1.0/24",
        "224.0.0.1/32",
        "239.255.255.255/32",
        "255.255.255.255/32",
        "240.0.0.0/4",
        "0.0.0.0/0",
        "::/128",
        "::1/128",
        "::/0",
        "::ffff:192.0.2.1/128",
        "fe80::1/128",
        "febf::/16",
        "ff02::1/128",
    ] {
        let refused = text.parse::<Range>().unwrap().assignable();
        assert!(matches!(refused, Err(RangeError::Forbidden { .. })), "{text}: {refused:?}");
    }
    for text in
        ["1.0.0.0/8", "126.0.0.0/8", "128.0.0.0/8", "223.255.255.255/32", "fec0::/16", "fd00::/8", "::2/128"]
    {
        assert!(text.parse::<Range>().unwrap().assignable().is_ok(), "{text}");
    }
    let error = "127.0.0.0/8".parse::<Range>().unwrap().assignable().unwrap_err();
    assert_eq!(
        error.to_string(),
        "127.0.0.0/8 contains addresses of 127.0.0.0/8 (loopback), which cannot be announced: leave them out"
    );
    assert_eq!(Range::forbidden_area(ip("fe80::1")), Some(("fe80::/10", "link-local")));
}

/// F8.
#[test]
fn sizes_saturate_and_leave_out_what_is_kept_back() {
    const MAX: i64 = i64::MAX;
    for (entries, avoid, ipv4, ipv6) in [
        (&["1.2.3.0/24"][..], false, 256, 0),
        (&["1.2.3.0/24", "1.2.4.0/25"], false, 384, 0),
        (&["1.2.3.0/24", "1.2.4.0/25"], true, 381, 0),
        (&["1.2.3.0/31", "1000::/127"], true, 1, 2),
        (&["1.2.3.4/30", "1000::4/126"], false, 4, 4),
        (&["1000::/66"], false, 0, MAX),
        (&["1000::/67"], false, 0, 1 << 61),
        (&["1000::/67", "2000::/67", "3000::/67", "4000::/67"], false, 0, MAX),
        (&["1.2.3.0/24", "1.2.4.0/25", "1000::/64"], true, 381, MAX),
        (&["1000::/64", "1.2.3.0/24"], false, 256, MAX),
        (&["1.2.0.0/16"], true, 65_536 - 512, 0),
        (&["1.2.3.255-1.2.4.0"], true, 0, 0),
    ] {
        let size = pool(entries, avoid).size();
        assert_eq!(size, PoolSize { ipv4, ipv6 }, "{entries:?} {avoid}");
        assert_eq!(size.total(), ipv4.saturating_add(ipv6));
    }
    let mut pool = pool(&["1.2.3.0/31", "2001:db8::/127"], true);
    for own in ["1.2.3.0", "1.2.3.1", "2001:db8::1", "9.9.9.9"] {
        pool.withhold(ip(own));
    }
    assert_eq!(pool.size(), PoolSize { ipv4: 0, ipv6: 1 }, "a kept-back address counts once");
}

#[test]
fn membership_looks_at_ranges_and_rules() {
    let mut pool = pool(&["1.2.3.0/24", "1.2.1.0/24", "1000::/126"], true);
    pool.withhold(ip("1.2.3.7"));
    for (text, contains, gives) in [
        ("1.2.3.1", true, true),
        ("1.2.1.254", true, true),
        ("1.2.3.0", true, false),
        ("1.2.1.255", true, false),
        ("1.2.3.7", true, false),
        ("1.2.2.1", false, false),
        ("1.2.4.0", false, false),
        ("1000::3", true, true),
        ("1000::4", false, false),
        ("::102:301", false, false),
    ] {
        assert_eq!((pool.contains(ip(text)), pool.may_give(ip(text))), (contains, gives), "{text}");
    }
}

#[test]
fn addresses_come_in_the_order_of_the_list() {
    let mut pool = pool(&["1.2.9.254/31", "1000::4/127", "1.2.3.0/30", "1000::/127"], true);
    pool.withhold(ip("1.2.3.2"));
    let mut taken = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut space = Space::new(&pool, family);
        while let Some(next) = space.next_free(&pool) {
            assert!(space.take(next) && !space.take(next));
            taken.push(next.to_string());
        }
    }
    assert_eq!(taken.join(" "), "1.2.9.254 1.2.3.1 1.2.3.3 1000::4 1000::5 1000:: 1000::1");
}

#[test]
fn memory_follows_fragmentation_not_size() {
    let pool = pool(&["10.0.0.0/8", "2001:db8::/32"], true);
    let mut v4 = Space::new(&pool, Family::Ipv4);
    let mut v6 = Space::new(&pool, Family::Ipv6);
    assert_eq!((v4.fragments(), v6.fragments()), (1, 1));
    for _ in 0..10_000 {
        let next = v4.next_free(&pool).unwrap();
        v4.take(next);
        let next = v6.next_free(&pool).unwrap();
        v6.take(next);
    }
    assert_eq!((v4.fragments(), v6.fragments()), (1, 1));
    assert_eq!(v4.next_free(&pool), Some(ip("10.0.39.95")), "10,000 addresses without .0 and .255 lie below");
    v4.give_back(ip("10.0.0.77"));
    assert_eq!((v4.next_free(&pool), v4.fragments()), (Some(ip("10.0.0.77")), 2));
}

#[test]
fn the_largest_block_is_one_interval() {
    let pool = pool(&["::/0"], false);
    let mut space = Space::new(&pool, Family::Ipv6);
    let top = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert!(space.take(top) && space.take(ip("::")));
    assert_eq!(space.next_free(&pool), Some(ip("::1")));
    space.give_back(top);
    space.give_back(ip("::"));
    assert_eq!(space.fragments(), 1);
}

proptest! {
    #[test]
    fn interval_sets_behave_as_sets(operations in prop::collection::vec((any::<bool>(), 0u8..40, 0u8..6), 0..80)) {
        let mut set = IntervalSet::default();
        let mut model = BTreeSet::new();
        for (insert, first, more) in operations {
            let (first, last) = (u128::from(first), u128::from(first + more));
            if insert {
                set.insert(first, last);
                model.extend(first..=last);
            } else {
                prop_assert_eq!(set.remove(first), model.remove(&first));
            }
            prop_assert_eq!(set.first(), model.first().copied());
            for number in 0..50 {
                prop_assert_eq!(set.contains(number), model.contains(&number));
            }
            let runs = model.iter().filter(|n| **n == 0 || !model.contains(&(**n - 1))).count();
            prop_assert_eq!(set.fragments(), runs, "intervals are merged");
        }
    }

    #[test]
    fn ranges_survive_text(first: u32, second: u32, v6_first: u128, v6_second: u128) {
        for (family, a, b) in [
            (Family::Ipv4, u128::from(first), u128::from(second)),
            (Family::Ipv6, v6_first, v6_second),
        ] {
            let range = Range::between(address(family, a.min(b)), address(family, a.max(b))).unwrap();
            prop_assert_eq!(range.to_string().parse::<Range>(), Ok(range));
            let (blocks, mut next) = (range.blocks(), range.first);
            for block in blocks {
                prop_assert_eq!(number(block.network()), next);
                next = number(block.broadcast()).wrapping_add(1);
            }
            prop_assert_eq!(next, range.last.wrapping_add(1));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f.:/ -]{0,24}|\\PC{0,80}") {
        if let Ok(range) = text.parse::<Range>() {
            prop_assert!(range.first() <= range.last());
        }
    }
}
