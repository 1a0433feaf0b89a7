//! temp
use lb_core::{allocator::*, burst::*, config::*, eligibility::*, ids::*, plan::*, pool::Family, request::*};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
fn main() {
    let n = 100_000;
    let pools = [RawPool {
        name: "p".into(),
        addresses: vec!["10.0.0.0/8".into(), "fd00::/64".into()],
        avoid_buggy_ips: true,
        ..Default::default()
    }];
    let (config, p) =
        Config::validate(&pools, &[RawAdvertisement { name: "a".into(), ..Default::default() }], &[]);
    assert!(p.is_empty());
    let services: BTreeMap<ServiceKey, ServiceSpec> = (0..n)
        .map(|i| {
            (
                ServiceKey::new("ns", format!("svc-{i:06}")).unwrap(),
                ServiceSpec {
                    service_type: ServiceType::LoadBalancer,
                    ip_families: vec![Family::Ipv4],
                    ..Default::default()
                },
            )
        })
        .collect();
    let t = Instant::now();
    let mut a = Allocator::new(&config);
    let d = a.reconcile(&Rules::default(), &services, &BTreeMap::new());
    println!("allocate {:?}", t.elapsed());
    let t = Instant::now();
    let d2 = a.reconcile(&Rules::default(), &services, &BTreeMap::new());
    println!("again {:?} {}", t.elapsed(), d == d2);
    let mut s = Snapshot::alone(NodeName::new("n0").unwrap());
    for i in 1..3 {
        s.nodes.insert(NodeName::new(format!("n{i}")).unwrap(), Node::default());
    }
    s.config = Arc::new(config.clone());
    s.links = vec![Link {
        id: LinkId(2),
        name: LinkName::new("eth0").unwrap(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        up: true,
        carrier: true,
        enslaved: false,
        noarp: false,
        addresses: vec![],
    }];
    let t = Instant::now();
    s.services = d
        .iter()
        .map(|(k, d)| {
            (
                k.clone(),
                AnnouncedService::new(
                    &services[k],
                    d.allocation.as_ref().unwrap().addresses,
                    Endpoints::Unknown,
                ),
            )
        })
        .collect();
    println!("snapshot {:?}", t.elapsed());
    for nodes in [3, 1] {
        if nodes == 1 {
            s.nodes.retain(|k, _| k.as_str() == "n0");
        }
        let t = Instant::now();
        let pl = plan(&s);
        println!("plan {nodes} nodes {:?} {}", t.elapsed(), pl.desired.len());
        let t = Instant::now();
        let c = diff(&pl.desired, &BTreeMap::new());
        println!("diff all {:?} {}", t.elapsed(), c.gained.len());
        let t = Instant::now();
        let c2 = diff(&pl.desired, &pl.desired.clone());
        println!("diff none {:?} {}", t.elapsed(), c2.is_empty());
        let t = Instant::now();
        let mut b = Bursts::new(std::num::NonZeroU32::new(4_000_000_000).unwrap());
        for g in &c.gained {
            b.start(*g, Duration::ZERO);
        }
        let f = b.take_due(Duration::from_secs(1), usize::MAX);
        println!("burst {:?} {}", t.elapsed(), f.len());
    }
    // /16 and alloc/release
    let (c16, _) = Config::validate(
        &[RawPool { name: "p".into(), addresses: vec!["10.0.0.0/16".into()], ..Default::default() }],
        &[],
        &[],
    );
    let keys: Vec<_> = services.keys().take(65536).cloned().collect();
    let spec = ServiceSpec { service_type: ServiceType::LoadBalancer, ..Default::default() };
    let rules = Rules::default();
    let reqs: Vec<_> = keys.iter().map(|k| Request::new(k, &spec, &rules)).collect();
    let mut a = Allocator::new(&c16);
    let t = Instant::now();
    for r in &reqs {
        a.allocate(r).unwrap();
    }
    println!("/16 {:?}", t.elapsed());
    let t = Instant::now();
    for k in &keys {
        a.release(k);
    }
    println!("release /16 {:?}", t.elapsed());
    let many: Vec<RawPool> = (0..1000)
        .map(|i| RawPool {
            name: format!("p{i}"),
            addresses: vec![format!("10.{}.{}.0/24", i / 250, i % 250)],
            ..Default::default()
        })
        .collect();
    let (cm, _) =
        Config::validate(&many, &[RawAdvertisement { name: "a".into(), ..Default::default() }], &[]);
    let t = Instant::now();
    let d = allocate_all(&cm, &rules, &services, &BTreeMap::new());
    println!("1000 pools {:?} {}", t.elapsed(), d.values().filter(|d| d.allocation.is_some()).count());
}
