//! F18: several looks at the same Services, written back in between as a controller writes them.
//!
//! The rows about events of the speaker are not the allocator's. Where BareLB differs the row says so.

use super::*;

type Services = BTreeMap<ServiceKey, ServiceSpec>;

/// A controller without its API: what is decided becomes the status that the next pass reads.
struct Controller {
    allocator: Allocator,
    services: Services,
    rules: Rules,
}

impl Controller {
    fn new(config: &Config, cluster_ips_required: bool) -> Self {
        let rules = Rules { cluster_ips_required, ..Rules::default() };
        Self { allocator: Allocator::new(config), services: Services::new(), rules }
    }

    /// Writes a new spec, and keeps the status as the API does.
    fn apply(&mut self, name: &str, spec: ServiceSpec) {
        let ingress = self.services.get(&key(name)).map(|old| old.ingress.clone()).unwrap_or_default();
        self.services.insert(key(name), ServiceSpec { ingress, ..spec });
    }

    /// One pass: what became of a Service, and whether its status is written anew.
    fn pass(&mut self, name: &str) -> (String, Vec<Notice>, bool) {
        let decisions = self.allocator.reconcile(&self.rules, &self.services, &BTreeMap::new());
        check(&self.allocator);
        let mut written = false;
        for (service, decision) in &decisions {
            let addresses = decision.allocation.iter().flat_map(|a| a.addresses.iter());
            let ingress: Vec<String> = addresses.map(|ip| ip.to_string()).collect();
            let spec = self.services.get_mut(service).unwrap();
            written |= *service == key(name) && spec.ingress != ingress;
            spec.ingress = ingress;
        }
        let decision = &decisions[&key(name)];
        let held = decision.allocation.as_ref().map(|a| a.addresses.to_string()).unwrap_or_default();
        let error = decision.error.as_ref().map(|error| format!(" {}", error.reason())).unwrap_or_default();
        (format!("{held}{error}"), decision.notices.clone(), written)
    }

    /// A pass that finds the Service like this and writes nothing.
    fn rests(&mut self, name: &str, expected: &str) {
        let (found, _, written) = self.pass(name);
        assert_eq!((found.as_str(), written), (expected, false));
    }
}

fn dual_pool() -> Config {
    config(&[raw("test", &["1.2.3.0/30", "1000::/126"])])
}

fn with_cluster_ips(ips: &[&str], spec: ServiceSpec) -> ServiceSpec {
    ServiceSpec { cluster_ips: ips.iter().map(|ip| (*ip).to_owned()).collect(), ..spec }
}

#[test]
fn f18_an_unreadable_wish_keeps_the_address_and_writes_nothing() {
    for (cluster_ip, address, other) in [("10.0.0.1", "1.2.3.0", "1.2.3.1"), ("fd00::1", "1000::", "1000::1")]
    {
        let plain = || with_cluster_ips(&[cluster_ip], spec());
        let mut controller = Controller::new(&dual_pool(), true);
        controller.apply("a", plain());
        assert_eq!(controller.pass("a").0, address);
        let both = ServiceSpec {
            load_balancer_ip: Some(other.to_owned()),
            ..annotate(plain(), &[("metallb.io/loadBalancerIPs", other)])
        };
        for (wish, reason) in [
            (annotate(plain(), &[("metallb.io/loadBalancerIPs", "garbage")]), "UnreadableWish"),
            (both, "TwoWishes"),
        ] {
            controller.apply("a", wish);
            for _ in 0..3 {
                controller.rests("a", &format!("{address} {reason}"));
            }
        }
    }
}

/// MetalLB takes the address away; here it is kept until the new one is certain.
#[test]
fn f18_a_wish_that_can_not_be_had_keeps_the_address() {
    let v4 = || with_cluster_ips(&["10.0.0.1"], spec());
    let mut controller = Controller::new(&dual_pool(), true);
    controller.apply("a", v4());
    controller.apply("b", v4());
    assert_eq!(controller.pass("b").0, "1.2.3.1");
    for (wish, reason) in [("1000::", "WishFamilies"), ("9.9.9.9", "NotInAnyPool"), ("1.2.3.1", "Taken")] {
        controller.apply("a", annotate(v4(), &[("metallb.io/loadBalancerIPs", wish)]));
        for _ in 0..3 {
            controller.rests("a", &format!("1.2.3.0 {reason}"));
        }
    }
}

