//! F11: what becomes of a Service (`controller/service_test.go`).
//!
//! Where BareLB differs on purpose the row says so. Pools 1, 3 and 5 overlap, which validation refuses, so this
//! configuration is put together by hand.

use super::*;

fn f11_pools() -> Config {
    let off = |raw| RawPool { auto_assign: false, ..raw };
    let label = &[("team", "metallb")][..];
    let pools = [
        raw("pool1", &["1.2.3.0/31"]),
        off(raw("pool2", &["3.4.5.6/32"])),
        raw("pool3", &["1000::/127"]),
        off(raw("pool4", &["2000::1/128"])),
        raw("pool5", &["1.2.3.0/31", "1000::/127"]),
        pinned(raw("pool6", &["7.8.9.0/31"]), 10, &["test-ns1"], &[]),
        pinned(raw("pool7", &["10.11.12.0/31"]), 11, &["test-ns1"], &[]),
        pinned(raw("pool8", &["13.14.15.0/31"]), 9, &[], label),
        pinned(raw("pool9", &["16.17.18.0/31"]), 0, &["test-ns2"], &[]),
        pinned(raw("pool10", &["19.20.21.0/31"]), 8, &[], label),
        pinned(raw("pool11", &["22.23.24.0/31"]), 8, &["test-ns1"], label),
        pinned(raw("pool12", &["25.26.27.0/31"]), 5, &["test-ns1"], label),
    ];
    let one = |raw: RawPool| config(&[raw]).pools.into_iter().next().unwrap();
    Config { pools: pools.into_iter().map(one).collect(), ..Config::default() }
}

/// A Service of the controller: cluster IPs, what it wants, what it has.
#[derive(Clone, Default)]
struct Case {
    cluster_ips: &'static [&'static str],
    policy: FamilyPolicy,
    families: &'static [Family],
    field: &'static str,
    annotation: &'static str,
    pool: &'static str,
    has: &'static [&'static str],
    local: bool,
    namespace: &'static str,
    labelled: bool,
}

const V4: &[&str] = &["1.2.3.4"];
const V6: &[&str] = &["3000::1"];
const BOTH: &[&str] = &["1.2.3.4", "3000::1"];
const BOTH_V6: &[&str] = &["3000::1", "1.2.3.4"];

fn case(cluster_ips: &'static [&'static str]) -> Case {
    Case { cluster_ips, namespace: "test", ..Case::default() }
}

impl Case {
    fn spec(&self) -> ServiceSpec {
        let text = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        let mut spec = ServiceSpec {
            cluster_ips: text(self.cluster_ips),
            ip_families: self.families.to_vec(),
            ip_family_policy: self.policy,
            ingress: text(self.has),
            load_balancer_ip: Some(self.field.to_owned()),
            ..spec()
        };
        if self.local {
            spec.external_traffic_policy = TrafficPolicy::Local;
        }
        if self.labelled {
            spec.labels = labels(&[("team", "metallb")]);
        }
        let pairs = [("metallb.io/loadBalancerIPs", self.annotation), ("metallb.io/address-pool", self.pool)];
        annotate(spec, &pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>())
    }
}

/// Addresses and reason of the error, first from an empty book, then over and over on the same one: results do
/// not depend on history.
fn outcome(allocator: &mut Allocator, case: &Case) -> String {
    let rules = Rules { lb_class: None, cluster_ips_required: true, ..Rules::default() };
    let key = ServiceKey::new(case.namespace, "s").unwrap();
    let services = BTreeMap::from([(key.clone(), case.spec())]);
    let text = |decision: &Decision| {
        let addresses = decision.allocation.as_ref().map(|a| a.addresses.to_string()).unwrap_or_default();
        let error = decision.error.as_ref().map(|error| format!(" {}", error.reason())).unwrap_or_default();
        format!("{addresses}{error}")
    };
    let fresh = text(&allocate_all(&f11_pools(), &rules, &services, &BTreeMap::new())[&key]);
    allocator.reconcile::<ServiceSpec>(&rules, &BTreeMap::new(), &BTreeMap::new());
    let again = text(&allocator.reconcile(&rules, &services, &BTreeMap::new())[&key]);
    assert_eq!(fresh, again, "history");
    check(allocator);
    fresh
}

fn judge(cases: &[(Case, &str)]) {
    let mut allocator = Allocator::new(&f11_pools());
    for _ in 0..3 {
        for (index, (case, expected)) in cases.iter().enumerate() {
            assert_eq!(outcome(&mut allocator, case), *expected, "row {index}");
        }
    }
}

