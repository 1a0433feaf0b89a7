use super::*;
use crate::{
    addresses::Addresses,
    allocator::Allocation,
    ids::{NodeName, PoolName},
    plan::Silence,
    pool::Family,
    request::AllocError,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool() -> PoolName {
    PoolName::new("default").unwrap()
}

fn served(ips: &[&str]) -> Decision {
    let ips: Vec<IpAddr> = ips.iter().map(|text| ip(text)).collect();
    let allocation = Allocation { pool: pool(), addresses: Addresses::new(&ips).unwrap() };
    Decision { allocation: Some(allocation), ..Decision::default() }
}

fn verdict(text: &str, verdict: Verdict) -> AddressVerdict {
    AddressVerdict { ip: ip(text), verdict }
}

#[test]
fn the_status_is_written_as_kubernetes_spells_it() {
    let verdicts = [verdict("192.0.2.1", Verdict::Owner), verdict("2001:db8::1", Verdict::Owner)];
    let mut status = ServiceStatus::new(&served(&["192.0.2.1", "2001:db8::1"]), &verdicts);
    status.carry_times(None, "2026-01-02T03:04:05Z");
    let expected = serde_json::json!({
        "loadBalancer": { "ingress": [
            { "ip": "192.0.2.1", "ipMode": "VIP" },
            { "ip": "2001:db8::1", "ipMode": "VIP" },
        ]},
        "conditions": [
            {
                "type": "Allocated", "status": "True", "reason": "IPAllocated",
                "message": "192.0.2.1,2001:db8::1 of pool default",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {
                "type": "Announced", "status": "True", "reason": "Announcing",
                "message": "192.0.2.1 is announced from this node; 2001:db8::1 is announced from this node",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
        ],
    });
    assert_eq!(serde_json::to_value(&status).unwrap(), expected);
}

/// Type, truth, reason and message of a condition.
fn line(condition: &Condition) -> String {
    format!("{}={:?} {}: {}", condition.kind, condition.status, condition.reason, condition.message)
}

#[test]
fn every_decision_has_its_condition() {
    let error = || Some(AllocError::NoPools);
    let one_family = Notice::OneFamilyOnly { missing: Family::Ipv6, pool: pool() };
    for (decision, expected) in [
        (served(&["192.0.2.1"]), "Allocated=True IPAllocated: 192.0.2.1 of pool default"),
        (served(&["2001:db8::1"]), "Allocated=True IPAllocated: 2001:db8::1 of pool default"),
        (
            Decision { error: error(), ..served(&["192.0.2.1"]) },
            "Allocated=False NoPools: keeps 192.0.2.1 of pool default: no address pool is configured",
        ),
        (
            Decision { error: error(), ..Decision::default() },
            "Allocated=False NoPools: no address pool is configured",
        ),
        (
            Decision { notices: vec![one_family], ..served(&["192.0.2.1"]) },
            "Allocated=True OneFamilyOnly: 192.0.2.1 of pool default, which has no free IPv6 address",
        ),
        (Decision::default(), "Allocated=False NotLoadBalancer: the Service is not of type LoadBalancer"),
    ] {
        let status = ServiceStatus::new(&decision, &[]);
        assert_eq!(status.conditions.iter().map(line).collect::<Vec<_>>(), [expected]);
        assert_eq!(status.load_balancer.ingress.is_empty(), decision.allocation.is_none());
    }
}

#[test]
fn announced_is_true_only_when_every_address_is() {
    let owner = NodeName::new("n2").unwrap();
    let standby = || Verdict::Standby { owner: owner.clone(), rank: 1 };
    let silent = || Verdict::Silent(Silence::NoEndpoints);
    for (verdicts, expected) in [
        (
            vec![verdict("192.0.2.1", Verdict::Owner), verdict("2001:db8::1", silent())],
            "Announced=False NotOwner: 192.0.2.1 is announced from this node; 2001:db8::1 is not announced from \
             this node: no endpoint of the Service can serve",
        ),
        (
            vec![verdict("192.0.2.1", standby())],
            "Announced=False Standby: 192.0.2.1 is announced by node n2; this node is number 1 behind it",
        ),
    ] {
        let status = ServiceStatus::new(&served(&["192.0.2.1"]), &verdicts);
        assert_eq!(status.conditions.last().map(line).as_deref(), Some(expected));
    }
}

#[test]
fn times_stay_while_the_truth_stays_and_make_no_difference() {
    let mut first = ServiceStatus::new(&served(&["192.0.2.1"]), &[]);
    first.carry_times(None, "then");
    let mut second = ServiceStatus::new(&served(&["192.0.2.2"]), &[]);
    assert!(second.differs(&first));
    second.carry_times(Some(&first), "now");
    assert_eq!(second.conditions[0].last_transition_time.as_deref(), Some("then"));
    let mut third = ServiceStatus::new(&Decision::default(), &[]);
    third.carry_times(Some(&second), "now");
    assert_eq!(third.conditions[0].last_transition_time.as_deref(), Some("now"));
    let mut same = ServiceStatus::new(&Decision::default(), &[]);
    same.carry_times(None, "much later");
    assert!(!same.differs(&third));
}
