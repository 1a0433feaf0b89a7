//! Several Services and several passes.

use super::*;

type Services = BTreeMap<ServiceKey, ServiceSpec>;

fn services(list: &[(&str, ServiceSpec)]) -> Services {
    list.iter().map(|(name, spec)| (key(name), spec.clone())).collect()
}

/// Decisions as text: address or `-`, and the reason of an error.
fn text(decisions: &BTreeMap<ServiceKey, Decision>) -> String {
    let one = |(key, decision): (&ServiceKey, &Decision)| {
        let held = decision.allocation.as_ref().map_or_else(|| "-".to_owned(), |a| a.addresses.to_string());
        let error = decision.error.as_ref().map(|error| format!("!{}", error.reason())).unwrap_or_default();
        format!("{}={held}{error}", key.name())
    };
    decisions.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn small() -> Config {
    config(&[raw("test", &["1.2.3.0/30", "1000::/126"])])
}

fn pass(allocator: &mut Allocator, services: &Services) -> String {
    let decisions = allocator.reconcile(&Rules::default(), services, &BTreeMap::new());
    check(allocator);
    let result = text(&decisions);
    let again = text(&allocator.reconcile(&Rules::default(), services, &BTreeMap::new()));
    assert_eq!(result, again, "a second pass changes nothing");
    result
}

#[test]
fn two_services_that_ask_for_one_address() {
    let both = services(&[("a", wanting("1.2.3.1")), ("b", wanting("1.2.3.1"))]);
    let mut allocator = Allocator::new(&small());
    assert_eq!(pass(&mut allocator, &both), "a=1.2.3.1 b=-!Taken", "the first by name");
    let held_by_b = ServiceSpec { ingress: vec!["1.2.3.1".to_owned()], ..wanting("1.2.3.1") };
    let both = services(&[("a", wanting("1.2.3.1")), ("b", held_by_b)]);
    let decisions = allocate_all(&small(), &Rules::default(), &both, &BTreeMap::new());
    assert_eq!(text(&decisions), "a=-!Taken b=1.2.3.1", "who holds it keeps it");
    assert_eq!(
        decisions[&key("a")].error.as_ref().unwrap().to_string(),
        "1.2.3.1 is in use by Service test-ns1/b, and they can't share it: both need the annotation \
         metallb.io/allow-shared-ip with one value"
    );
    let mut allocator = Allocator::new(&small());
    pass(&mut allocator, &both);
    let alone = services(&[("a", wanting("1.2.3.1"))]);
    assert_eq!(pass(&mut allocator, &alone), "a=1.2.3.1", "the waiting one follows when it is free");
}

#[test]
fn a_restart_keeps_every_address() {
    let three = services(&[("a", spec()), ("b", spec()), ("c", spec())]);
    let mut allocator = Allocator::new(&small());
    assert_eq!(pass(&mut allocator, &three), "a=1.2.3.0 b=1.2.3.1 c=1.2.3.2");
    let two = services(&[("b", spec()), ("c", spec())]);
    assert_eq!(pass(&mut allocator, &two), "b=1.2.3.1 c=1.2.3.2");
    // "a" is back, and "0" is new and before all others by name.
    let four = services(&[("0", spec()), ("a", spec()), ("b", spec()), ("c", spec())]);
    let restored = allocator.allocations().map(|(k, a)| (k.clone(), a.addresses)).collect();
    let decisions = allocate_all(&small(), &Rules::default(), &four, &restored);
    assert_eq!(text(&decisions), "0=1.2.3.0 a=1.2.3.3 b=1.2.3.1 c=1.2.3.2");
    let in_status =
        |name: &str, ip: &str| (name.to_owned(), ServiceSpec { ingress: vec![ip.to_owned()], ..spec() });
    let statuses = [in_status("b", "1.2.3.1"), in_status("c", "1.2.3.2"), ("0".to_owned(), spec())];
    let statuses = statuses.into_iter().map(|(name, spec)| (key(&name), spec)).collect();
    let decisions = allocate_all(&small(), &Rules::default(), &statuses, &BTreeMap::new());
    assert_eq!(text(&decisions), "0=1.2.3.0 b=1.2.3.1 c=1.2.3.2");
}

/// Found by the property test: what the book says was refused, and the address of the status was only looked at
/// in the next pass.
#[test]
fn when_the_book_is_refused_the_status_counts() {
    let mut allocator = Allocator::new(&small());
    assert_eq!(pass(&mut allocator, &services(&[("a", spec())])), "a=1.2.3.0");
    let closed = pinned(raw("test", &["1.2.3.0/30"]), 0, &["elsewhere"], &[]);
    let manual = RawPool { auto_assign: false, ..raw("manual", &["1.2.4.0/30"]) };
    allocator.reload(&config(&[closed, manual]));
    let moved = ServiceSpec { ingress: vec!["1.2.4.1".to_owned()], ..spec() };
    assert_eq!(pass(&mut allocator, &services(&[("a", moved)])), "a=1.2.4.1");
}

#[test]
fn what_the_caller_remembers_wins_over_the_status_of_another() {
    let claiming = ServiceSpec { ingress: vec!["1.2.3.3".to_owned()], ..spec() };
    let two = services(&[("a", claiming), ("b", spec())]);
    let remembered = BTreeMap::from([(key("b"), addresses("1.2.3.3"))]);
    let decisions = allocate_all(&small(), &Rules::default(), &two, &remembered);
    assert_eq!(text(&decisions), "a=1.2.3.0 b=1.2.3.3");
}

#[test]
fn a_failed_request_never_strips_a_working_address() {
    let mut allocator = Allocator::new(&small());
    pass(&mut allocator, &services(&[("a", spec()), ("b", spec())]));
    for (wish, expected) in [
        (wanting("1.2.3.1"), "a=1.2.3.0!Taken b=1.2.3.1"),
        (wanting("9.9.9.9"), "a=1.2.3.0!NotInAnyPool b=1.2.3.1"),
        (wanting("nonsense"), "a=1.2.3.0!UnreadableWish b=1.2.3.1"),
        (wanting("1000::"), "a=1.2.3.0!WishFamilies b=1.2.3.1"),
        (annotate(spec(), &[("metallb.io/address-pool", "nowhere")]), "a=1.2.3.0!UnknownPool b=1.2.3.1"),
        (wanting("1.2.3.3"), "a=1.2.3.3 b=1.2.3.1"),
        (spec(), "a=1.2.3.3 b=1.2.3.1"),
    ] {
        assert_eq!(pass(&mut allocator, &services(&[("a", wish), ("b", spec())])), expected);
    }
}

/// MetalLB does not wake the Service that waits for what another left (F18); this does.
#[test]
fn what_one_leaves_another_takes_in_the_same_pass() {
    let mut allocator = Allocator::new(&small());
    let waiting = services(&[("a", wanting("1.2.3.3")), ("b", wanting("1.2.3.3"))]);
    assert_eq!(pass(&mut allocator, &waiting), "a=1.2.3.3 b=-!Taken");
    let moving = services(&[("a", wanting("1.2.3.0")), ("b", wanting("1.2.3.3"))]);
    assert_eq!(pass(&mut allocator, &moving), "a=1.2.3.0 b=1.2.3.3");
    let before_by_name = services(&[("a", wanting("1.2.3.3")), ("b", wanting("1.2.3.1"))]);
    assert_eq!(
        pass(&mut allocator, &before_by_name),
        "a=1.2.3.3 b=1.2.3.1",
        "also against the order of names"
    );
}

#[test]
fn explicit_wishes_come_before_those_who_take_anything() {
    let mut allocator = Allocator::new(&small());
    let list = services(&[("a", spec()), ("b", wanting("1.2.3.0"))]);
    assert_eq!(pass(&mut allocator, &list), "a=1.2.3.1 b=1.2.3.0");
}

/// F18: among sharers the one that changes has to move, and changing back does not move it back.
#[test]
fn the_sharer_that_changes_is_the_one_that_moves() {
    for changed in ["a", "b"] {
        let shared = |name: &str, key: &str| {
            sharing(if name == changed { key } else { "k" }, if name == "a" { "tcp/1" } else { "tcp/2" }, "")
        };
        let two = |key: &str| services(&[("a", shared("a", key)), ("b", shared("b", key))]);
        let mut allocator = Allocator::new(&small());
        assert_eq!(pass(&mut allocator, &two("k")), "a=1.2.3.0 b=1.2.3.0");
        let decisions = allocator.reconcile(&Rules::default(), &two("j"), &BTreeMap::new());
        let expected = if changed == "a" { "a=1.2.3.1 b=1.2.3.0" } else { "a=1.2.3.0 b=1.2.3.1" };
        assert_eq!(text(&decisions), expected);
        assert!(matches!(decisions[&key(changed)].notices[..], [Notice::Cleared { .. }]));
        assert_eq!(pass(&mut allocator, &two("k")), expected);
    }
}

#[test]
fn what_is_not_ours_is_left_alone_and_what_is_no_load_balancer_is_released() {
    let mut allocator = Allocator::new(&small());
    let classed = ServiceSpec { load_balancer_class: Some("other".to_owned()), ..spec() };
    let list = services(&[("a", spec()), ("b", classed.clone())]);
    assert_eq!(pass(&mut allocator, &list), "a=1.2.3.0");
    let plain = ServiceSpec { service_type: ServiceType::Other, ..spec() };
    assert_eq!(pass(&mut allocator, &services(&[("a", plain), ("b", spec())])), "a=- b=1.2.3.0");
    assert_eq!(pass(&mut allocator, &services(&[("b", classed)])), "", "its class changed: released");
    assert_eq!(allocator.allocations().count(), 0);
}

#[test]
fn the_second_family_comes_and_goes_without_moving_the_first() {
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    let with = |policy| services(&[("a", families(spec(), &[Family::Ipv6], policy))]);
    let mut allocator = Allocator::new(&config(&[raw("test", &["1000::/126"])]));
    assert_eq!(pass(&mut allocator, &with(SingleStack)), "a=1000::");
    let decisions = allocator.reconcile(&Rules::default(), &with(PreferDualStack), &BTreeMap::new());
    let missing = Notice::OneFamilyOnly { missing: Family::Ipv4, pool: name("test") };
    assert_eq!(decisions[&key("a")].notices, [missing]);
    assert_eq!(
        pass(&mut allocator, &with(RequireDualStack)),
        "a=1000::!Exhausted",
        "it keeps the one it has"
    );
    assert_eq!(allocator.reload(&small()), []);
    assert_eq!(
        pass(&mut allocator, &with(PreferDualStack)),
        "a=1000::,1.2.3.0",
        "added behind the first (F18)"
    );
    assert_eq!(pass(&mut allocator, &with(SingleStack)), "a=1000::", "and given back");
}

/// Two one-family pools do not add up (metallb.md, section 8), and a pool with both wins over an earlier one.
#[test]
fn both_families_come_from_one_pool() {
    use FamilyPolicy::{PreferDualStack, RequireDualStack};
    let with = |policy| services(&[("a", families(spec(), &[], policy))]);
    let apart = [raw("v4", &["1.2.3.0/30"]), raw("v6", &["1000::/126"])];
    let both = [raw("a", &["1.2.3.0/30"]), raw("b", &["1.2.4.0/30", "1000::/126"])];
    for (pools, policy, expected) in [
        (&apart, PreferDualStack, "a=1.2.3.0"),
        (&apart, RequireDualStack, "a=-!Exhausted"),
        (&both, PreferDualStack, "a=1.2.4.0,1000::"),
        (&both, RequireDualStack, "a=1.2.4.0,1000::"),
    ] {
        assert_eq!(pass(&mut Allocator::new(&config(pools)), &with(policy)), expected);
    }
    let v6_first = services(&[("a", families(spec(), &[Family::Ipv6], PreferDualStack))]);
    assert_eq!(pass(&mut Allocator::new(&config(&apart)), &v6_first), "a=1000::", "the first family first");
}

/// MetalLB leaves equal and negative priorities, and the order of general pools, to chance.
#[test]
fn ties_between_pools_are_broken_by_name() {
    let one = |name: &str, net: u8| raw(name, &[&format!("10.0.{net}.1/32"), &format!("fd00:{net}::1/128")]);
    let pools = config(&[
        one("general-b", 1),
        one("general-a", 2),
        pinned(one("unnumbered", 3), 0, &["test-ns1"], &[]),
        pinned(one("same-b", 4), 7, &["test-ns1"], &[]),
        pinned(one("same-a", 5), 7, &["test-ns1"], &[]),
        pinned(one("negative", 6), -1, &["test-ns1"], &[]),
    ]);
    let order = [6, 5, 4, 3, 2, 1];
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut allocator = Allocator::new(&pools);
        for (index, net) in order.into_iter().enumerate() {
            let spec = families(spec(), &[family], FamilyPolicy::SingleStack);
            let expected =
                if family == Family::Ipv4 { format!("10.0.{net}.1") } else { format!("fd00:{net}::1") };
            assert_eq!(allocate(&mut allocator, &format!("s{index}"), &spec), Ok(expected));
        }
    }
}