#[test]
fn f11_one_family() {
    judge(&[
        (case(V4), "1.2.3.0"),
        (Case { field: "1.2.3.1", ..case(V4) }, "1.2.3.1"),
        (Case { annotation: "1.2.3.1", ..case(V4) }, "1.2.3.1"),
        (Case { field: "1.2.3.1", annotation: "1.2.3.1", ..case(V4) }, " TwoWishes"),
        (Case { field: "please", ..case(V4) }, " UnreadableWish"),
        (Case { field: "3.4.5.6", ..case(V4) }, "3.4.5.6"),
        (Case { field: "3.4.5.6", local: true, ..case(V4) }, "3.4.5.6"),
        (Case { annotation: "1.2.3.0,1.2.3.1", ..case(V4) }, " WishNotOnePerFamily"),
        (Case { field: "1.2.3.1", pool: "pool2", ..case(V4) }, " NotInPool"),
        // MetalLB takes 1.2.3.1 away; here a failed request keeps what is held.
        (Case { field: "1.2.3.4", has: &["1.2.3.1"], ..case(V4) }, "1.2.3.1 NotInAnyPool"),
        (Case { pool: "pool1", ..case(V4) }, "1.2.3.0"),
        (Case { pool: "pool2", has: &["1.2.3.0"], ..case(V4) }, "3.4.5.6"),
        (Case { pool: "nowhere", ..case(V4) }, " UnknownPool"),
        (Case { has: &["2.3.4.5"], ..case(V4) }, "1.2.3.0"),
        (Case { has: &["10.10.10.10"], ..case(V4) }, "1.2.3.0"),
        (case(&[]), " NoClusterIP"),
        (Case { has: &["1.2.3.0"], ..case(&[]) }, " NoClusterIP"),
        (Case { field: "1000::", ..case(V4) }, " WishFamilies"),
        (Case { field: "1.2.3.0", ..case(V6) }, " WishFamilies"),
        (case(V6), "1000::"),
        (Case { has: &["1000::"], ..case(V4) }, "1.2.3.0"),
        (Case { has: &["1.2.3.0"], ..case(V6) }, "1000::"),
        (Case { has: &["1.2.3.0", "1.2.3.1", "1.2.3.2"], ..case(V4) }, "1.2.3.0"),
    ]);
}

#[test]
fn f11_two_families() {
    use FamilyPolicy::{PreferDualStack, RequireDualStack};
    let require = || Case { policy: RequireDualStack, ..case(BOTH) };
    let prefer = || Case { policy: PreferDualStack, ..case(BOTH) };
    let prefer_one = |cluster_ips| Case { policy: PreferDualStack, ..case(cluster_ips) };
    judge(&[
        (require(), "1.2.3.0,1000::"),
        (prefer(), "1.2.3.0,1000::"),
        (Case { pool: "pool5", ..prefer() }, "1.2.3.0,1000::"),
        (Case { pool: "pool1", ..prefer() }, "1.2.3.0"),
        (Case { pool: "pool3", ..prefer_one(V6) }, "1000::"),
        (Case { namespace: "test-ns1", ..prefer_one(V4) }, "7.8.9.0"),
        (Case { pool: "pool5", ..prefer_one(V4) }, "1.2.3.0"),
        (Case { policy: RequireDualStack, ..case(V4) }, " NotEnoughClusterIPs"),
        (Case { field: "1.2.3.0", ..require() }, " WishFamilies"),
        (Case { annotation: "1000::", ..prefer() }, " WishFamilies"),
        (Case { annotation: "1.2.3.0,1000::", ..require() }, "1.2.3.0,1000::"),
        (Case { annotation: "1.2.3.0,1000::", ..case(V4) }, " WishFamilies"),
        // The held 1000:: lies in pool3 by name order, which has no IPv4: MetalLB moves to 1.2.3.0,1000:: too.
        (
            Case {
                families: &[Family::Ipv6, Family::Ipv4],
                has: &["1000::"],
                policy: RequireDualStack,
                ..case(BOTH_V6)
            },
            "1.2.3.0,1000::",
        ),
        // Neither pool1 nor pool3 has both families: two pools do not add up.
        (Case { pool: "pool1", ..require() }, " PoolExhausted"),
    ]);
}

#[test]
fn f11_pinned_pools() {
    let ns = |namespace, labelled| Case { namespace, labelled, ..case(V4) };
    judge(&[
        (ns("test-ns1", false), "7.8.9.0"),
        (ns("test-ns2", false), "16.17.18.0"),
        (ns("test", true), "19.20.21.0"),
        (ns("test-ns1", true), "25.26.27.0"),
        (Case { pool: "pool9", ..ns("test-ns1", false) }, " PoolClosed"),
        (Case { field: "16.17.18.0", ..ns("test-ns1", false) }, " PoolClosed"),
    ]);
}

#[test]
fn f11_a_status_that_makes_no_sense_is_said() {
    let rules = Rules { lb_class: None, cluster_ips_required: true, ..Rules::default() };
    let case = Case { has: &["1.2.3.0", "1.2.3.1", "1.2.3.2"], ..case(V4) };
    let key = ServiceKey::new("test", "s").unwrap();
    let services = BTreeMap::from([(key.clone(), case.spec())]);
    let decision = &allocate_all(&f11_pools(), &rules, &services, &BTreeMap::new())[&key];
    assert_eq!(decision.notices, [Notice::UnreadableStatus(crate::request::StatusError)]);
}
