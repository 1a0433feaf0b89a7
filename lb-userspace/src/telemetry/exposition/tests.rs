use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::*;

#[test]
fn the_older_format_has_the_same_metrics() {
    let mut registry = Registry::default();
    registry.register("tries", "Tries", Counter::<u64>::default());
    registry.register("room", "Room", Gauge::<i64>::default());
    let took: Histogram = Histogram::new([0.5]);
    registry.register_with_unit("took", "Time", Unit::Seconds, took);
    let (kind, page) = Exposition::new(Arc::new(registry), Compat::Metallb).page().unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(
        page,
        "# HELP tries_total Tries.\n# TYPE tries_total counter\ntries_total 0\n\
         # HELP room Room.\n# TYPE room gauge\nroom 0\n\
         # HELP took_seconds Time.\n# TYPE took_seconds histogram\n\
         took_seconds_sum 0.0\ntook_seconds_count 0\n\
         took_seconds_bucket{le=\"0.5\"} 0\ntook_seconds_bucket{le=\"+Inf\"} 0\n"
    );
}

#[test]
fn without_the_flag_nothing_is_of_metallb() {
    let mut registry = Registry::default();
    registry.register("barelb_controller_synced", "Synced", Gauge::<i64>::default());
    let registry = Arc::new(registry);
    let (kind, page) = Exposition::new(Arc::clone(&registry), Compat::None).page().unwrap();
    assert!(kind.starts_with("application/openmetrics-text;") && page.ends_with("# EOF\n"), "{kind}");
    assert!(!page.contains("metallb"), "{page}");
    let (_, page) = Exposition::new(registry, Compat::Metallb).page().unwrap();
    assert!(
        page.contains("\nmetallb_k8s_client_config_loaded_bool 0\n") && !page.contains("# EOF"),
        "{page}"
    );
}

/// What MetalLB's part of the page says of ours.
fn twins(ours: &str) -> Vec<String> {
    metallb::page(ours).unwrap().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn pools_are_summed_up_and_a_family_that_is_not_there_is_zero() {
    let ours = "barelb_allocator_addresses{pool=\"both\",family=\"IPv4\"} 10\n\
        barelb_allocator_addresses{pool=\"both\",family=\"IPv6\"} 9223372036854775807\n\
        barelb_allocator_addresses{pool=\"old\",family=\"IPv4\"} 4\n\
        barelb_allocator_addresses_in_use{pool=\"both\",family=\"IPv4\"} 2\n\
        barelb_allocator_addresses_in_use{pool=\"both\",family=\"IPv6\"} 1\n\
        barelb_allocator_addresses_in_use{pool=\"old\",family=\"IPv4\"} 4\n";
    assert_eq!(
        twins(ours),
        [
            "metallb_allocator_addresses_total{pool=\"both\"} 9223372036854775817",
            "metallb_allocator_addresses_total{pool=\"old\"} 4",
            "metallb_allocator_ipv4_addresses_total{pool=\"both\"} 10",
            "metallb_allocator_ipv4_addresses_total{pool=\"old\"} 4",
            "metallb_allocator_ipv6_addresses_total{pool=\"both\"} 9223372036854775807",
            "metallb_allocator_ipv6_addresses_total{pool=\"old\"} 0",
            "metallb_allocator_addresses_in_use_total{pool=\"both\"} 3",
            "metallb_allocator_addresses_in_use_total{pool=\"old\"} 4",
            "metallb_allocator_ipv4_addresses_in_use_total{pool=\"both\"} 2",
            "metallb_allocator_ipv4_addresses_in_use_total{pool=\"old\"} 4",
            "metallb_allocator_ipv6_addresses_in_use_total{pool=\"both\"} 1",
            "metallb_allocator_ipv6_addresses_in_use_total{pool=\"old\"} 0",
        ]
    );
}

#[test]
fn what_is_told_of_an_address_is_of_all_interfaces_and_vlans() {
    let ours = "barelb_announced{service=\"default/web\",ip=\"192.0.2.100\",node=\"node-a\"} 1\n\
        barelb_announced{service=\"default/web\",ip=\"2001:db8::100\",node=\"node-a\"} 1\n\
        barelb_requests_total{ip=\"192.0.2.100\",interface=\"eth0\"} 7\n\
        barelb_requests_total{ip=\"192.0.2.100\",interface=\"a,\\\"b\\\"}\",vlan=\"42\"} 5\n\
        barelb_requests_total{ip=\"2001:db8::100\",interface=\"eth0\"} 18446744073709551615\n\
        barelb_replies_total{ip=\"192.0.2.100\",interface=\"eth0\"} 6\n\
        barelb_gratuitous_total{ip=\"192.0.2.100\",interface=\"eth0\"} 12\n\
        barelb_probes_total{ip=\"192.0.2.100\",interface=\"eth0\"} 1\n";
    assert_eq!(
        twins(ours),
        [
            "metallb_layer2_requests_received{ip=\"192.0.2.100\"} 12",
            "metallb_layer2_requests_received{ip=\"2001:db8::100\"} 18446744073709551615",
            "metallb_layer2_responses_sent{ip=\"192.0.2.100\"} 6",
            "metallb_layer2_gratuitous_sent{ip=\"192.0.2.100\"} 12",
            "metallb_speaker_announced{ip=\"192.0.2.100\",node=\"node-a\",protocol=\"layer2\",service=\"default/web\"} 1",
            "metallb_speaker_announced{ip=\"2001:db8::100\",node=\"node-a\",protocol=\"layer2\",service=\"default/web\"} 1",
        ]
    );
}

#[test]
fn the_client_is_well_by_the_words_of_either_program() {
    let of = |program: &str, valid: u8| {
        format!(
            "barelb_{program}_updates_total 9\nbarelb_{program}_synced 1\n\
             barelb_{program}_configuration_valid {valid}\n\
             barelb_{program}_writes_total{{kind=\"event\",result=\"ok\"}} 5\n\
             barelb_{program}_writes_total{{kind=\"event\",result=\"timeout\"}} 2\n\
             barelb_{program}_writes_total{{kind=\"event\",result=\"conflict\"}} 1\n"
        )
    };
    let expected = |stale: u8| {
        [
            "metallb_k8s_client_updates_total 9".to_owned(),
            "metallb_k8s_client_update_errors_total 3".to_owned(),
            "metallb_k8s_client_config_loaded_bool 1".to_owned(),
            format!("metallb_k8s_client_config_stale_bool {stale}"),
        ]
    };
    for valid in [0, 1] {
        assert_eq!(twins(&of("agent", valid)), expected(1 - valid));
        let leads = of("controller", valid) + "barelb_controller_leader 1\n";
        assert_eq!(twins(&leads), expected(1 - valid));
        let follows = of("controller", valid) + "barelb_controller_leader 0\n";
        assert_eq!(twins(&follows), expected(0), "it has not looked at the configuration");
    }
}

#[test]
fn every_one_has_its_type_and_text() {
    let page = metallb::page("barelb_requests_total{ip=\"192.0.2.100\",interface=\"eth0\"} 7\n").unwrap();
    assert_eq!(
        page,
        "# HELP metallb_layer2_requests_received Number of layer2 requests received for owned IPs\n\
         # TYPE metallb_layer2_requests_received counter\n\
         metallb_layer2_requests_received{ip=\"192.0.2.100\"} 7\n"
    );
}
