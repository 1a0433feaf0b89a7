use std::fmt::Write;

use prometheus_client::encoding::text;

use super::*;

fn rendered(registry: &Registry) -> String {
    let mut text = String::new();
    text::encode(&mut text, registry).unwrap();
    text
}

/// The samples of one metric.
fn samples(registry: &Registry, name: &str) -> Vec<String> {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    rendered(registry).lines().filter(of_name).map(str::to_owned).collect()
}

fn controller() -> (Registry, Metrics) {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    (registry, metrics)
}

fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

fn usage(size: (i64, i64), in_use: (i64, i64)) -> PoolUsage {
    let pair = |(ipv4, ipv6)| PoolSize { ipv4, ipv6 };
    PoolUsage { size: pair(size), in_use: pair(in_use) }
}

/// Writes that nobody has made yet.
fn no_writes() -> String {
    let mut kinds = WriteKind::ALL.map(WriteKind::label);
    let mut results = WriteResult::ALL.map(WriteResult::label);
    kinds.sort_unstable();
    results.sort_unstable();
    let line =
        |kind, result| format!("barelb_controller_writes_total{{kind=\"{kind}\",result=\"{result}\"}} 0\n");
    kinds.iter().flat_map(|kind| results.map(|result| line(*kind, result))).collect()
}

#[test]
fn a_controller_that_has_done_nothing() {
    let (registry, _metrics) = controller();
    let ends = [
        "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0",
        "10.0",
    ];
    let buckets = ends.iter().chain(&["+Inf"]).fold(String::new(), |mut text, end| {
        writeln!(text, "barelb_controller_reconcile_duration_seconds_bucket{{le=\"{end}\"}} 0").unwrap();
        text
    });
    let expected = format!(
        "# HELP barelb_build_info Always 1; the version is a label.\n\
         # TYPE barelb_build_info gauge\n\
         barelb_build_info{{version=\"{version}\"}} 1\n\
         # HELP barelb_controller_reconcile_duration_seconds Time that a pass over all Services took, without the \
         writes.\n\
         # TYPE barelb_controller_reconcile_duration_seconds histogram\n\
         # UNIT barelb_controller_reconcile_duration_seconds seconds\n\
         barelb_controller_reconcile_duration_seconds_sum 0.0\n\
         barelb_controller_reconcile_duration_seconds_count 0\n\
         {buckets}\
         # HELP barelb_controller_updates Changes of objects that watches have shown, their first lists among them.\n\
         # TYPE barelb_controller_updates counter\n\
         barelb_controller_updates_total 0\n\
         # HELP barelb_controller_writes Writes to the API server, by what was written and what became of it.\n\
         # TYPE barelb_controller_writes counter\n\
         {writes}\
         # HELP barelb_controller_leader 1 if this replica leads and may write, else 0.\n\
         # TYPE barelb_controller_leader gauge\n\
         barelb_controller_leader 0\n\
         # HELP barelb_controller_synced 1 once every kind of object has been listed, else 0.\n\
         # TYPE barelb_controller_synced gauge\n\
         barelb_controller_synced 0\n\
         # HELP barelb_controller_configuration_valid 1 if all of the configuration is in force, 0 if a part is not, \
         or while none was read.\n\
         # TYPE barelb_controller_configuration_valid gauge\n\
         barelb_controller_configuration_valid 0\n\
         # HELP barelb_controller_configuration_problems Problems of the configuration, warnings among them.\n\
         # TYPE barelb_controller_configuration_problems gauge\n\
         barelb_controller_configuration_problems 0\n\
         # EOF\n",
        version = env!("CARGO_PKG_VERSION"),
        writes = no_writes(),
    );
    assert_eq!(rendered(&registry), expected);
}

