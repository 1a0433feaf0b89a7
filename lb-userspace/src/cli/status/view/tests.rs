use super::super::join::join;
use super::super::join::tests::{entry, said, service};
use super::*;

#[test]
fn rates_have_few_digits_and_are_not_shown_as_nothing() {
    for (per_second, text) in
        [(0.0, "0"), (0.004, "<0.1"), (0.1, "0.1"), (2.34, "2.3"), (9.96, "10"), (12_345.6, "12346")]
    {
        assert_eq!(rate(per_second), text);
    }
}

/// One node, with entries on two interfaces.
fn two() -> Row {
    let mut address = entry("2001:db8::1", "default/web", "owner");
    let mut second = address.entries[0].clone();
    second.link = "eth1".to_owned();
    second.vlans = Some("42".to_owned());
    (second.answers_for_ms, second.answered_before) = (Some(7_200_000), true);
    if let Some(counts) = &mut second.counts {
        (counts.requests, counts.per_second, counts.last_asked_ms) = (10, None, Some(500));
        counts.requester = Some("::".parse().unwrap());
    }
    address.entries.push(second);
    let agents = [said("node-a", vec![address])];
    join(&[service("default/web", &["2001:db8::1"])], &agents, &[], true).remove(0)
}

#[test]
fn entries_of_a_node_are_taken_together() {
    let row = two();
    let view = View::new(&row, row.owners.first());
    assert_eq!(
        (view.links(), view.macs(), view.vlans()),
        ("eth0,eth1".into(), "02:00:00:00:00:01".into(), "42".into())
    );
    assert_eq!(view.modes(), "tcx,NOT ATTACHED", "of a link that the agent does not name");
    assert_eq!((view.since(), view.rate(), view.requests()), (">120m".into(), "0.5".into(), "17".into()));
    assert_eq!(
        (view.last_asked(), view.asked_by()),
        ("0s ago".into(), "<none>".into()),
        "a probe names nobody"
    );
}

#[test]
fn what_is_not_known_yet_is_told_from_what_is_not_there() {
    let mut row = two();
    for one in &mut row.owners[0].entries {
        one.entry.counts = Some(CountsSaid::default());
    }
    let view = View::new(&row, row.owners.first());
    assert_eq!((view.rate(), view.last_asked(), view.requests()), ("-".into(), "never".into(), "0".into()));
    let nobody = View::new(&row, None);
    assert_eq!(
        (nobody.rate(), nobody.last_asked(), nobody.requests(), nobody.node()),
        ("<none>".into(), "<none>".into(), "<none>".into(), "<none>".into())
    );
}