#[test]
fn without_pools_everybody_waits() {
    let decisions =
        allocate_all(&Config::default(), &Rules::default(), &services(&[("a", spec())]), &BTreeMap::new());
    assert_eq!(text(&decisions), "a=-!NoPools");
}

/// A restart while a pool can't be read: what a Service had is not forgotten, not replaced, and given to nobody.
#[test]
fn an_address_whose_pool_can_not_be_read_is_waited_for() {
    let had = |ips: &[&str]| {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Addresses::new(&ips).unwrap()
    };
    let dual = ServiceSpec { ip_family_policy: FamilyPolicy::PreferDualStack, ..spec() };
    let all = services(&[("new", spec()), ("old", dual)]);
    for lost in [&["203.0.113.7"][..], &["2001:db8:ffff::7"], &["203.0.113.7", "2001:db8:ffff::7"]] {
        let restored = BTreeMap::from([(key("old"), had(lost))]);
        let doubt = Rules { pools_in_doubt: true, ..Rules::default() };
        for config in [small(), Config::default()] {
            let decisions = allocate_all(&config, &doubt, &all, &restored);
            let old = &decisions[&key("old")];
            assert_eq!((old.allocation.as_ref(), old.awaiting), (None, Some(had(lost))), "{lost:?}");
            assert!(old.error.is_some());
            assert_eq!(decisions[&key("new")].awaiting, None);
        }
        let sure = allocate_all(&small(), &Rules::default(), &all, &restored);
        assert_eq!(sure[&key("old")].awaiting, None, "without doubt it gets another one");
        assert!(sure[&key("old")].allocation.is_some());
    }
}

