use super::*;

fn shown(registry: &Registry, verdict: &str) -> Option<u64> {
    let name = "barelb_agent_addresses";
    let begin = format!("{name}{{verdict=\"{verdict}\"}} ");
    samples(registry, &[name]).iter().find_map(|sample| sample.strip_prefix(&begin)?.parse().ok())
}

#[test]
fn addresses_are_counted_by_what_is_done_about_them() {
    let (registry, metrics) = agent();
    metrics.stepped(&plan(), &done());
    assert_eq!(shown(&registry, "announced"), None, "the maps can't be read yet");
    metrics.read_by(|_| Ok(reading()));
    let expected =
        [("announced", 3), ("unanswered", 1), ("standby", 1), ("no_candidate", 1), ("other_node", 0)];
    for (verdict, count) in expected {
        assert_eq!(shown(&registry, verdict), Some(count), "{verdict}");
    }
}

#[test]
fn no_address_is_announced_by_a_table_that_is_silent() {
    let (registry, metrics) = agent();
    metrics.stepped(&plan(), &done());
    metrics.read_by(|_| Ok(Reading { deadline: -0.5, ..reading() }));
    assert_eq!(["announced", "unanswered"].map(|verdict| shown(&registry, verdict)), [Some(0), Some(4)]);
}