#[test]
fn a_controller_at_work() {
    let (registry, shared) = controller();
    shared.pool(&pool("default"), usage((253, i64::MAX), (2, 1)));
    shared.waiting(&BTreeMap::from([("Taken", 2), ("Exhausted", 7)]));
    shared.pass(Duration::from_micros(1500));
    shared.pass(Duration::from_secs(11));
    shared.leader(true);
    shared.updated(4);
    shared.synced(true);
    shared.configuration(false, 3);
    shared.written(WriteKind::Event, WriteResult::Ok);
    shared.written(WriteKind::Event, WriteResult::Ok);
    shared.written(WriteKind::ServiceStatus, WriteResult::Conflict);

    let text = rendered(&registry);
    let allocator = "\
        # HELP barelb_allocator_addresses Addresses that a pool can give out. 2^63-1 stands for that many or more, as \
        in a large IPv6 pool.\n\
        # TYPE barelb_allocator_addresses gauge\n\
        barelb_allocator_addresses{pool=\"default\",family=\"IPv4\"} 253\n\
        barelb_allocator_addresses{pool=\"default\",family=\"IPv6\"} 9223372036854775807\n\
        # HELP barelb_allocator_addresses_in_use Addresses that Services hold. One that several share counts once.\n\
        # TYPE barelb_allocator_addresses_in_use gauge\n\
        barelb_allocator_addresses_in_use{pool=\"default\",family=\"IPv4\"} 2\n\
        barelb_allocator_addresses_in_use{pool=\"default\",family=\"IPv6\"} 1\n\
        # HELP barelb_allocator_services_waiting Services without the address they are to have, by reason.\n\
        # TYPE barelb_allocator_services_waiting gauge\n\
        barelb_allocator_services_waiting{reason=\"Exhausted\"} 7\n\
        barelb_allocator_services_waiting{reason=\"Taken\"} 2\n\
        # HELP barelb_controller_reconcile_duration_seconds ";
    assert!(text.contains(allocator), "{text}");
    let pass = "barelb_controller_reconcile_duration_seconds";
    for line in [
        format!("{pass}_sum 11.0015"),
        format!("{pass}_count 2"),
        format!("{pass}_bucket{{le=\"0.001\"}} 0"),
        format!("{pass}_bucket{{le=\"0.0025\"}} 1"),
        format!("{pass}_bucket{{le=\"10.0\"}} 1"),
        format!("{pass}_bucket{{le=\"+Inf\"}} 2"),
        "barelb_controller_writes_total{kind=\"event\",result=\"ok\"} 2".to_owned(),
        "barelb_controller_writes_total{kind=\"service_status\",result=\"conflict\"} 1".to_owned(),
        "barelb_controller_writes_total{kind=\"service_status\",result=\"ok\"} 0".to_owned(),
        "barelb_controller_leader 1".to_owned(),
        "barelb_controller_updates_total 4".to_owned(),
        "barelb_controller_synced 1".to_owned(),
        "barelb_controller_configuration_valid 0".to_owned(),
        "barelb_controller_configuration_problems 3".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// Otherwise the last words of a former leader would count beside those of the one that leads.
#[test]
fn who_leads_no_more_knows_nothing_of_pools_and_services() {
    let (registry, metrics) = controller();
    metrics.leader(true);
    metrics.pool(&pool("default"), usage((4, 4), (1, 0)));
    metrics.waiting(&BTreeMap::from([("Taken", 2)]));
    metrics.configuration(true, 3);
    metrics.leader(true);
    assert!(rendered(&registry).contains("barelb_allocator_services_waiting{"));
    metrics.leader(false);
    let text = rendered(&registry);
    assert!(!text.contains("barelb_allocator"), "{text}");
    assert!(text.contains("barelb_controller_configuration_valid 0\n"), "{text}");
    assert!(text.contains("barelb_controller_configuration_problems 0\n"), "{text}");
}

#[test]
fn pools_and_families_that_are_gone_are_forgotten() {
    let (registry, metrics) = controller();
    let names = ["barelb_allocator_addresses", "barelb_allocator_addresses_in_use"];
    let shown = || names.map(|name| samples(&registry, name));
    metrics.pool(&pool("a"), usage((4, 0), (1, 0)));
    metrics.pool(&pool("b"), usage((0, 16), (0, 2)));
    let [a, b] = ["pool=\"a\",family=\"IPv4\"", "pool=\"b\",family=\"IPv6\""];
    assert_eq!(
        shown(),
        [
            vec![format!("{}{{{a}}} 4", names[0]), format!("{}{{{b}}} 16", names[0])],
            vec![format!("{}{{{a}}} 1", names[1]), format!("{}{{{b}}} 2", names[1])],
        ]
    );

    // All of what a pool can give may be kept back while somebody still holds an address of it.
    metrics.pool(&pool("a"), usage((0, 0), (1, 0)));
    metrics.retain_pools(|name| name == "a");
    assert_eq!(shown(), [vec![format!("{}{{{a}}} 0", names[0])], vec![format!("{}{{{a}}} 1", names[1])]]);

    metrics.pool(&pool("a"), usage((0, 0), (0, 0)));
    assert_eq!(shown(), [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn reasons_that_nobody_has_are_not_shown() {
    let (registry, metrics) = controller();
    let name = "barelb_allocator_services_waiting";
    metrics.waiting(&BTreeMap::from([("NoPools", 1), ("Taken", u64::MAX)]));
    assert_eq!(
        samples(&registry, name),
        [
            format!("{name}{{reason=\"NoPools\"}} 1"),
            format!("{name}{{reason=\"Taken\"}} 9223372036854775807")
        ]
    );
    metrics.waiting(&BTreeMap::from([("NoPools", 0), ("Exhausted", 3)]));
    assert_eq!(samples(&registry, name), [format!("{name}{{reason=\"Exhausted\"}} 3")]);
    metrics.waiting(&BTreeMap::new());
    assert_eq!(samples(&registry, name), [""; 0]);
}