#[test]
fn the_address_of_a_service_that_may_come_back_is_given_to_nobody() {
    let config = small();
    let mut allocator = Allocator::new(&config);
    let first = allocator.reconcile(&Rules::default(), &services(&[("old", spec())]), &BTreeMap::new());
    let address = first[&key("old")].allocation.as_ref().unwrap().addresses;
    let restored = BTreeMap::from([(key("old"), address)]);
    for mut allocator in [allocator, Allocator::new(&config)] {
        let new = services(&[("new", spec())]);
        let decisions = allocator.reconcile(&Rules::default(), &new, &restored);
        assert_eq!(decisions.len(), 1);
        assert!(
            decisions[&key("new")].allocation.as_ref().is_none_or(|a| !a.addresses.contains(address.first()))
        );
        let both = services(&[("new", spec()), ("old", spec())]);
        let decisions = allocator.reconcile(&Rules::default(), &both, &restored);
        assert_eq!(decisions[&key("old")].allocation.as_ref().map(|a| a.addresses), Some(address));
        let decisions = allocator.reconcile(&Rules::default(), &new, &BTreeMap::new());
        assert_eq!(decisions.len(), 1);
        assert!(allocator.holders(address.first()).is_empty(), "gone for good");
    }
}

/// Its addresses lie in two pools now, of which one may be there only because another can't be read.
#[test]
fn who_waits_for_a_pool_keeps_each_of_its_addresses_from_others() {
    let config = config(&[raw("a", &["1.2.3.0/31"]), raw("b", &["1000::/127"])]);
    let ingress = vec!["1.2.3.0".to_owned(), "1000::".to_owned()];
    let old = ServiceSpec {
        ingress,
        ..families(spec(), &[Family::Ipv4, Family::Ipv6], FamilyPolicy::RequireDualStack)
    };
    let rules = Rules { pools_in_doubt: true, ..Rules::default() };
    let named = |text: &str| ServiceSpec { load_balancer_ip: Some(text.to_owned()), ..spec() };
    let all = services(&[("a-four", spec()), ("b-named", named("1.2.3.0")), ("old", old)]);
    let mut allocator = Allocator::new(&config);
    for _ in 0..2 {
        let decisions = allocator.reconcile(&rules, &all, &BTreeMap::new());
        check(&allocator);
        assert_eq!(text(&decisions), "a-four=1.2.3.1 b-named=-!Taken old=-!DifferentPools");
    }
    let sure = allocator.reconcile(&Rules::default(), &all, &BTreeMap::new());
    assert_eq!(text(&sure), "a-four=1.2.3.1 b-named=1.2.3.0 old=-!Exhausted");
}