/// MetalLB sorts the list as text in the second pass and writes it again; here it stays as it was asked for.
#[test]
fn f18_a_wish_for_two_addresses_keeps_its_order() {
    for wish in ["1000::2,1.2.3.2", "1.2.3.2,1000::2"] {
        let mut controller = Controller::new(&dual_pool(), true);
        let both = with_cluster_ips(&["10.0.0.1", "fd00::1"], wanting(wish));
        controller.apply("a", both);
        assert_eq!(controller.pass("a"), (wish.to_owned(), vec![], true));
        controller.rests("a", wish);
        controller.rests("a", wish);
    }
}

#[test]
fn f18_a_missing_second_family_is_said_each_time_and_nothing_is_written() {
    use FamilyPolicy::PreferDualStack;
    for (entry, address, missing) in
        [("1.2.3.0/30", "1.2.3.0", Family::Ipv6), ("1000::/126", "1000::", Family::Ipv4)]
    {
        let mut controller = Controller::new(&config(&[raw("test", &[entry])]), true);
        let prefers = families(spec(), &[missing.other()], PreferDualStack);
        controller.apply("a", with_cluster_ips(&["10.0.0.1", "fd00::1"], prefers));
        let notice = Notice::OneFamilyOnly { missing, pool: name("test") };
        assert_eq!(controller.pass("a"), (address.to_owned(), vec![notice.clone()], true));
        for _ in 0..3 {
            assert_eq!(controller.pass("a"), (address.to_owned(), vec![notice.clone()], false));
        }
    }
}

#[test]
fn f18_a_family_that_comes_later_stands_last() {
    let mut controller = Controller::new(&config(&[raw("test", &["1000::/126"])]), true);
    let prefers = families(spec(), &[Family::Ipv6, Family::Ipv4], FamilyPolicy::PreferDualStack);
    controller.apply("a", with_cluster_ips(&["fd00::1", "10.0.0.1"], prefers));
    assert_eq!(controller.pass("a").0, "1000::");
    controller.allocator.reload(&dual_pool());
    assert_eq!(controller.pass("a").0, "1000::,1.2.3.0");
    controller.rests("a", "1000::,1.2.3.0");
}

/// MetalLB adds and removes the second address for ever.
#[test]
fn f18_prefer_dual_stack_with_one_cluster_ip_rests() {
    for (cluster_ip, address) in [("10.0.0.1", "1.2.3.0"), ("fd00::1", "1000::")] {
        let mut controller = Controller::new(&dual_pool(), true);
        let prefers = families(spec(), &[], FamilyPolicy::PreferDualStack);
        controller.apply("a", with_cluster_ips(&[cluster_ip], prefers));
        assert_eq!(controller.pass("a"), (address.to_owned(), vec![], true));
        for _ in 0..4 {
            controller.rests("a", address);
        }
    }
}

#[test]
fn f18_a_sharer_that_changes_moves_and_stays_where_it_went() {
    for changed in [sharing("j", "tcp/2", ""), sharing("k", "tcp/1", ""), sharing("k", "tcp/2", "backend")] {
        let mut controller = Controller::new(&dual_pool(), false);
        controller.apply("a", sharing("k", "tcp/1", ""));
        controller.apply("b", sharing("k", "tcp/2", ""));
        assert_eq!(controller.pass("b").0, "1.2.3.0");
        controller.apply("b", changed);
        let (found, notices, written) = controller.pass("b");
        assert_eq!((found.as_str(), written), ("1.2.3.1", true));
        assert!(matches!(notices[..], [Notice::Cleared { .. }]), "{notices:?}");
        controller.rests("a", "1.2.3.0");
        controller.apply("b", sharing("k", "tcp/2", ""));
        controller.rests("b", "1.2.3.1");
    }
}

#[test]
fn f18_without_pools_the_address_is_cleared_without_a_word_about_the_address() {
    for (family, address) in [(Family::Ipv4, "1.2.3.0"), (Family::Ipv6, "1000::")] {
        let mut controller = Controller::new(&dual_pool(), false);
        controller.apply("a", families(spec(), &[family], FamilyPolicy::SingleStack));
        assert_eq!(controller.pass("a").0, address);
        controller.allocator.reload(&Config::default());
        let (found, _, written) = controller.pass("a");
        assert_eq!((found.as_str(), written), (" NoPools", true));
        controller.rests("a", " NoPools");
        controller.allocator.reload(&dual_pool());
        assert_eq!(controller.pass("a").0, address, "the next pool serves at once");
    }
}