/// The pool asked for must not move a Service from the address that it asks for.
#[test]
fn a_wish_that_contradicts_itself_moves_nobody() {
    let pools =
        config(&[raw("test", &["1.2.3.0/30", "1000::/126"]), raw("other", &["1.2.4.0/30", "2000::/126"])]);
    for (ips, family) in [("1.2.3.1", Family::Ipv4), ("1000::1", Family::Ipv6)] {
        let wants = |spec: ServiceSpec| families(spec, &[family], FamilyPolicy::SingleStack);
        let mut allocator = Allocator::new(&pools);
        let held = format!("a={ips}");
        assert_eq!(pass(&mut allocator, &services(&[("a", wants(wanting(ips)))])), held);
        let both = annotate(wants(wanting(ips)), &[("metallb.io/address-pool", "other")]);
        assert_eq!(pass(&mut allocator, &services(&[("a", both.clone())])), format!("{held}!NotInPool"));
        assert_eq!(pass(&mut Allocator::new(&pools), &services(&[("a", both)])), "a=-!NotInPool");
    }
}

/// One of the ways in which a Service has an address, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Claim {
    Book,
    Remembered,
    Marked,
    Status,
}

/// The first by name always has the weaker claim.
#[test]
fn of_two_claims_the_stronger_one_counts() {
    let claims = [Claim::Book, Claim::Remembered, Claim::Marked, Claim::Status];
    for (ips, other) in [("1.2.3.2", "1.2.3.0"), ("1000::2", "1000::")] {
        let family = Family::of(ip(ips));
        let wants = |spec: ServiceSpec| families(spec, &[family], FamilyPolicy::SingleStack);
        for (strong, weak) in
            claims.iter().enumerate().flat_map(|(n, one)| claims[n + 1..].iter().map(move |w| (*one, *w)))
        {
            let claiming = |claim: Claim| {
                let ingress = if matches!(claim, Claim::Marked | Claim::Status) {
                    vec![ips.to_owned()]
                } else {
                    vec![]
                };
                let marks = [("metallb.io/ip-allocated-from-pool", "test")];
                let spec = if claim == Claim::Marked { annotate(spec(), &marks) } else { spec() };
                wants(ServiceSpec { ingress, ..spec })
            };
            let mut allocator = Allocator::new(&small());
            if strong == Claim::Book {
                pass(&mut allocator, &services(&[("z", wants(wanting(ips)))]));
            }
            let both = services(&[("a", claiming(weak)), ("z", claiming(strong))]);
            let remembered =
                [("a", weak), ("z", strong)].into_iter().filter(|(_, claim)| *claim == Claim::Remembered);
            let remembered = remembered.map(|(name, _)| (key(name), addresses(ips))).collect();
            let decisions = allocator.reconcile(&Rules::default(), &both, &remembered);
            check(&allocator);
            assert_eq!(text(&decisions), format!("a={other} z={ips}"), "{strong:?} against {weak:?}");
        }
    }
}
